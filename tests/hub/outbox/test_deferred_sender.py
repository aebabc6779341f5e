"""The sender is made by the first request."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest

from hub.outbox import sender as module
from hub.outbox.deferred_sender import DeferredSender
from hub.outbox.guard import Guard
from hub.outbox.models import OutboxEvent
from hub.outbox.outcome import Failure
from hub.outbox.settings import OutboxSettings
from hub.transports.runtime import SystemClock
from tests.hub.outbox.chaos import chaos
from tests.hub.outbox.support import endpoint

EVENT = OutboxEvent(7, "acme", "thing.started", "k", "", "op-1", "t" * 32, "", b"{}", 0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[module.Sender]:
    """The senders that are started."""
    started: list[module.Sender] = []
    start = module.Sender.start

    async def noted(sender: module.Sender) -> None:
        started.append(sender)
        await start(sender)

    monkeypatch.setattr(module.Sender, "start", noted)
    return started


@pytest.fixture
async def sender() -> AsyncIterator[DeferredSender]:
    sender = DeferredSender(Guard([ipaddress.ip_network("127.0.0.0/8")]), SystemClock(), OutboxSettings())
    await sender.start()
    yield sender
    await sender.stop()


async def test_requests_at_once_make_one_sender(sender: DeferredSender, made: list[module.Sender]) -> None:
    assert made == []
    async with chaos() as receiver:
        target = endpoint(url=receiver.url("/200"))
        outcomes = await asyncio.gather(*(sender.send(target, EVENT, 1, 20.0) for _ in range(5)))
    assert [(outcome.status, outcome.failure) for outcome in outcomes] == [(200, Failure.NONE)] * 5
    assert len(made) == 1


async def test_a_request_that_is_cancelled_meanwhile_leaves_no_harm(sender: DeferredSender, made: list[module.Sender]) -> None:
    async with chaos() as receiver:
        target = endpoint(url=receiver.url("/200"))
        first = asyncio.create_task(sender.send(target, EVENT, 1, 20.0))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await sender.send(target, EVENT, 1, 20.0)).status == 200
    assert len(made) == 1


async def test_the_end_closes_what_was_made_and_nothing_else(made: list[module.Sender]) -> None:
    sender = DeferredSender(Guard([ipaddress.ip_network("127.0.0.0/8")]), SystemClock(), OutboxSettings())
    await sender.start()
    await sender.stop()
    assert made == []
    async with chaos() as receiver:
        target = endpoint(url=receiver.url("/200"))
        await sender.send(target, EVENT, 1, 20.0)
        await sender.stop()
        (real,) = made
        with pytest.raises(AssertionError):  # its pool is closed
            await real.send(target, EVENT, 1, 20.0)
