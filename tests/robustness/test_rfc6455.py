"""The corpus of RFC 6455 against both endpoints of a real server, with prebuilt frames and without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from hub.core.limits import Limits
from tests.hub.transports.bayeux_house import until
from tests.hub.transports.harness import RawClient
from tests.robustness.corpus.rfc6455 import ANSWER, ASK_BYTES, CLOSE, EOF, MAX_MESSAGE, PONG, TEXT, Case, cases, close, closing, pong, text
from tests.robustness.endpoints import ENDPOINTS, PATIENCE_S, Endpoint, connected, endpoints, errors, frames_of

LIMITS = Limits(max_request_bytes=MAX_MESSAGE)
DRIPPED_BYTES = 300
"""Cases of up to so many bytes are also sent byte by byte."""


async def words(client: RawClient, endpoint: Endpoint) -> AsyncIterator[str]:
    """What the server sends until the connection ends, in the words of the table."""
    closed = False
    async for opcode, payload in frames_of(client):
        if opcode == TEXT:
            for answers in endpoint.answers(payload):
                yield ANSWER if answers else payload.decode()
        elif opcode == CLOSE:
            closed = True
            yield close(int.from_bytes(payload[:2], "big") if payload else None)
        else:
            yield pong(payload) if opcode == PONG else f"opcode {opcode}"
    if not closed:
        yield EOF


async def send(client: RawClient, data: bytes, *, drip: bool) -> None:
    """As one segment, or byte by byte, as far as the system lets it be."""
    for piece in [data[at : at + 1] for at in range(len(data))] if drip else [data]:
        client.writer.write(piece)
        await asyncio.sleep(0)


async def run(port: int, endpoint: Endpoint, case: Case, *, drip: bool) -> list[str]:
    """What becomes of one case on a connection of its own."""
    async with asyncio.timeout(PATIENCE_S):
        client = await connected(port, endpoint, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        heard = words(client, endpoint)
        found = []
        await send(client, b"".join(case.sent), drip=drip)
        if case.half_close:
            client.writer.write_eof()
        if goes_on(case):
            found += [await anext(heard, EOF) for _ in case.expected]
            client.writer.write(text(endpoint.ask(ASK_BYTES)))
            found.append(await anext(heard, EOF))
            client.writer.write(closing(1000))
        found += [word async for word in heard]
        await client.close()
        return found


def goes_on(case: Case) -> bool:
    """Whether the connection is as good as before, after the case."""
    return not case.half_close and not (case.expected and case.expected[-1].startswith("close"))


def drips(case: Case) -> bool:
    """Whether a case is also sent byte by byte: bytes behind what ends a connection would only be refused."""
    return (goes_on(case) or case.half_close) and 0 < sum(map(len, case.sent)) <= DRIPPED_BYTES


@pytest.mark.parametrize("frames", [True, False], ids=["prebuilt frames", "ASGI"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
async def test_corpus(endpoint: Endpoint, frames: bool, caplog: pytest.LogCaptureFixture) -> None:
    expected = {}
    found = {}
    with capture_logs() as logs:
        async with endpoints(limits=LIMITS, frames=frames) as house:
            for case in cases(endpoint.ask):
                wanted = case.expected if frames or case.fallback is None else case.fallback
                wanted = [*wanted, ANSWER, close(1000)] if goes_on(case) else wanted
                for drip in (False, True) if drips(case) else (False,):
                    name = f"{case.section} {case.name}{', byte by byte' if drip else ''}"
                    assert name not in expected
                    expected[name] = wanted
                    found[name] = await run(house.port, endpoint, case, drip=drip)
            await until(lambda: not house.server.registry.websockets)
    assert {name: what for name, what in found.items() if what != expected[name]} == {}
    assert errors(logs) == []
    if frames:  # without them uvicorn itself decodes the text, and logs what it cannot
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
