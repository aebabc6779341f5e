"""Words between the nodes of a hub, over the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from hub.bus.interface import BusError, Envelope
from hub.bus.memory import MemoryBus
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.core.signals import HUB, Signals
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.security.models import is_tenant_name
from hub.signals import SignalHearing
from tests.hub.core.harness import World
from tests.world import ManualClock

WORD = "/hub/revoked"


class Recording(MemoryBus):
    """A bus that keeps what is asked of it, and refuses the first subscribes."""

    __slots__ = ("failures", "published", "subscribed", "taken_back")

    def __init__(self, failures: int = 0) -> None:
        super().__init__(MemoryChannelLog(ManualClock()))
        self.failures = failures
        self.published: list[Envelope] = []
        self.subscribed: asyncio.Future[list[Topic]] = asyncio.get_running_loop().create_future()
        self.taken_back: list[Topic] = []

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        if self.failures:
            self.failures -= 1
            raise BusError("away")
        self.subscribed.set_result(list(topics))
        return {}

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        self.taken_back += topics

    def publish(self, envelope: Envelope) -> None:
        self.published.append(envelope)


async def test_a_word_is_said_to_the_other_nodes_and_not_to_this_one() -> None:
    bus = Recording()
    signals = Signals(bus)
    heard: list[str] = []
    signals.listen(WORD, lambda: heard.append(WORD))
    signals.say(WORD)
    assert [envelope.topic for envelope in bus.published] == [Topic(HUB, "", WORD)]
    assert (heard, signals.counters.said, signals.counters.heard) == ([], 1, 0)


async def test_no_tenant_can_have_the_name_of_the_hub() -> None:
    assert not is_tenant_name(HUB)


async def test_it_hears_as_soon_as_the_bus_confirms_it() -> None:
    bus = Recording(failures=2)
    signals = Signals(bus)
    signals.listen(WORD, lambda: None)
    hearing = SignalHearing(signals, retry_s=0.001)
    await hearing.start()
    async with asyncio.timeout(30):
        assert await bus.subscribed == [Topic(HUB, "", WORD)]
    assert bus.taken_back == [Topic(HUB, "", WORD)] * 2
    await hearing.stop()


async def test_who_listens_to_nothing_asks_nothing() -> None:
    bus = Recording()
    await Signals(bus).subscribe()
    assert not bus.subscribed.done()


async def test_the_word_of_another_node_reaches_its_listener_and_no_session() -> None:
    world = World()
    heard: list[str] = []
    world.hub.signals.listen(WORD, lambda: heard.append(WORD))
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/hub/revoked"])
    assert isinstance(world.bus, MemoryBus)
    receiver = world.bus._receiver
    assert receiver is not None
    for channel in (WORD, "/hub/unknown"):
        receiver.on_envelope(Envelope(Topic(HUB, "", channel), DeliveryClass.EVENT, b"{}", origin="b", sequence=1))
    await world.loop.run()
    assert heard == [WORD]
    assert session.received == []
    assert world.hub.signals.counters.heard == 1
