"""The timesync extension: a client learns the server's clock (docs/protocol/bayeux.md#timesync)."""

from __future__ import annotations

import time
from typing import Any

from tests.conformance.clients import Message
from tests.conformance.rules import CHOICE, SHOULD, rule

TRIES = 20
"""A machine that is busy may need several exchanges until one is quick."""


def asked(lag: int = 0, offset: int = 0) -> dict[str, Any]:
    """What a client sends: its clock, and what it takes for the lag and for the server's offset, all in ms."""
    return {"timesync": {"tc": int(time.time() * 1000), "l": lag, "o": offset}}


def check(reply: Message, sent: dict[str, Any]) -> dict[str, Any]:
    """The answer within a reply, which must be right in itself."""
    answer: dict[str, Any] = reply["ext"]["timesync"]
    question = sent["timesync"]
    assert answer["tc"] == question["tc"]
    assert answer["ts"] > 1_500_000_000_000, "the server's clock in ms since 1970"
    assert answer["p"] >= 0
    assert answer["a"] == question["tc"] + question["o"] + question["l"] - answer["ts"]
    return answer


@rule("2.1.timesync.handshake", "a handshake with ext.timesync {tc, l, o} is answered with {tc, ts, p, a}, a = tc + o + l - ts", SHOULD)
async def test_handshake(new_client: Any) -> None:
    sent = asked()
    check(await new_client().handshake(ext=sent), sent)


@rule("2.1.timesync.connect", "a connect with ext.timesync {tc, l, o} is answered with {tc, ts, p, a}", SHOULD)
async def test_connect(client: Any) -> None:
    sent = asked()
    check(await client.connect(timeout=0, ext=sent), sent)


@rule("2.1.timesync.hold", "p covers the time that a connect was held: the client does not take it for lag", SHOULD)
async def test_held(client: Any) -> None:
    sent = asked()
    assert check(await client.connect(timeout=300, ext=sent), sent)["p"] >= 250


@rule("2.1.timesync.wrong", "a client whose idea of the clock is off by 25 ms or more is answered", SHOULD)
async def test_wrong_clock(client: Any) -> None:
    sent = asked(lag=5, offset=60_000)
    assert check(await client.connect(timeout=0, ext=sent), sent)["a"] >= 25


@rule("2.1.timesync.right", "a client whose idea of the clock is right to less than 25 ms is not answered", SHOULD)
async def test_right_clock(client: Any) -> None:
    sent = asked()
    answer = check(await client.connect(timeout=0, ext=sent), sent)
    for _ in range(TRIES):
        reply = await client.connect(timeout=0, ext=asked(lag=1, offset=answer["ts"] - answer["tc"]))
        if "timesync" not in reply.get("ext", {}):
            return
        assert abs(reply["ext"]["timesync"]["a"]) >= 25
    raise AssertionError(f"answered {TRIES} times, though the client's clock was right")


@rule("2.1.timesync.unasked", "a client that does not ask is told nothing", SHOULD)
async def test_not_asked(new_client: Any) -> None:
    client = new_client()
    replies = [await client.handshake(), await client.connect(), await client.connect(timeout=0, ext={})]
    assert [reply for reply in replies if "timesync" in reply.get("ext", {})] == []


@rule("2.1.timesync.with-ack", "timesync and ack work side by side", CHOICE)
async def test_with_ack(new_client: Any) -> None:
    client, sent = new_client(), asked()
    reply = await client.handshake(ext={"ack": True, **sent})
    check(reply, sent)
    assert reply["ext"]["ack"]
    connected = await client.connect(timeout=0, ext={"ack": 0, **sent})
    check(connected, sent)
    assert connected["ext"]["ack"] == 1
