"""What the server itself fails at, and requests that their client lets go of: one message's answer, and no session without a clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.hub.bayeux.harness import Bayeux, HookedBus

HALF_A_MINUTE_AND_MORE = 31.0
"""Beyond the interval and the maxInterval of the default limits, in seconds."""


async def test_fault_in_a_request_leaves_the_messages_to_the_held_connect() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/b")
    held = await client.hold()

    async def cancelled(topics: Any, *, positions: bool) -> None:
        await bayeux.emit("/b", b"1")
        raise asyncio.CancelledError

    bayeux.hub.subscriptions.interest._bus = HookedBus(bayeux.bus, cancelled)  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await client.post(client.subscribe("/a"))
    await bayeux.loop.run()
    assert [message.get("data") for message in held.response()] == [1, None]


async def test_a_fault_of_the_servers_harms_the_one_message_alone() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()

    async def broken(topics: Any, *, positions: bool) -> None:
        raise ConnectionError

    bayeux.hub.subscriptions.interest._bus = HookedBus(bayeux.bus, broken)  # type: ignore[assignment]
    answers = await client.post(client.connect(), client.subscribe("/a"), client.message("/b", data=1))
    assert [answer.get("error") for answer in answers] == [None, "500::internal_error", None]
    assert bayeux.server.counters.failed == 1
    bayeux.pass_time(HALF_A_MINUTE_AND_MORE)
    assert not bayeux.server.sessions  # its connect was answered: the clock runs


async def test_a_request_that_is_let_go_of_leaves_no_session_without_a_clock() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()

    async def cancelled(topics: Any, *, positions: bool) -> None:
        raise asyncio.CancelledError

    bayeux.hub.subscriptions.interest._bus = HookedBus(bayeux.bus, cancelled)  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await client.post(client.connect(), client.subscribe("/a"))
    bayeux.pass_time(HALF_A_MINUTE_AND_MORE)
    assert not bayeux.server.sessions


async def test_who_was_sent_away_cannot_put_off_its_end() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    client.session.disconnect()
    for _ in range(4):
        bayeux.pass_time(HALF_A_MINUTE_AND_MORE / 3)
        (reply,) = await client.post(client.message("/a", data=1))
        assert reply["error"] == "402::session_unknown"
    assert not bayeux.server.sessions
