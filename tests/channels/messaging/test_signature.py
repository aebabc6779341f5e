"""Who a third party is: the signature of the raw body, with a secret of the channel, before anything of the body is read."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.channels.messaging.support import API, NEXUS, SECRET, SMS, Exchange, form, signature, text_from

BODY = json.dumps({"messages": [text_from()]}).encode()
PATH = f"/{SMS}/messages"
ANOTHER = "secret of another channel"

HOUR_MS = 3_600_000


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_either_algorithm_serves(exchange: Exchange, algorithm: str) -> None:
    await exchange.channel()
    name = "X-Hub-Signature" if algorithm == "sha1" else "X-Hub-Signature-256"
    answer = await exchange.third("POST", PATH, BODY, secret=None, headers={name: signature(BODY, SECRET, algorithm)})
    assert answer.status_code == 200, answer.text


async def test_digits_may_be_in_capitals(light: Exchange) -> None:
    await light.channel()
    shown = "sha1=" + signature(BODY).removeprefix("sha1=").upper()
    assert (await light.third("POST", PATH, BODY, secret=None, headers={"X-Hub-Signature": shown})).status_code == 200


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({}, "X-Hub-Signature"),
        ({"X-Hub-Signature": ""}, "X-Hub-Signature"),
        ({"X-Hub-Signature": "0" * 40}, "X-Hub-Signature"),
        ({"X-Hub-Signature": "sha1=" + "0" * 39}, "X-Hub-Signature"),
        ({"X-Hub-Signature": "sha1=" + "0" * 64}, "X-Hub-Signature"),
        ({"X-Hub-Signature": "sha1=" + "g" * 40}, "X-Hub-Signature"),
        ({"X-Hub-Signature": "md5=" + "0" * 32}, "X-Hub-Signature"),
        ({"X-Hub-Signature-256": "sha256=" + "0" * 63}, "X-Hub-Signature"),
    ],
    ids=["none", "empty", "bare", "short", "long", "no-digits", "md5", "short-256"],
)
async def test_without_a_signature_nobody_is_let_in(light: Exchange, headers: dict[str, str], field: str) -> None:
    await light.channel()
    answer = await light.third("POST", PATH, BODY, secret=None, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["status"]["detail"]["field"] == field
    assert light.counters.refused_signatures == 1


@pytest.mark.parametrize("ccid", [None, ""], ids=["none", "empty"])
async def test_without_a_contact_centre_nobody_is_let_in(light: Exchange, ccid: str | None) -> None:
    await light.channel()
    answer = await light.third("POST", PATH, BODY, ccid=ccid)
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (401, "x-ccid")


async def test_two_contact_centres_are_none(light: Exchange) -> None:
    await light.channel()
    headers = [("x-ccid", "acme"), ("x-ccid", "other"), ("X-Hub-Signature", signature(BODY))]
    answer = await light.send("POST", f"{NEXUS}{PATH}", content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["status"]["detail"]["got"]) == (401, '"acme, other"')


@pytest.mark.parametrize(
    "more",
    [
        {"secret": ANOTHER},
        {"secret": None, "headers": {"X-Hub-Signature": signature(BODY + b" ")}},
        {"secret": None, "headers": {"X-Hub-Signature": signature(b"")}},
        {"headers": {"X-Hub-Signature-256": signature(BODY, ANOTHER, "sha256")}},
        {"ccid": "other"},
        {"ccid": "nobody"},
        {"ccid": "a b"},
        {"ccid": "x" * 65},
    ],
    ids=["secret", "another-body", "no-body", "one-of-two", "other-tenant", "no-tenant", "blank-in-tenant", "long-tenant"],
)
async def test_a_signature_that_does_not_fit(exchange: Exchange, more: dict[str, Any]) -> None:
    await exchange.channel()
    await exchange.channel(caller="foreign", secret="secret of the same channel elsewhere")
    answer = await exchange.third("POST", PATH, BODY, **more)
    assert answer.status_code == 403
    assert exchange.counters.refused_signatures == 1
    assert (await exchange.rest("GET", PATH))["messages"] == []


async def test_who_shows_nothing_learns_nothing(light: Exchange) -> None:
    """An unknown channel, an unknown contact centre and a wrong secret are one and the same answer."""
    await light.channel()
    answers = [
        await light.third("POST", PATH, BODY, secret=ANOTHER),
        await light.third("POST", "/999/messages", BODY, secret=ANOTHER),
        await light.third("POST", "/%2e%2e/messages", BODY, secret=ANOTHER),
        await light.third("POST", PATH, BODY, ccid="nobody"),
        await light.third("GET", "/999/media/x", secret=ANOTHER),
    ]
    assert {(each.status_code, each.content) for each in answers} == {(403, answers[0].content)}


async def test_who_has_another_channel_of_the_tenant_learns_that_it_is_not_there(light: Exchange) -> None:
    await light.channel("company.com", "email", secret=ANOTHER)
    await light.channel(SMS)
    unknown = await light.third("POST", "/999/messages", BODY, secret=ANOTHER)
    assert (unknown.status_code, unknown.json()["status"]["message"]) == (404, "Channel 999 not found")
    foreign = await light.third("POST", PATH, BODY, secret=ANOTHER)
    assert foreign.status_code == 403, "another channel's secret opens only its own"


async def test_the_signature_is_checked_before_the_body_is_read(light: Exchange) -> None:
    await light.channel()
    garbage = b'{"messages": ['
    assert (await light.third("POST", PATH, garbage, secret=ANOTHER)).status_code == 403
    assert (await light.third("POST", PATH, garbage)).status_code == 400


async def test_it_is_the_bytes_that_are_signed(light: Exchange) -> None:
    """The same JSON, written in another way, has another signature."""
    await light.channel()
    other = json.dumps(json.loads(BODY), indent=1).encode()
    assert (await light.third("POST", PATH, other, secret=None, headers={"X-Hub-Signature": signature(BODY)})).status_code == 403
    assert (await light.third("POST", PATH, other)).status_code == 200


LARGE = b" " * (300 * 1024) + BODY


async def test_a_large_body_waits_in_a_file_until_its_signature_is_checked(light: Exchange) -> None:
    await light.channel()
    assert (await light.third("POST", PATH, LARGE)).status_code == 200
    assert (await light.third("POST", PATH, LARGE, secret=ANOTHER)).status_code == 403
    assert (await light.third("POST", "/nobody/messages", LARGE, secret=ANOTHER)).status_code == 403
    await light.channel("+4930", secret=ANOTHER)
    assert (await light.third("POST", "/nobody/messages", LARGE, secret=ANOTHER)).status_code == 404
    body, headers = form(b"\x89PNG\r\n\x1a\n" + b"x" * 1024 * 1024)
    assert (await light.third("POST", f"/{SMS}/media", body, headers=headers)).status_code == 200


@pytest.mark.parametrize("light", [{"spool_channel_bytes": 1024 * 1024, "spool_bytes": 1024 * 1024 + 512 * 1024}], indirect=True)
@pytest.mark.parametrize("named", [SMS, "nobody"], ids=["a channel", "no channel"])
async def test_bodies_of_one_channel_have_a_budget_whether_there_is_such_a_channel_or_not(light: Exchange, named: str) -> None:
    await light.channel()
    taken, more = asyncio.Event(), asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b" " * (900 * 1024)
        taken.set()
        await more.wait()

    headers = {"x-ccid": "acme", "X-Hub-Signature": "sha1=" + "0" * 40}
    stalled = asyncio.create_task(light.send("POST", f"{NEXUS}/{named}/media", content=stalls(), headers=headers))
    await taken.wait()
    refused = await light.third("POST", f"/{named}/media", LARGE)
    other = await light.third("POST", "/other/media", LARGE)
    both = await light.third("POST", "/third/media", LARGE * 3)
    more.set()
    await stalled
    assert (refused.status_code, refused.headers["Retry-After"], other.status_code, both.status_code) == (429, "1", 404, 503)
    assert light.counters.refused_spool == 2
    assert (await light.third("POST", f"/{named}/media", LARGE)).status_code in {404, 415}


@pytest.mark.parametrize("named", [SMS, "nobody"], ids=["a channel", "no channel"])
async def test_the_headers_are_looked_at_before_the_body(light: Exchange, named: str) -> None:
    await light.channel()

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    for headers in ({"x-ccid": "acme"}, {"X-Hub-Signature": "sha1=" + "0" * 40}, {"x-ccid": "acme", "X-Hub-Signature": "sha1=0"}):
        assert (await light.send("POST", f"{NEXUS}/{named}/media", content=never(), headers=headers)).status_code == 401


async def test_after_a_rotation_both_secrets_are_good_for_a_day(exchange: Exchange) -> None:
    await exchange.channel()
    made = await exchange.rest("POST", f"/{SMS}/rotate-secret", {"secret": "a fresh secret"})
    assert made["secret"] == "a fresh secret"
    assert made["oldSecretsUntil"] == [exchange.clock.now_ms + 24 * HOUR_MS]
    exchange.clock.now_ms += 24 * HOUR_MS - 1
    assert [(await exchange.third("POST", PATH, BODY, secret=each)).status_code for each in (SECRET, "a fresh secret")] == [200, 200]
    exchange.clock.now_ms += 1
    assert [(await exchange.third("POST", PATH, BODY, secret=each)).status_code for each in (SECRET, "a fresh secret")] == [403, 200]


async def test_the_secret_of_a_channel_that_was_removed_opens_nothing(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.channel("999", secret=ANOTHER)
    await exchange.rest("DELETE", f"/{SMS}")
    assert (await exchange.third("POST", PATH, BODY)).status_code == 403
    assert (await exchange.third("POST", PATH, BODY, secret=ANOTHER)).status_code == 404


async def test_a_token_is_no_signature(light: Exchange) -> None:
    await light.channel()
    answer = await light.third("POST", PATH, BODY, secret=None, headers={"Authorization": "Bearer admin"})
    assert answer.status_code == 401


async def test_a_signature_is_no_token(light: Exchange) -> None:
    await light.channel()
    answer = await light.send("GET", f"{API}/{SMS}/messages", headers={"X-Hub-Signature": signature(b""), "x-ccid": "acme"})
    assert answer.status_code == 401


# -- who does not know the secret keeps nobody out ------------------------------------------------------------------------

MADE_UP = {"x-ccid": "acme", "X-Hub-Signature": "sha1=" + "0" * 40}
SMALL_SPOOL = {"spool_channel_bytes": 1024 * 1024, "spool_bytes": 1024 * 1024 + 512 * 1024}


class Stalling:
    """Requests with a made-up signature that send all of a body but its end."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._end = asyncio.Event()
        self.tasks: list[asyncio.Task[httpx.Response]] = []

    async def begin(self, size: int, address: str, channel: str = SMS) -> asyncio.Task[httpx.Response]:
        sent = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b" " * size
            sent.set()
            await self._end.wait()

        task = asyncio.create_task(post(self._exchange, f"/{channel}/media", body(), address, MADE_UP))
        self.tasks.append(task)
        await sent.wait()
        return task

    async def end(self) -> list[int]:
        """The status of each."""
        self._end.set()
        return [(await task).status_code for task in self.tasks]


