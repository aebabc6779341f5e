"""WebSocket frames that are nearly right, at both endpoints of a real server. Meanwhile a client that is right is served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random

import pytest
from structlog.testing import capture_logs

from hub.core.limits import Limits
from tests.hub.transports.bayeux_house import House, until
from tests.robustness.campaign import long_form, rounds, seconds
from tests.robustness.corpus.rfc6455 import ASK_BYTES, CLOSE, MAX_MESSAGE, PONG, TEXT, cases, closing, text
from tests.robustness.endpoints import BAYEUX, ENDPOINTS, PATIENCE_S, Endpoint, connected, endpoints, errors, frames_of
from tests.robustness.mutator import FRAME_TOKENS, JSON_TOKENS, Mutator

AT_ONCE = 16
SHORT_ROUNDS = 60
QUIET_S = 0.05
"""Who got nothing for so long is taken to be waited for: what it sent is no whole frame."""

LARGE = 4096
"""Cases of more bytes are left to the corpus."""

HELLO = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"], "id": "q1"}


def may_be_sent(code: int | None) -> bool:
    """Whether a close frame may carry a code (RFC 6455 section 7.4): the server's own, or one of the client's that it repeats."""
    return code is None or (1000 <= code <= 1014 and code not in {1004, 1005, 1006}) or 3000 <= code <= 4999


async def hostile(house: House, endpoint: Endpoint, payload: bytes) -> None:
    """One connection; all that the server sends is as it should be."""
    client = await connected(house.port, endpoint)
    client.writer.write(payload)
    with contextlib.suppress(TimeoutError):
        heard = frames_of(client)
        while (frame := await asyncio.wait_for(anext(heard, None), QUIET_S)) is not None:
            opcode, data = frame
            assert opcode in {TEXT, CLOSE, PONG}, (payload, opcode)
            if opcode == TEXT:
                assert isinstance(json.loads(data), list), payload
            elif opcode == CLOSE:
                assert may_be_sent(int.from_bytes(data[:2], "big") if data else None), (payload, data)
    await client.close()


async def served(house: House, endpoint: Endpoint) -> None:
    """A client that is right gets its answer, and its connection is closed as it should be."""
    async with asyncio.timeout(PATIENCE_S):
        client = await connected(house.port, endpoint)
        client.writer.write(text(endpoint.ask(ASK_BYTES)))
        _, answer = await client.read_frame()
        assert endpoint.answers(answer) == [True]
        client.writer.write(closing(1000))
        assert await client.close_code() == 1000
        await client.close()


async def campaign(house: House, chance: random.Random, count: int) -> None:
    """Some rounds, each of many connections at once."""
    mutators = [Mutator(chance, FRAME_TOKENS), Mutator(chance, JSON_TOKENS)]
    for _ in range(count):
        endpoint = chance.choice(ENDPOINTS)
        seeds = [seed for case in cases(endpoint.ask) if 0 < len(seed := b"".join(case.sent)) <= LARGE]
        seeds.append(
            text(json.dumps([HELLO]).encode()) if endpoint is BAYEUX else text(b'{"type":"subscribe","id":1,"channels":["/free/a"]}')
        )
        payloads = [chance.choice(mutators).mutate(chance.choice(seeds)) for _ in range(AT_ONCE)]
        await asyncio.gather(*(hostile(house, endpoint, payload) for payload in payloads))
        await served(house, endpoint)


async def run(caplog: pytest.LogCaptureFixture, chance: random.Random) -> None:
    """On one server, which must not log a fault of its own, and lets go of every connection."""
    caplog.set_level(logging.ERROR)
    with capture_logs() as logs:
        async with endpoints(limits=Limits(max_request_bytes=MAX_MESSAGE)) as house:
            await campaign(house, chance, SHORT_ROUNDS)
            await until(lambda: not house.server.registry.websockets)
    assert errors(logs) == []
    assert [record.getMessage() for record in caplog.records] == []


async def test_frames_that_are_nearly_right(caplog: pytest.LogCaptureFixture) -> None:
    await run(caplog, random.Random(6455))


@long_form
async def test_frames_that_are_nearly_right_for_long(caplog: pytest.LogCaptureFixture) -> None:
    for chance in rounds(seconds()):
        await run(caplog, chance)
