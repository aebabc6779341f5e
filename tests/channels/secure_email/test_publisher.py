"""From the outbox to the event sink: alone, and with the outbox and the sequencer that a hub has."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from channels.events import EVENT_SINK, EventSinkError
from channels.ingest.sequencer import Sequencer
from channels.secure_email.attachment_store import AttachmentStore
from channels.secure_email.counters import PublisherCounters
from channels.secure_email.family import family
from channels.secure_email.models import Draft
from channels.secure_email.moves import AttachmentMoves
from channels.secure_email.publisher import NotTakenError
from channels.secure_email.service import MailService
from channels.secure_email.settings import SecureEmailSettings
from hub.eventlog.memory import MemoryEventLog
from hub.family import Context, Parts
from hub.objects.ports import OBJECT_STORE
from hub.ops.settings import model_of
from hub.outbox.models import RECORDER
from hub.outbox.service import Outbox
from hub.outbox.settings import OutboxSettings
from hub.outbox.timing import Timing
from hub.transports.runtime import SystemClock
from tests.channels.ingest.support import Recorder
from tests.channels.secure_email.support import ANA, Office
from tests.channels.statistics.support import AsyncioLoop


async def test_a_repeat_is_told_as_the_same_event(light: Office) -> None:
    await light.send()
    await light.announce()
    assert len(await light.announce()) == 1
    counters = light.publisher.counters
    assert (counters.started, counters.repeated, counters.finished, counters.moved) == (1, 1, 0, 0)


async def test_what_comes_too_late_is_told_with_the_present_time(light: Office) -> None:
    identifier = await light.send()
    light.clock.now_ms += 300
    light.sink.since_ms = light.clock.now_ms
    await light.mail(identifier, read="true")
    assert [kind for kind, _, _ in await light.announce()] == ["cx.interaction.started", "cx.interaction.finished"]
    assert [event.time_ms for _, event in light.sink.taken] == [light.clock.now_ms] * 2
    assert light.publisher.counters.moved == 1


async def test_what_is_refused_is_left_for_later(light: Office) -> None:
    await light.send()
    light.sink.since_ms = light.clock.now_ms + 1
    with pytest.raises(NotTakenError, match=r"cx\.interaction\.started of interaction .* is refused: time: expected later"):
        await light.announce()
    light.sink.since_ms, light.sink.fault = 0, EventSinkError("the disk is full")
    with pytest.raises(EventSinkError):
        await light.announce()
    light.sink.fault = None
    assert len(await light.announce()) == 1


async def test_with_the_outbox_and_the_sequencer(office: Office) -> None:
    """The family as a hub builds it: what is sent and read reaches whoever lives on events, once and in order."""
    clock = SystemClock()
    consumer = Recorder()
    sequencer = Sequencer(
        eventlog=MemoryEventLog(),
        clock=clock,
        loop=AsyncioLoop(),
        find_consumers=lambda: [consumer],
        repeats_s=600,
        repeats_max=1000,
    )
    built: list[Parts] = []
    outbox = Outbox(
        transactions=office.transactions,
        hub=cast("Any", None),
        clock=clock,
        loop=AsyncioLoop(),
        settings=OutboxSettings(),
        sender=cast("Any", None),
        consumers=lambda: [each for part in built for each in part.outbox_consumers],
        alone=True,
        timing=Timing(poll_s=0.05),
    )
    settings = model_of([family])()
    assert settings.secure_email == SecureEmailSettings()  # type: ignore[attr-defined]
    context = Context(settings, cast("Any", None), cast("Any", None), cast("Any", None), clock, office.transactions, built)
    built.append(Parts(offers=[RECORDER.offer(outbox), EVENT_SINK.offer(sequencer), OBJECT_STORE.offer(office.objects)]))
    parts = family.build(context)
    built.append(parts)
    attachments = AttachmentStore(office.folder, takes_new=True)
    mails = MailService(transactions=office.transactions, attachments=attachments, outbox=cast("Any", outbox), clock=clock)
    retention, moves = parts.services
    assert isinstance(moves, AttachmentMoves), "on SQLite there is one hub, which may keep attachments in its own folder"
    await sequencer.start()
    await retention.start()
    await outbox.start()
    try:
        draft = Draft(sender=ANA, text="x")
        first, second = [await mails.receive("acme", "", draft) for _ in range(2)]
        await asyncio.gather(*(mails.read("acme", first, contents=False) for _ in range(5)))
        async with asyncio.timeout(30):
            while len(consumer.seen) < 3:
                await asyncio.sleep(0.01)
        interactions = [(await mails.find("acme", each, contents=False)).mail.interaction_id for each in (first, second)]
    finally:
        await outbox.stop()
        await retention.stop()
        await sequencer.stop()
    told = [(event.type, event.data.interaction_id) for _, event in consumer.seen]  # type: ignore[attr-defined]
    assert set(told) == {
        ("cx.interaction.started", interactions[0]),
        ("cx.interaction.started", interactions[1]),
        ("cx.interaction.finished", interactions[0]),
    }
    assert len(told) == 3
    assert told.index(("cx.interaction.started", interactions[0])) < told.index(("cx.interaction.finished", interactions[0]))
    assert cast("PublisherCounters", parts.counters["secure_email_interactions"]).started == 2
    assert await office.transactions.read(lambda tx: tx.row("SELECT count(*) FROM deliveries")) == (0,)
