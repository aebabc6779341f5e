"""Interactions that events tell of: nothing is lost and nothing doubled, whenever the hub dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from channels.events import (
    EVENT_STREAM,
    TYPE_NAMES,
    Event,
    EventData,
    InteractionEstablished,
    InteractionFinished,
    InteractionQueued,
    InteractionStarted,
    encode_event,
)
from channels.interactions import store
from channels.interactions.event_consumer import SOURCE, EventLogConsumer
from channels.interactions.models import Interaction, Key
from channels.interactions.service import InteractionService
from channels.interactions.state_machine import State
from hub.eventlog.memory import MemoryEventLog
from hub.outbox.recorder import EventRecorder
from hub.storage.transactions import StorageError, Transaction, Transactions
from hub.transports.runtime import SystemClock

Told = list[tuple[str, str]]


class Harness:
    """A consumer, and what follows from what it does."""

    def __init__(self, transactions: Transactions, eventlog: MemoryEventLog | None = None, **options: Any) -> None:
        self.transactions = transactions
        self.eventlog = eventlog or MemoryEventLog()
        recorder = EventRecorder("me", SystemClock(), hand_over=lambda *_: None, has_room=lambda _tenant: False)
        self.ended: list[tuple[str, str]] = []
        self.interactions = InteractionService(recorder, lambda: "http://hub", SystemClock(), listeners=lambda: [self])  # type: ignore[arg-type]
        self.consumer = EventLogConsumer(self.interactions, transactions, self.eventlog, **options)

    async def log(self, *events: Event, tenant: str = "acme") -> list[tuple[int, Event]]:
        """Put events into the log, as ingest does before it hands them out."""
        last = await self.eventlog.append(tenant, EVENT_STREAM, [encode_event(event) for event in events])
        first = last - len(events) + 1
        return [(first + number, event) for number, event in enumerate(events)]

    async def ingest(self, *events: Event, tenant: str = "acme") -> None:
        self.consumer.consume(tenant, await self.log(*events, tenant=tenant))

    async def told(self, tenant: str = "acme") -> Told:
        rows = await self.transactions.read(lambda tx: tx.rows("SELECT body FROM outbox_events WHERE tenant = ? ORDER BY id", (tenant,)))
        entities = [json.loads(body)["data"]["entities"][0] for (body,) in rows]
        return [(entity["entity"]["id"], entity["event"]) for entity in entities]

    async def until(self, done: Callable[[Told], bool]) -> Told:
        async with asyncio.timeout(20):
            while not done(told := await self.told()):
                await asyncio.sleep(0.01)
        return told

    def interaction_finished(self, transaction: Transaction, tenant: str, identifier: str) -> None:
        """Stands for a family that is told of it."""
        self.ended.append((tenant, identifier))

    async def is_over(self, identifier: str) -> bool | None:
        return await self.transactions.write(lambda tx: self.interactions.is_over(tx, "acme", identifier))

    async def find(self, identifier: str) -> Interaction:
        return await self.transactions.read(lambda tx: store.find(tx, "acme", Key(identifier)))


def event(data: EventData, source: str = "switch", number: int = 0) -> Event:
    return Event(TYPE_NAMES[type(data)], 1_000 + number, source, f"e{number}", data)


def started(identifier: str, media: str = "chat", subtype: str | None = None) -> Event:
    return event(InteractionStarted(interaction_id=identifier, media=media, subtype=subtype))


def finished(identifier: str, media: str = "chat", reason: str | None = None) -> Event:
    return event(InteractionFinished(interaction_id=identifier, media=media, reason=reason))


async def test_started_and_finished_are_told_in_order(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(started("i1", "voice", "Outbound"), finished("i1", "voice", "hung up"))
    await harness.until(lambda told: len(told) == 2)
    await harness.consumer.stop()
    assert await harness.told() == [("i1", "STARTED"), ("i1", "FINISHED")]
    found = await harness.find("i1")
    assert (found.media, found.subtype, found.state, found.reason_text, found.created_ms) == (
        "voice",
        "Outbound",
        State.STOPPED,
        "hung up",
        1_000,
    )
    assert harness.interactions.live == {"acme": set()}


async def test_other_families_are_told_once_of_an_end_and_may_ask(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(started("i1"))
    await harness.until(lambda told: len(told) == 1)
    assert (await harness.is_over("i1"), await harness.is_over("i2"), harness.ended) == (False, None, [])
    await harness.ingest(finished("i1"), finished("i1"), finished("i2"))
    await harness.until(lambda told: len(told) == 3)
    await harness.consumer.stop()
    assert (await harness.is_over("i1"), await harness.is_over("i2")) == (True, True)
    assert harness.ended == [("acme", "i1"), ("acme", "i2")]


@pytest.mark.parametrize(
    ("subtype", "told"), [("SMS", "SMS"), (None, "InboundNew"), ("Inbound", None), ("inboundnew", None), ("Callback", None)]
)
async def test_a_subtype_that_receivers_do_not_know_is_left_out_and_counted(
    transactions: Transactions, subtype: str | None, told: str | None
) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(started("i1", "voice", subtype), finished("i1", "voice"))
    await harness.until(lambda told: len(told) == 2)
    await harness.consumer.stop()
    bodies = await transactions.read(lambda tx: tx.rows("SELECT body FROM outbox_events ORDER BY id"))
    entities = [json.loads(body)["data"]["entities"][0]["entity"] for (body,) in bodies]
    assert [each.get("interactionSubtype") for each in entities] == [told, told]
    assert [sorted(each) for each in entities] == [sorted({"id", "mediaType", "selfUri"} | ({"interactionSubtype"} if told else set()))] * 2
    assert harness.interactions.counters.subtypes_left_out == (0 if told else 2)
    assert (await harness.find("i1")).subtype == (subtype or "InboundNew")


async def test_what_an_event_says_of_an_interaction_is_kept_with_it(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    given = {"subject": "Lost card", "nested": {"n": 1}}
    await harness.ingest(
        event(InteractionStarted(interaction_id="i1", media="email", external_id="m1", user_data=given)),
        event(InteractionStarted(interaction_id="i2", media="email", external_id="m1", user_data={"a": "x" * 40_000})),
    )
    told = await harness.until(lambda told: len(told) == 2)
    await harness.consumer.stop()
    first, second = await harness.find("i1"), await harness.find("i2")
    assert (first.external_id, first.user_data) == ("m1", given)
    assert (second.external_id, second.user_data) == (None, {}), "the first has the external id, and there is a bound"
    assert harness.interactions.counters.user_data_left_out == 1
    assert told == [("i1", "STARTED"), ("i2", "STARTED")]
    bodies = await transactions.read(lambda tx: tx.rows("SELECT body FROM outbox_events"))
    assert all(b"Lost card" not in body for (body,) in bodies), "what is told carries no user data"


async def test_what_happens_in_between_moves_it(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(started("i1"), event(InteractionQueued(interaction_id="i1", queue="q")))
    await harness.consumer.stop()
    assert (await harness.find("i1")).state is State.QUEUED
    again = Harness(transactions, harness.eventlog)
    await again.consumer.start()
    await again.ingest(event(InteractionEstablished(interaction_id="i1", agent_id="a", call_type="inbound")))
    await again.consumer.stop()
    assert (await harness.find("i1")).state is State.PROCESSING


async def test_calls_that_nobody_started_are_none_of_its_business(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(event(InteractionQueued(interaction_id="unknown", queue="q")))
    await harness.consumer.stop()
    assert await harness.told() == []
    assert await transactions.read(lambda tx: store.position(tx, "acme")) == 0


async def test_a_second_start_and_a_second_end_are_ignored(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(started("i1"), started("i1"), finished("i1"), finished("i1"))
    await harness.consumer.stop()
    assert await harness.told() == [("i1", "STARTED"), ("i1", "FINISHED")]
    assert (harness.interactions.counters.ignored_started, harness.interactions.counters.ignored_finished) == (1, 1)


async def test_the_end_of_what_nobody_heard_of_is_told(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(finished("i1"))
    await harness.consumer.stop()
    assert await harness.told() == [("i1", "FINISHED")]
    assert harness.interactions.counters.finished_unknown == 1


async def test_its_own_events_for_the_stat_server_are_not_followed(transactions: Transactions) -> None:
    harness = Harness(transactions)
    own = event(InteractionStarted(interaction_id="i1", media="workitem"), SOURCE)
    await harness.log(own)
    await harness.consumer.start()
    await harness.ingest(own)
    await harness.consumer.stop()
    assert await harness.told() == []


async def test_what_the_last_run_did_not_get_to_is_taken_up(transactions: Transactions) -> None:
    """Ingest has acknowledged what is in the log; the process died before the consumer came to it."""
    harness = Harness(transactions)
    await harness.log(started("i1"), finished("i1"))
    await harness.log(started("i2"), tenant="other")
    await harness.consumer.start()
    await harness.consumer.stop()
    assert await harness.told() == [("i1", "STARTED"), ("i1", "FINISHED")]
    assert await harness.told("other") == [("i2", "STARTED")]


async def test_what_the_last_run_did_is_not_done_again(transactions: Transactions) -> None:
    first = Harness(transactions)
    await first.consumer.start()
    await first.ingest(started("i1"), finished("i1"))
    await first.consumer.stop()
    await first.log(started("i2"))
    second = Harness(transactions, first.eventlog)
    await second.consumer.start()
    await second.consumer.stop()
    assert await second.told() == [("i1", "STARTED"), ("i1", "FINISHED"), ("i2", "STARTED")]
    assert second.interactions.counters.ignored_started == 0


async def test_events_of_a_tenant_that_was_removed_are_passed_over(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.log(started("i1"), tenant="gone")
    await harness.consumer.start()
    await harness.ingest(started("i2"), tenant="gone")
    await harness.ingest(started("i3"))
    await harness.consumer.stop()
    assert await harness.told() == [("i3", "STARTED")]


@pytest.mark.parametrize("max_waiting", [5, 1_000_000])
async def test_a_flood_is_followed_whole_and_in_order(transactions: Transactions, max_waiting: int) -> None:
    """With little memory it is read from the log again."""
    harness = Harness(transactions, max_waiting=max_waiting, batch_size=7)
    await harness.consumer.start()
    expected: Told = []
    for number in range(60):
        await harness.ingest(started(f"i{number}"), finished(f"i{number}"))
        expected += [(f"i{number}", "STARTED"), (f"i{number}", "FINISHED")]
        if number % 9 == 0:
            await asyncio.sleep(0)
    await harness.consumer.stop()
    assert await harness.told() == expected


async def test_a_database_that_fails_for_a_while(transactions: Transactions, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(transactions, retry_s=0.01)
    await harness.consumer.start()
    real, left = transactions.write, 3

    async def write(operation: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise StorageError("disk full")
        return await real(operation)

    monkeypatch.setattr(transactions, "write", write)
    await harness.ingest(started("i1"), finished("i1"))
    assert await harness.until(lambda told: len(told) == 2) == [("i1", "STARTED"), ("i1", "FINISHED")]
    await harness.consumer.stop()


async def test_events_that_the_log_forgot_meanwhile_are_counted(transactions: Transactions) -> None:
    harness = Harness(transactions)
    await harness.consumer.start()
    await harness.ingest(started("i1"))
    await harness.until(lambda told: len(told) == 1)
    await harness.consumer.stop()
    logged = await harness.log(started("i2"), started("i3"), finished("i1"))
    await harness.eventlog.trim("acme", EVENT_STREAM, logged[1][0])
    again = Harness(transactions, harness.eventlog)
    await again.consumer.start()
    await again.consumer.stop()
    assert await again.told() == [("i1", "STARTED"), ("i1", "FINISHED")]
    assert again.interactions.counters.events_missed == 2
