"""What follows inside the hub: two channels and the stat server, each once, however often the outbox repeats itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from channels.events import InteractionFinished, InteractionStarted
from channels.interactions.event_consumer import SOURCE
from channels.interactions.models import Interaction
from channels.interactions.publisher import CHANNEL, CHANNELS, InteractionPublisher, NotTakenError
from channels.interactions.serializers import webhook_body
from channels.interactions.state_machine import State
from hub.core.channels import to_segment
from hub.outbox.models import EVERY_ENDPOINT, OutboxEvent
from tests.hub.core.harness import Recorder, World
from tests.support.rest import Sink

IDENTIFIER = "chat:7/é"


class Harness:
    """A publisher, who listens, and a stat server."""

    def __init__(self) -> None:
        self.world = World(CHANNELS)
        self.sink = Sink()
        self.publisher = InteractionPublisher(self.world.hub, lambda: self.sink, lambda event_type: event_type.encode())

    async def listener(self, pattern: str) -> Recorder:
        session = self.world.session(pattern)
        await self.world.hub.subscriptions.subscribe(session, [pattern])
        return session

    def heard(self, session: Recorder) -> list[str]:
        return [json.loads(message.data)["event"] for message in session.received]


def event(event_type: str, number: int = 1, origin: str = "rest") -> OutboxEvent:
    made = Interaction(IDENTIFIER, "tickets", None, "chat", "InboundNew", State.SUBMITTED, None, None, {}, 5)
    body = webhook_body(event_type, made, "op", "http://hub")
    return OutboxEvent(number, "t", event_type, IDENTIFIER, "chat", "op", "", EVERY_ENDPOINT, body, 1_000 + number, origin)


async def test_both_channels_and_the_stat_server() -> None:
    harness = Harness()
    everything, one = await harness.listener(CHANNEL), await harness.listener(f"{CHANNEL}/{to_segment(IDENTIFIER)}")
    await harness.publisher.consume(event("interaction.started"))
    await harness.publisher.consume(event("interaction.finished", 2))
    await harness.world.loop.run()
    assert harness.heard(everything) == harness.heard(one) == ["STARTED", "FINISHED"]
    assert json.loads(one.received[0].data)["entity"]["selfUri"] == "http://hub/nexus/v3/interactions/chat%3A7%2F%C3%A9"
    assert [(tenant, each.type, each.source, each.time_ms, each.data) for tenant, each in harness.sink.taken] == [
        ("t", "cx.interaction.started", SOURCE, 1_001, InteractionStarted(interaction_id=IDENTIFIER, media="chat", subtype="InboundNew")),
        ("t", "cx.interaction.finished", SOURCE, 1_002, InteractionFinished(interaction_id=IDENTIFIER, media="chat", subtype="InboundNew")),
    ]


async def test_a_repeat_is_heard_by_nobody() -> None:
    harness = Harness()
    listener = await harness.listener(f"{CHANNEL}/**")
    for _ in range(3):
        await harness.publisher.consume(event("interaction.started"))
    await harness.world.loop.run()
    assert harness.heard(listener) == ["STARTED"]
    assert len(harness.sink.taken) == 1


async def test_what_came_as_an_event_is_not_told_to_where_it_came_from() -> None:
    harness = Harness()
    listener = await harness.listener(CHANNEL)
    await harness.publisher.consume(event("interaction.started", origin="events"))
    await harness.world.loop.run()
    assert harness.heard(listener) == ["STARTED"]
    assert harness.sink.taken == []


async def test_what_the_stat_server_does_not_take_is_told_again() -> None:
    harness = Harness()
    listener = await harness.listener(CHANNEL)
    harness.sink.since_ms = 10_000
    with pytest.raises(NotTakenError, match="expected later"):
        await harness.publisher.consume(event("interaction.started"))
    harness.sink.since_ms = 0
    await harness.publisher.consume(event("interaction.started"))
    await harness.world.loop.run()
    assert harness.heard(listener) == ["STARTED"]
    assert len(harness.sink.taken) == 1


async def test_without_a_stat_server_the_channels_are_told() -> None:
    harness = Harness()
    listener = await harness.listener(CHANNEL)
    publisher: Any = InteractionPublisher(harness.world.hub, lambda: None, lambda event_type: b"")
    await publisher.consume(event("interaction.started"))
    await harness.world.loop.run()
    assert harness.heard(listener) == ["STARTED"]
