"""A hub that is killed between the redeeming of a code or refresh token and its answer: it is used up or it is not, never both."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest

from hub.security.credentials import hash_secret
from tests.channels.auth.conftest import CHALLENGE, VERIFIER
from tests.hub.storage.backends import Postgres, postgres
from tests.robustness.campaign import long_form, rounds, seconds
from tests.support.hub_process import HubProcess
from tests.support.signing_in import come_back

__all__ = ["postgres"]

pytestmark = pytest.mark.timeout(400)

CALLBACK: Final = "http://127.0.0.1/cb"
PASSWORD: Final = "correct horse battery"
AT_ONCE: Final = 12
WITHIN_S: Final = 60.0

UNLIMITED = {"HUB_AUTH__TOKEN_REQUESTS_PER_S": "0", "HUB_AUTH__TENANT_TOKEN_REQUESTS_PER_S": "0", "HUB_AUTH__PAGES_PER_S": "0"}

Send = Callable[[], httpx.Response | None]
Read = Callable[[], tuple[int | None] | None]


class Killed:
    """A hub with the user ana and the public client ``wall``, and its database as who kills it sees it."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.database_url = database_url
        self.hub = HubProcess(
            folder, flags=(), environment=UNLIMITED | ({} if database_url is None else {"HUB_DATABASE_URL": database_url})
        )
        self.hub.command("tenant", "add", "acme")
        self.hub.command("user", "add", "ana", "--role", "supervisor", "--password", PASSWORD)
        self.hub.command("client", "add", "wall", "--public", "--redirect-uri", CALLBACK)
        self.hub.start()

    def code(self) -> str:
        """A code that the user gets by signing in."""
        asked = {"response_type": "code", "client_id": "wall", "redirect_uri": CALLBACK, "scope": "openid *"}
        link = httpx.URL(
            f"{self.hub.url}/auth/v3/oauth/authorize", params={**asked, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        )
        return httpx.URL(come_back(str(link), "ana", PASSWORD)).params["code"]

    def redeem(self, code: str) -> httpx.Response | None:
        return self._token(grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER)

    def refresh(self, token: str) -> httpx.Response | None:
        return self._token(grant_type="refresh_token", refresh_token=token)

    def _token(self, **form: str) -> httpx.Response | None:
        """The answer to a request for tokens; None if the hub was killed before it came."""
        try:
            return httpx.post(f"{self.hub.url}/auth/v3/oauth/token", data={"client_id": "wall", **form}, timeout=WITHIN_S)
        except httpx.TransportError:
            return None

    def good(self, token: str) -> bool:
        answer = httpx.get(f"{self.hub.url}/auth/v3/userinfo", headers={"Authorization": f"Bearer {token}"}, timeout=WITHIN_S)
        assert answer.status_code in {200, 401}, answer.text
        return answer.status_code == httpx.codes.OK

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What the database says, read beside the hub."""
        if self.database_url is None:
            with closing(sqlite3.connect(f"file:{self.hub.data_dir / 'hub.db'}?mode=ro", uri=True)) as file:
                return file.execute(statement).fetchall()
        with psycopg.connect(self.database_url, autocommit=True) as server:
            return server.execute(statement.encode()).fetchall()

    @contextmanager
    def dying(self) -> Iterator[None]:
        """A hub that is killed behind the commit of the first redemption, before its answer; within, it serves. Then it is as before."""
        self.hub.stop()
        self.hub.module = "tests.security.dying_hub"
        self.hub.start()
        yield
        assert self.hub.process.wait(WITHIN_S) == -signal.SIGKILL
        self.hub.module = None
        self.hub.start()

    @contextmanager
    def watching(self, table: str, secret: str) -> Iterator[Callable[[], None]]:
        """Gives a function that waits until the database says that a code or refresh token is used up. It is gone with its family, where
        another of the requests at once has shown it again.

        Raises:
            AssertionError: it is not there, or it is not used up.
        """
        statement, digest = f"SELECT used_ms FROM {table} WHERE hash = ", hash_secret(secret)
        with ExitStack() as stack:
            if self.database_url is None:
                file = stack.enter_context(closing(sqlite3.connect(f"file:{self.hub.data_dir / 'hub.db'}?mode=ro", uri=True)))
                read: Read = lambda: file.execute(f"{statement}?", (digest,)).fetchone()  # noqa: E731
            else:
                server = stack.enter_context(psycopg.connect(self.database_url, autocommit=True))
                read = lambda: server.execute(f"{statement}%s".encode(), (digest,)).fetchone()  # noqa: E731
            assert read() == (None,)
            yield lambda: _wait(read)


def _wait(read: Read) -> None:
    until = time.monotonic() + WITHIN_S
    while read() == (None,):
        assert time.monotonic() < until, "nothing was redeemed"


@pytest.fixture(params=["sqlite", "postgresql"])
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Killed]:
    url = None
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        # the hub starts again on a machine with much else to do
        url = server.url(asyncio.run(server.create())).replace("+psycopg", "") + "&connect_timeout=30"
    made = Killed(tmp_path, url)
    yield made
    made.hub.close()


def kill_during(killed: Killed, send: Send, wait: Callable[[], object]) -> list[httpx.Response]:
    """Twelve requests at once, of a hub that is killed after ``wait``, and starts again; the answers that came."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent: list[Future[httpx.Response | None]] = [pool.submit(send) for _ in range(AT_ONCE)]
        wait()
        killed.hub.kill9()
        answers = [each.result() for each in sent]
    killed.hub.start()
    return [answer for answer in answers if answer is not None]


def expect_once(killed: Killed, send: Send, answers: list[httpx.Response], *, used: bool) -> None:
    """At most one request has got tokens. Afterwards the code or token is good if nobody has got any and it was not used; and if it
    comes again after it was used, nothing that came of it is good any more.
    """
    winners = [answer for answer in answers if answer.status_code == httpx.codes.OK]
    refused = [answer for answer in answers if answer.status_code != httpx.codes.OK]
    assert len(winners) <= 1
    assert {(each.status_code, each.json()["error"]) for each in refused} <= {(400, "invalid_grant")}
    again = send()
    assert again is not None
    if used or winners or refused:
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert [winner for winner in winners if killed.good(winner.json()["access_token"])] == []
    elif again.status_code == httpx.codes.OK:
        assert killed.good(again.json()["access_token"])
        more = send()
        assert more is not None
        assert more.status_code == httpx.codes.BAD_REQUEST
    else:  # it was used up, and no answer came
        assert again.json()["error"] == "invalid_grant"


def new_tokens(killed: Killed) -> dict[str, str]:
    """Tokens of a user who signs in, which is possible whatever happened before."""
    answer = killed.redeem(killed.code())
    assert answer is not None
    assert answer.status_code == httpx.codes.OK, answer.text
    tokens: dict[str, str] = answer.json()
    assert killed.good(tokens["access_token"])
    return tokens


def test_what_was_redeemed_before_the_kill_is_redeemed_after_it(killed: Killed) -> None:
    """The kill comes as soon as the database has it: the first answer has to wait for the keys of ID tokens to be made."""
    code = killed.code()
    with killed.watching("codes", code) as wait:
        answers = kill_during(killed, lambda: killed.redeem(code), wait)
    expect_once(killed, lambda: killed.redeem(code), answers, used=True)
    token = new_tokens(killed)["refresh_token"]
    with killed.watching("refresh_tokens", token) as wait:
        answers = kill_during(killed, lambda: killed.refresh(token), wait)
    expect_once(killed, lambda: killed.refresh(token), answers, used=True)
    new_tokens(killed)


def die_behind_the_commit(killed: Killed, send: Send) -> None:
    """A request to a hub that dies between the commit of it and its answer."""
    with killed.dying():
        assert send() is None


def test_a_redemption_whose_answer_was_lost_counts_and_its_tokens_end_with_the_second_try(killed: Killed) -> None:
    """The kill comes behind the commit and before the answer. What nobody has received is in the database once; a client that tries again
    is refused, as one would be that had stolen the code, and with that everything ends that came of it (docs/protocol/oauth.md#tokens).
    """
    families, access = "SELECT id FROM families", "SELECT family FROM access_tokens"
    code = killed.code()
    die_behind_the_commit(killed, lambda: killed.redeem(code))
    (family,) = killed.rows(families)
    assert killed.rows(access) == [family]
    assert killed.rows("SELECT family FROM codes WHERE used_ms IS NOT NULL") == [family]
    expect_once(killed, lambda: killed.redeem(code), [], used=True)
    assert killed.rows(families) == killed.rows(access) == killed.rows("SELECT family FROM refresh_tokens") == []

    tokens = new_tokens(killed)
    (family,) = killed.rows(families)
    die_behind_the_commit(killed, lambda: killed.refresh(tokens["refresh_token"]))
    assert killed.good(tokens["access_token"])
    assert killed.rows(access) == [family] * 2
    assert len(killed.rows("SELECT 1 FROM refresh_tokens WHERE used_ms IS NULL")) == 1
    expect_once(killed, lambda: killed.refresh(tokens["refresh_token"]), [], used=True)
    assert not killed.good(tokens["access_token"])
    assert killed.rows(families) == killed.rows(access) == killed.rows("SELECT family FROM refresh_tokens") == []
    new_tokens(killed)


def campaign(killed: Killed, chance: random.Random) -> None:
    """Kills at any time."""
    code, token = killed.code(), new_tokens(killed)["refresh_token"]
    sends: list[Send] = [lambda: killed.redeem(code), lambda: killed.refresh(token)]
    for send in sends:
        answers = kill_during(killed, send, lambda: time.sleep(chance.uniform(0, 0.15)))
        expect_once(killed, send, answers, used=False)
    new_tokens(killed)


def test_kills_at_any_time(killed: Killed) -> None:
    campaign(killed, random.Random(16))


@long_form
def test_kills_at_any_time_for_long(killed: Killed) -> None:
    for chance in rounds(seconds()):
        campaign(killed, chance)
