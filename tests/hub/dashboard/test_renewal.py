"""A newer token on a live /ws session, and what dashboards and event streams are told of the end of theirs."""

from __future__ import annotations

import pytest

from hub.core.decision import Decision
from hub.core.errors import RefusedError, WireError
from hub.core.principal import Action, Principal
from tests.hub.dashboard.harness import Answer, Dashboard, Tokens
from tests.hub.dashboard.test_stream import Stream
from tests.world import decided

ROLES = frozenset({"/free", "/more"})


class Known(Tokens):
    """The tokens of a table. An unknown one stands for nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[str, Principal] = {}
        self.fault: Exception | None = None

    def add(self, token: str, *, subject: str = "ann", roles: frozenset[str] = ROLES, ends_ms: int | None = None) -> Principal:
        made = Principal("t", subject, roles, f"login-{token}", f"login-{token}", credential=f"token:{token}", expires_ms=ends_ms)
        self.table[token] = made
        return made

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Answer:
        assert isinstance(authentication, dict)
        if self.fault is not None:
            raise self.fault
        return Answer(self.table.get(authentication["token"]))


class ByRole:
    """A role is the beginning of what it may hear."""

    async def decide(self, who: Principal, action: Action, resource: str) -> Decision:
        return decided(any(resource.startswith(role) for role in who.roles))


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def dashboard(known: Known) -> Dashboard:
    made = Dashboard(tokens=known)
    made.hub.subscriptions._authorizer = ByRole()
    return made


def welcome(seconds: int | None = None) -> dict[str, object]:
    return {"type": "welcome", "session": "s1", "heartbeat": 25} | ({} if seconds is None else {"expiresIn": seconds})


def hello(token: str) -> dict[str, object]:
    return {"type": "hello", "token": token}


async def test_a_second_hello_is_welcomed_to_the_same_session(dashboard: Dashboard, known: Known) -> None:
    known.add("first", ends_ms=dashboard.clock.wall_ms() + 100_000)
    known.add("second", ends_ms=dashboard.clock.wall_ms() + 200_000)
    assert await dashboard.send(hello("first")) == [welcome(100)]
    assert await dashboard.send({"type": "subscribe", "id": 1, "channels": ["/free/a"]}) != []
    assert await dashboard.send(hello("second")) == [welcome(200)]
    session = dashboard.hub.sessions.by_id["s1"]
    assert (session.principal.credential, session.principal.login) == ("token:second", "login-first")
    await dashboard.emit("/free/a")
    assert [element["type"] for element in await dashboard.read()] == ["event"]


async def test_one_without_an_end_is_told_none(dashboard: Dashboard, known: Known) -> None:
    known.add("first")
    assert await dashboard.send(hello("first")) == [welcome()]


async def test_what_the_newer_token_does_not_cover_ends(dashboard: Dashboard, known: Known) -> None:
    known.add("first")
    known.add("second", roles=frozenset({"/free"}))
    await dashboard.send(hello("first"))
    await dashboard.send({"type": "subscribe", "id": 1, "channels": ["/free/a", "/more/a"]})
    assert await dashboard.send(hello("second")) == [
        {"type": "unsubscribed", "channels": ["/more/a"], "reason": "the newer token does not cover them"},
        welcome(),
    ]
    await dashboard.emit("/more/a")
    assert await dashboard.read() == []


async def test_a_bad_token_is_an_error_and_the_session_goes_on(dashboard: Dashboard, known: Known) -> None:
    known.add("first")
    await dashboard.send(hello("first"))
    (error,) = await dashboard.send({**hello("unknown"), "id": 7})
    assert (error["type"], error["id"], error["code"]) == ("error", 7, 401)
    assert dashboard.wire.closed is None
    assert dashboard.hub.sessions.by_id["s1"].principal.credential == "token:first"


async def test_while_tokens_cannot_be_looked_up_the_session_goes_on(dashboard: Dashboard, known: Known) -> None:
    known.add("first")
    await dashboard.send(hello("first"))
    known.fault = RefusedError(WireError.UNAVAILABLE)
    (error,) = await dashboard.send(hello("second"))
    assert (error["type"], error["code"]) == ("error", 503)
    assert dashboard.wire.closed is None


async def test_the_token_of_another_caller_closes_4403(dashboard: Dashboard, known: Known) -> None:
    known.add("first")
    known.add("bob's", subject="bob")
    await dashboard.send(hello("first"))
    assert await dashboard.send([hello("bob's"), {"type": "ping", "id": 1}]) == []
    assert dashboard.wire.closed == 4403


async def test_a_dashboard_is_told_before_the_end(dashboard: Dashboard, known: Known) -> None:
    known.add("first", ends_ms=dashboard.clock.wall_ms() + 100_000)
    await dashboard.send(hello("first"))
    dashboard.pass_time(41)
    assert await dashboard.read() == [{"type": "expiring", "expiresIn": 59}]


async def test_an_event_stream_is_told_before_the_end() -> None:
    stream = Stream()
    await stream.open("/free/a")
    stream.session.tell_expiring(59)
    assert stream.read() == [b'event: expiring\ndata: {"expiresIn":59}\n\n']
    assert stream.read() == []
