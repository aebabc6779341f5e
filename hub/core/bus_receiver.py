"""What the bus brings to this node: messages, positions of the log, and the news that messages were lost."""

from __future__ import annotations

from hub.bus.interface import Envelope, Gap
from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry
from hub.core.fetches import Fetches
from hub.core.ports import Clock, Loop
from hub.core.positions import Positions
from hub.core.principal import SUBJECT
from hub.core.publisher import Publisher
from hub.core.sessions import Sessions
from hub.core.signals import HUB, Signals
from hub.core.snapshots import Snapshots
from hub.core.subjects import SubjectSessions
from hub.core.time_slice import TimeSlice


class BusReceiver:
    """The :class:`hub.bus.interface.Receiver` of a hub."""

    __slots__ = (
        "_clock",
        "_counters",
        "_fetches",
        "_loop",
        "_positions",
        "_publisher",
        "_registry",
        "_sessions",
        "_signals",
        "_snapshots",
        "_subjects",
    )

    def __init__(
        self,
        *,
        publisher: Publisher,
        positions: Positions,
        sessions: Sessions,
        snapshots: Snapshots,
        fetches: Fetches,
        subjects: SubjectSessions,
        signals: Signals,
        registry: ChannelRegistry,
        counters: Counters,
        loop: Loop,
        clock: Clock,
    ) -> None:
        self._publisher = publisher
        self._positions = positions
        self._sessions = sessions
        self._snapshots = snapshots
        self._fetches = fetches
        self._subjects = subjects
        self._signals = signals
        self._registry = registry
        self._counters = counters
        self._loop = loop
        self._clock = clock

    def on_envelope(self, envelope: Envelope) -> None:
        """Deliver a message from another node, or from the log."""
        tenant, audience, channel = envelope.topic
        if tenant == HUB:
            self._signals.received(channel)
            return
        if audience.startswith(SUBJECT):
            self._subjects.hear(tenant, audience.removeprefix(SUBJECT))
        if envelope.position is not None:
            self._positions.advance(tenant, envelope.position)
        else:
            self._fetches.note(envelope)
        self._publisher.deliver(envelope)

    def on_position(self, tenant: str, position: int) -> None:
        """Note that all log messages of subscribed topics up to this position have been handed over."""
        self._positions.advance(tenant, position)

    def on_gap(self, gap: Gap) -> None:
        """Send state channels anew, since messages were lost. Sessions that hear log channels of which some are lost are ended: they come
        back, and learn that something may be missing.
        """
        self._counters.gaps += 1
        self._loop.spawn(self._after_loss(gap.tenant, log=gap.after is not None))
        if gap.resume_position is not None:
            self._positions.advance(gap.tenant, gap.resume_position)

    def on_reset(self, tenant: str, seam: int) -> None:
        """End the sessions that hear log channels, since the log has lost its end: they come back, and learn that something may be
        missing.
        """
        self._counters.resets += 1
        self._loop.spawn(self._after_loss(tenant, log=True))
        self._positions.advance(tenant, seam)

    async def _after_loss(self, tenant: str, *, log: bool) -> None:
        time_slice = TimeSlice(self._clock, self._loop)
        for subscriber in [each for each in self._sessions.by_id.values() if each.principal.tenant == tenant]:
            if subscriber.attached and not subscriber.closing:
                if log and any(map(self._registry.has_log, subscriber.subscriptions)):
                    subscriber.end_too_slow()
                else:
                    await self._snapshots.send_all(subscriber)
            await time_slice.checkpoint()
