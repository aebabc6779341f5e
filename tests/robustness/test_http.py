"""Hostile HTTP at a real server: a table of requests, and requests that are nearly right. Meanwhile a client that is right is served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from hub.core.limits import Limits
from tests.hub.transports.bayeux_house import BY_TOKEN, House
from tests.robustness.campaign import long_form, rounds, seconds
from tests.robustness.corpus.http import ASK, CASES, MAX_BODY, Case, chunk, chunked, post
from tests.robustness.endpoints import PATIENCE_S, endpoints, errors
from tests.robustness.mutator import HTTP_TOKENS, JSON_TOKENS, Mutator

LIMITS = Limits(max_request_bytes=MAX_BODY)
STATUSES = {100, 101, 200, 204, 400, 403, 404, 405, 408, 413, 415, 426, 431, 501}
"""Every status that these requests may be answered with (docs/errors.md)."""
AT_ONCE = 16
SHORT_ROUNDS = 80
QUIET_S = 0.05
"""Who was not answered for so long is taken to be waited for: what it sent is no whole request."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")

UPGRADE = (
    b"GET /cometd HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SEEDS = [
    post(),
    post("Connection: close"),
    chunked(chunk(ASK), b"0\r\n\r\n"),
    post(body=json.dumps([BY_TOKEN]).encode()),
    post(body=b'[{"id":"2","channel":"/free/a","clientId":"nobody","data":{"a":[1,2,3]}}]') * 2,
    post("Cookie: BAYEUX_BROWSER=0123456789abcdef0123456789abcdef", "Origin: https://desk.example", "Authorization: Bearer demo-token"),
    b"GET /cometd?jsonp=call&message=%5B%7B%22channel%22%3A%22/meta/connect%22%7D%5D HTTP/1.1\r\nHost: x\r\n\r\n",
    UPGRADE,
    b"OPTIONS /statistics/v3/notifications/x HTTP/1.1\r\nHost: x\r\nOrigin: https://desk.example\r\n\r\n",
]


@asynccontextmanager
async def hub(caplog: pytest.LogCaptureFixture) -> AsyncIterator[House]:
    """A server that must not log a fault of its own."""
    caplog.set_level(logging.ERROR)
    with capture_logs() as logs:
        async with endpoints(limits=LIMITS) as house:
            yield house
    assert errors(logs) == []
    assert [record.getMessage() for record in caplog.records] == []


async def statuses(port: int, sent: bytes, *, patience_s: float = PATIENCE_S) -> list[int]:
    """What a connection is answered until the server ends it, or until nothing more has come for ``patience_s``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(sent)
        with contextlib.suppress(TimeoutError):
            while data := await asyncio.wait_for(reader.read(65536), patience_s):
                answer += data
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return [int(status) for status in _STATUS.findall(answer)]


async def run(port: int, case: Case) -> list[int]:
    """What becomes of one row; a server that may wait for more is not waited for."""
    return await statuses(port, case.sent, patience_s=QUIET_S if case.open else PATIENCE_S)


async def test_table(caplog: pytest.LogCaptureFixture) -> None:
    async with hub(caplog) as house:
        found = {case.name: await run(house.port, case) for case in CASES}
    expected = {case.name: case.expected for case in CASES}
    assert len(expected) == len(CASES)
    assert {name: what for name, what in found.items() if what != expected[name]} == {}


@pytest.mark.parametrize("request_bytes", [post("Connection: close"), chunked(chunk(ASK), b"0\r\n\r\n")], ids=["length", "chunks"])
async def test_byte_by_byte(request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with hub(caplog) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        for at in range(len(request_bytes)):
            writer.write(request_bytes[at : at + 1])
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
        writer.close()
    assert _STATUS.findall(answer) == [b"200"]


async def hostile(house: House, chance: random.Random) -> None:
    """Many connections at once, each with requests that are nearly right; all are answered as documented, and none harms the others."""
    mutators = [Mutator(chance, HTTP_TOKENS), Mutator(chance, JSON_TOKENS)]
    payloads = [chance.choice(mutators).mutate(chance.choice(SEEDS)) for _ in range(AT_ONCE)]
    answers = await asyncio.gather(*(statuses(house.port, payload, patience_s=QUIET_S) for payload in payloads))
    wrong = {payload: answer for payload, answer in zip(payloads, answers, strict=True) if not STATUSES.issuperset(answer)}
    assert wrong == {}


async def campaign(house: House, chance: random.Random, count: int) -> None:
    """Some rounds; between them a client that is right publishes, and gets its own message."""
    async with house.client() as canary:
        await canary.opened("/free/canary")
        for number in range(count):
            await hostile(house, chance)
            sent = await canary.post(canary.message("/free/canary", data=number))
            assert [message.get("data") for message in sent] == [number, None]
            assert sent[1]["successful"]


async def test_requests_that_are_nearly_right(caplog: pytest.LogCaptureFixture) -> None:
    async with hub(caplog) as house:
        await campaign(house, random.Random(9112), SHORT_ROUNDS)


@long_form
async def test_requests_that_are_nearly_right_for_long(caplog: pytest.LogCaptureFixture) -> None:
    for chance in rounds(seconds()):
        async with hub(caplog) as house:
            await campaign(house, chance, SHORT_ROUNDS)