async def post(exchange: Exchange, path: str, content: Any, address: str, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(exchange.app, raise_app_exceptions=False, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub", timeout=30) as client:
        return await client.post(f"{NEXUS}{path}", content=content, headers=headers)


def signed(body: bytes) -> dict[str, str]:
    return {"x-ccid": "acme", "X-Hub-Signature": signature(body), "Content-Type": "application/json"}


@pytest.mark.parametrize("light", [SMALL_SPOOL], indirect=True)
@pytest.mark.parametrize("addresses", [["192.0.2.1"] * 4, [f"192.0.2.{n}" for n in range(4)]], ids=["one address", "many"])
async def test_who_sends_more_than_others_gives_way(light: Exchange, addresses: list[str]) -> None:
    await light.channel()
    stalling = Stalling(light)
    for address in addresses:
        await stalling.begin(250 * 1024, address)
    body = BODY + b" " * (100 * 1024)
    for _ in range(3):
        answer = await post(light, PATH, body, "198.51.100.7", signed(body))
        assert answer.status_code == 200, answer.text
    assert light.counters.gave_way_spool == 1
    assert await stalling.end() == [429, 403, 403, 403]  # the oldest gave way
    answer = await stalling.tasks[0]
    assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")


@pytest.mark.parametrize("light", [SMALL_SPOOL], indirect=True)
async def test_who_sends_most_is_refused_himself(light: Exchange) -> None:
    await light.channel()
    stalling = Stalling(light)
    for n in range(4):
        await stalling.begin(200 * 1024, f"192.0.2.{n}")
    refused = await post(light, PATH, b" " * (900 * 1024), "198.51.100.7", MADE_UP)
    assert (refused.status_code, refused.headers["connection"]) == (429, "close")
    (held,) = (gauge for gauge in light.parts.gauges if gauge.name == "messaging_spool_bytes")
    assert held.read() == 4 * 200 * 1024
    assert await stalling.end() == [403] * 4
    assert held.read() == 0
    assert (light.counters.gave_way_spool, light.counters.refused_spool) == (0, 1)


@pytest.mark.parametrize("light", [SMALL_SPOOL], indirect=True)
async def test_bodies_of_made_up_channels_give_way_to_others(light: Exchange) -> None:
    await light.channel()
    stalling = Stalling(light)
    for n in range(4):
        await stalling.begin(380 * 1024, "192.0.2.1", f"made-up-{n}")
    body = BODY + b" " * (100 * 1024)
    answer = await post(light, PATH, body, "198.51.100.7", signed(body))
    assert answer.status_code == 200, answer.text
    assert await stalling.end() == [429, 403, 403, 403]


@pytest.mark.parametrize("light", [SMALL_SPOOL | {"spool_min_bytes_per_s": 1024 * 1024}], indirect=True)
async def test_who_sends_slowly_gives_way_to_the_same_address(light: Exchange) -> None:
    """As behind a proxy that is not known: all have one address."""
    await light.channel()
    stalling = Stalling(light)
    await stalling.begin(1000 * 1024, "192.0.2.1")
    body = BODY + b" " * (100 * 1024)
    async with asyncio.timeout(30):
        while (answer := await post(light, PATH, body, "192.0.2.1", signed(body))).status_code == 429:
            await asyncio.sleep(0.05)
    assert answer.status_code == 200, answer.text
    assert await stalling.end() == [429]


# -- bodies that are encoded ----------------------------------------------------------------------------------------------


async def test_a_compressed_body_is_signed_as_it_is_sent(light: Exchange) -> None:
    await light.channel()
    packed = gzip.compress(BODY)
    encoded = {"Content-Encoding": "gzip"}
    answer = await light.third("POST", PATH, packed, headers=encoded)
    assert (answer.status_code, len(answer.json()["data"]["ids"])) == (200, 1)
    unpacked = {**encoded, "X-Hub-Signature": signature(BODY)}
    assert (await light.third("POST", PATH, packed, secret=None, headers=unpacked)).status_code == 403


async def test_a_compressed_body_is_bounded_by_what_comes_out(light: Exchange) -> None:
    await light.channel()
    answer = await light.third("POST", PATH, gzip.compress(BODY + b" " * (16 * 1024 * 1024)), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    answer = await light.third("POST", PATH, gzip.compress(BODY)[:-9], headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "encoding"), [("POST", PATH, "br"), ("POST", f"/{SMS}/media", "gzip"), ("POST", "/nobody/messages", "deflate")]
)
async def test_another_encoding_is_refused_by_name(light: Exchange, method: str, path: str, encoding: str) -> None:
    await light.channel()
    answer = await light.third(method, path, gzip.compress(BODY), headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (415, "Content-Encoding")
    assert "identity" in answer.headers["accept-encoding"]
