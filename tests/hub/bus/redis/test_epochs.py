"""What an owner publishes with its epoch, and what a node that was the owner before can no longer publish."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hub.bus.interface import Envelope, Gap
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from tests.hub.bus.backends import NodesOverRedis, until
from tests.support.redis_server import KINDS, RedisServer
from tests.world import ManualClock

TOPIC = Topic("t", "", "/values")


class Ear:
    def __init__(self) -> None:
        self.heard: list[Envelope] = []

    def on_envelope(self, envelope: Envelope) -> None:
        self.heard.append(envelope)

    def on_position(self, tenant: str, position: int) -> None:
        pass

    def on_gap(self, gap: Gap) -> None:
        pass

    def on_reset(self, tenant: str, seam: int) -> None:
        pass


@pytest.mark.parametrize("kind", KINDS)
async def test_an_owner_that_was_replaced_is_not_heard(kind: str, shared_redis: Callable[[str], RedisServer]) -> None:
    nodes = await NodesOverRedis.make(shared_redis(kind), ManualClock())
    try:
        ear = Ear()
        nodes.a.attach(Ear())
        nodes.b.attach(ear)
        fenced: list[tuple[str, int]] = []
        nodes.a.on_fenced.append(lambda tenant, epoch: fenced.append((tenant, epoch)))
        await nodes.b.subscribe([TOPIC], positions=False)

        def publish(data: bytes, epoch: int) -> None:
            nodes.a.publish(Envelope(TOPIC, DeliveryClass.STATE, data, epoch=epoch))

        assert await nodes.a.claim("t", 7) == 7
        publish(b"1", 7)
        publish(b"2", 0)  # what anybody may publish goes on in a call of its own
        await nodes.settle()
        assert await nodes.a.claim("t", 8) == 8
        assert await nodes.a.claim("t", 7) == 8
        publish(b"3", 7)
        publish(b"4", 0)
        publish(b"5", 8)
        await nodes.settle()
        await until(lambda: len(ear.heard) == 4)
        assert [envelope.data for envelope in ear.heard] == [b"1", b"2", b"4", b"5"]
        assert fenced == [("t", 7)]
        assert nodes.a.counters.fenced == 1
        # a Redis that has lost the epoch learns it by the next message
        await nodes.call("DEL", nodes.names.of("t").meta)
        publish(b"6", 8)
        publish(b"7", 7)
        await nodes.settle()
        await until(lambda: len(ear.heard) == 5)
        assert ear.heard[-1].data == b"6"
        assert fenced == [("t", 7), ("t", 7)]
    finally:
        await nodes.close()


async def test_the_next_owner_does_not_hear_the_last_one_any_more(shared_redis: Callable[[str], RedisServer]) -> None:
    """What the last one had published is still on its way to the next one, which has taken the tenant already."""
    nodes = await NodesOverRedis.make(shared_redis("redis"), ManualClock())
    try:
        ear = Ear()
        nodes.a.attach(Ear())
        nodes.b.attach(ear)
        await nodes.b.subscribe([TOPIC], positions=False)
        await nodes.a.claim("t", 7)
        nodes.a.publish(Envelope(TOPIC, DeliveryClass.STATE, b"1", epoch=7))
        await nodes.settle()
        await until(lambda: len(ear.heard) == 1)
        bring = nodes.b.subscriber.on_message
        late: list[tuple[bytes, bytes]] = []
        nodes.b.subscriber.on_message = lambda channel, payload: late.append((channel, payload))
        nodes.a.publish(Envelope(TOPIC, DeliveryClass.STATE, b"2", epoch=7))
        await until(lambda: bool(late))
        await nodes.b.claim("t", 8)
        for channel, payload in late:
            bring(channel, payload)
        assert [envelope.data for envelope in ear.heard] == [b"1"]
        assert nodes.b.counters.deposed == 1
    finally:
        await nodes.close()
