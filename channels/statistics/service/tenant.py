"""One tenant's statistics while they are available: the engine, the events that wait, and what is open. No event loop here."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from heapq import heapify, heappop, heappush
from itertools import count

import structlog
from msgspec import structs

from channels.events import Event, GroupChanged, LateEventError, RefusedEventError, encode_event
from channels.statistics.engine.engine import Engine
from channels.statistics.service.counters import Counters
from channels.statistics.service.notification import Notifier, OpenStatistic
from channels.statistics.service.payloads import update_head, value_head
from channels.statistics.service.requests import Wanted
from channels.statistics.service.subscriptions import Subscription, Subscriptions
from channels.statistics.settings import StatisticsSettings
from hub.core.ports import Clock

_log = structlog.get_logger(__name__)


class AheadEventError(LateEventError):
    """An event lies further in the future than ``max_ahead_s`` allows. Like a late event it is refused for its time."""


class BehindEventError(LateEventError):
    """An event is older than ``max_behind_s`` allows."""


class HeldEventError(LateEventError):
    """An event lies a little ahead, and ``max_held`` events wait for their time already."""


_AT_ONCE = 32
"""Statistics that are closed in one piece: 0.3 ms or so."""

_LONG_LIST = 64
"""Members from which on a list of them is applied in pieces."""


class Tenant:
    """The state of one tenant. Times named ``now_ms`` are monotonic milliseconds; the engine's own time is that of the events.

    Events, and statistics that have to be closed, may come by the thousand. They wait in queues, and :meth:`step` does a small piece of the
    work, so that its caller can give way to others between two calls. While :attr:`frozen` is true a thread reads the engine, which must
    not change: then all of it waits for :meth:`thaw`.
    """

    __slots__ = (
        "_backlog",
        "_clock",
        "_closing",
        "_counters",
        "_held",
        "_held_bytes",
        "_newest_ms",
        "_order",
        "_settings",
        "_working",
        "changes",
        "engine",
        "frozen",
        "notifier",
        "position",
        "subscriptions",
        "values",
    )

    def __init__(self, engine: Engine, settings: StatisticsSettings, counters: Counters, clock: Clock) -> None:
        self._settings = settings
        self._counters = counters
        self._clock = clock
        # events
        self.engine = engine
        self.position = 0
        """Position of the last event that was taken from the log."""
        self.changes = 0
        """Events since the last snapshot."""
        self._newest_ms = engine.now_ms
        self._held: list[tuple[int, int, Event, int]] = []
        """Time, order of arrival, event, and its bytes."""
        self._held_bytes = 0
        self._order = count()
        # what is open
        self.subscriptions = Subscriptions(settings)
        self.values: dict[str, OpenStatistic] = {}
        self.notifier = Notifier(object_gap_ms=settings.immediate_object_ms, group_gap_ms=settings.immediate_group_ms)
        # what waits
        self.frozen = False
        self._backlog: deque[tuple[int, Event]] = deque()
        self._working: Iterator[object] | None = None
        """The rest of the work for an event that is applied in pieces; None if there is none."""
        self._closing: deque[OpenStatistic] = deque()

    # -- events -----------------------------------------------------------------------------------------------------

    def check(self, event: Event, *, past: bool = False) -> None:
        """See :meth:`channels.events.EventConsumer.check`."""
        present_ms = self._present_ms()
        if present_ms is not None:
            self._check_age(event, present_ms, past)
        try:
            self.engine.check(event, present_ms)
        except LateEventError:
            self._counters.events_late += 1
            raise
        try:
            self.engine.admit(event)
        except RefusedEventError:
            self._counters.events_over_limit += 1
            raise

    def _check_age(self, event: Event, present_ms: int, past: bool) -> None:
        """Refuse what lies too far ahead of the wall clock, or too far behind it and ends nothing."""
        settings = self._settings
        if event.arrival:
            return
        ahead_ms = event.time_ms - present_ms
        if ahead_ms > settings.max_ahead_s * 1000:
            self._counters.events_ahead += 1
            raise AheadEventError(
                f"time: expected at most {settings.max_ahead_s} s in the future (statistics.max_ahead_s), got {ahead_ms / 1000:.1f} s"
            )
        if ahead_ms > 0 and (len(self._held) >= settings.max_held or self._held_bytes >= settings.max_held_bytes):
            self._counters.events_over_limit += 1
            most = (
                f"{settings.max_held} events (statistics.max_held)"
                if len(self._held) >= settings.max_held
                else f"events of {settings.max_held_bytes} bytes (statistics.max_held_bytes)"
            )
            raise HeldEventError(
                f"time: expected one that is over, since {most} wait for their time already; got {ahead_ms / 1000:.1f} s in the future"
            )
        if -ahead_ms > settings.max_behind_s * 1000 and not past and not event.never_late:
            self._counters.events_behind += 1
            raise BehindEventError(
                f"time: expected at most {settings.max_behind_s} s in the past (statistics.max_behind_s; ?past=true waives it), "
                f"got {-ahead_ms / 1000:.1f} s"
            )

    def _present_ms(self) -> int | None:
        """What the wall clock says, if it is the one that counts."""
        return self._clock.wall_ms() if self._settings.clock == "wall" else None

    def put(self, position: int, event: Event) -> None:
        """Queue one event of the log."""
        self._backlog.append((position, event))

    def step(self) -> bool:
        """Do one piece of the work that waits, a few milliseconds at most. False if nothing waits, or if the tenant is frozen."""
        if self.frozen:
            return False
        if self._working is not None:
            if next(self._working, self) is self:
                self._working = None
            return True
        if self._is_ahead():
            self._working = self._set_back()
            return True
        if self._backlog:
            self._take(*self._backlog.popleft())
            return True
        if self._closing:
            for _ in range(min(_AT_ONCE, len(self._closing))):
                opened = self._closing.popleft()
                self.notifier.remove(opened)
                self.engine.close(opened.statistic)
            return True
        if self._held and self._held[0][0] <= self._horizon_ms():
            self._begin(self._pop_held())
            return True
        return False

    @property
    def waiting(self) -> int:
        """How many events wait in the queue."""
        return len(self._backlog)

    @property
    def halfway(self) -> bool:
        """Whether an event is applied in part. A state that is saved now could not be continued."""
        return self._working is not None

    def _take(self, position: int, event: Event) -> None:
        """Take one event of the log: apply it, or hold it until its time has come. One that was taken before is ignored: a service that
        starts while ingest hands out a batch has read the rest of it from the log already.
        """
        if position <= self.position:
            self.engine.skip(event)
            return
        self.position = position
        self.changes += 1
        self._newest_ms = max(self._newest_ms, event.time_ms)
        if event.time_ms > self._horizon_ms() or self._held:
            self.hold(event)  # those that are due are released in the order of their times, by further steps
            if self._held[0][0] <= event.time_ms <= self._horizon_ms():
                self._working = self.release(event.time_ms)
        else:
            self._begin(event)

    def _is_ahead(self) -> bool:
        """Whether the engine's time lies further ahead of the wall clock than any event may: the clock was ahead, and was set back."""
        present_ms = self._present_ms()
        return present_ms is not None and self.engine.now_ms > present_ms + self._settings.max_ahead_s * 1000

    def _set_back(self) -> Iterator[object]:
        """Set the engine's time back to the present, and the times of waiting events that lie too far ahead."""
        horizon_ms, present_ms = self._horizon_ms(), self._clock.wall_ms()
        reach_ms = self._settings.max_ahead_s * 1000
        _log.warning(
            "the clock was ahead: the time of the statistics is set back, what was counted meanwhile is dropped",
            seconds=round((self.engine.now_ms - present_ms) / 1000),
        )
        self._counters.times_set_back += 1
        self._newest_ms = min(self._newest_ms, present_ms)
        yield from self.engine.set_back(horizon_ms, horizon_ms - reach_ms)
        self._held = [(self._sane_ms(time_ms), number, event, size) for time_ms, number, event, size in self._held]
        heapify(self._held)

    def _sane_ms(self, time_ms: int) -> int:
        """The time of an event of the log; the present for an event that lies further ahead than ``max_ahead_s``."""
        present_ms = self._present_ms()
        if present_ms is None or time_ms <= present_ms + self._settings.max_ahead_s * 1000:
            return time_ms
        return min(self._newest_ms, present_ms)

    def replay(self, position: int, event: Event, reach_ms: int) -> Iterator[object]:
        """Take one event while the log is read again. Events are applied in the order of their times: one is held back until an event comes
        that is ``reach_ms`` newer. The work is done while the iterator is consumed.
        """
        self.position = position
        self.changes += 1
        if (sane_ms := self._sane_ms(event.time_ms)) != event.time_ms:
            self._counters.events_redated += 1
            if self._counters.events_redated == 1:
                _log.warning("an event of the log lies in the future: a clock was ahead; it counts at the time of those beside it")
            event = structs.replace(event, time_ms=sane_ms)
        self._newest_ms = max(self._newest_ms, event.time_ms)
        self.hold(event)
        return self.release(min(self._newest_ms - reach_ms, self._horizon_ms()))

    def hold(self, event: Event) -> None:
        """Hold an event back. :meth:`release` applies these in the order of their times, those of one time in the order of arrival."""
        size = len(encode_event(event))
        heappush(self._held, (event.time_ms, next(self._order), event, size))
        self._held_bytes += size

    def _pop_held(self) -> Event:
        *_, event, size = heappop(self._held)
        self._held_bytes -= size
        return event

    def release(self, up_to_ms: int) -> Iterator[object]:
        """Apply the held events up to and with a time, in pieces."""
        while self._held and self._held[0][0] <= up_to_ms:
            yield from self._pieces(self._pop_held())
            yield None

    def held(self) -> list[Event]:
        """The events that wait for their time, in the order of arrival."""
        return [event for _, _, event, _ in sorted(self._held, key=lambda entry: entry[1])]

    @property
    def held_bytes(self) -> int:
        """Bytes of the events that wait for their time, as the log has them."""
        return self._held_bytes

    @property
    def held_count(self) -> int:
        """How many events wait for their time."""
        return len(self._held)

    def catch_up(self) -> None:
        """Let the engine's time pass up to the present. The caller has done all that waited before, by :meth:`step`."""
        if self._settings.clock == "wall" and self._working is None:
            self.engine.advance(self._horizon_ms())

    def _horizon_ms(self) -> int:
        """The time up to which events are applied: that of the clock that counts, less the watermark."""
        now = self._clock.wall_ms() if self._settings.clock == "wall" else self._newest_ms
        return now - int(self._settings.watermark_s * 1000)

    def _begin(self, event: Event) -> None:
        """Apply an event. Only begin to if it is long: then :meth:`step` does the rest."""
        if isinstance(event.data, GroupChanged) and len(event.data.members) > _LONG_LIST:
            self._working = self._pieces(event)
            return
        event = self._dated(event)
        if self._is_due(event):
            self.engine.apply(event)
            self._counters.events_applied += 1

    def _pieces(self, event: Event) -> Iterator[object]:
        """Apply an event in pieces."""
        event = self._dated(event)
        if self._is_due(event):
            yield from self.engine.steps(event)
            self._counters.events_applied += 1

    def _dated(self, event: Event) -> Event:
        """The event with a possible time: one that waited may have the time of a clock that was ahead."""
        sane_ms = self._sane_ms(event.time_ms)
        if sane_ms == event.time_ms:
            return event
        self._counters.events_redated += 1
        return structs.replace(event, time_ms=sane_ms)

    def _is_due(self, event: Event) -> bool:
        """Whether an event can still be applied. One that cannot is counted as skipped."""
        # while this event waited (for its time, for a snapshot, or for its commit) a newer one of the same object may have been released
        try:
            self.engine.check(event, self._present_ms())
        except LateEventError:
            self._counters.events_skipped += 1
            self.engine.skip(event)
            return False
        return True

    def freeze(self) -> None:
        """Change nothing until :meth:`thaw`, since another thread reads the engine.

        Raises:
            RuntimeError: an event is applied in part (:attr:`halfway`).
        """
        if self.halfway:
            raise RuntimeError("an event is applied in part")
        self.frozen = True

    def thaw(self) -> None:
        """Allow changes again. :meth:`step` does what waited."""
        self.frozen = False

    # -- subscriptions ----------------------------------------------------------------------------------------------

    def opening(self, target: str, wanted: Wanted, head: bytes, now_ms: int) -> Generator[None, None, OpenStatistic]:
        """Open one statistic, in pieces (:meth:`Engine.opening`). Its ``last`` is its present value. If the generator is closed before its
        end, nothing is open.
        """
        statistic = yield from self.engine.opening(wanted.opened.definition, wanted.object_type, wanted.object_id)
        try:
            value = yield from self.engine.valuing(statistic)
        except BaseException:
            self.engine.close(statistic)
            raise
        opened = OpenStatistic(
            target=target,
            statistic_id=wanted.statistic_id,
            statistic=statistic,
            name=wanted.name,
            object_type=wanted.object_type,
            object_id=wanted.object_id,
            notification=wanted.opened.notification,
            value=value,
            head=head,
        )
        self.notifier.add(opened, now_ms)
        return opened

    def opening_for_subscription(
        self, subscription: Subscription, wanted: Wanted, now_ms: int, *, verbose: bool
    ) -> Generator[None, None, OpenStatistic]:
        """Open one statistic of a subscription that :meth:`register` makes known afterwards; in pieces, as :meth:`opening`."""
        head = update_head(
            subscription.id,
            wanted.statistic_id,
            name=wanted.name,
            object_id=wanted.object_id,
            object_type=wanted.object_type.value,
            verbose=verbose,
        )
        opened = yield from self.opening(subscription.login, wanted, head, now_ms)
        subscription.statistics[wanted.statistic_id] = opened
        return opened

    def register(self, subscription: Subscription, now_ms: int) -> None:
        """Make a subscription known. One of the same id and login is closed first."""
        self.close_subscription(subscription.login, subscription.id)
        self.subscriptions.add(subscription, now_ms)
        self._counters.subscriptions_opened += 1

    def close_subscription(self, login: str, identifier: str) -> None:
        """End a subscription; one that is not there is no error."""
        if (subscription := self.subscriptions.remove(login, identifier)) is not None:
            self.discard(subscription)
            self._counters.subscriptions_closed += 1

    def discard(self, subscription: Subscription) -> None:
        """Close the statistics of a subscription that was removed, or was never registered."""
        if not self.frozen and len(subscription.statistics) <= _AT_ONCE:
            for opened in subscription.statistics.values():
                self._close(opened)
            return
        for opened in subscription.statistics.values():
            opened.closed = True
        self.notifier.closed_count += len(subscription.statistics)
        self._closing.extend(subscription.statistics.values())

    def close_login(self, login: str) -> None:
        """End all subscriptions of a login."""
        for subscription in self.subscriptions.of_login(login):
            self.close_subscription(login, subscription.id)

    # -- values channels --------------------------------------------------------------------------------------------

    def opening_value(self, channel: str, wanted: Wanted, now_ms: int) -> Generator[None, None, None]:
        """Open the statistic of a values channel; in pieces, as :meth:`opening`."""
        head = value_head(wanted.name or "", wanted.object_id, wanted.object_type.value)
        self.values[channel] = yield from self.opening(channel, wanted, head, now_ms)

    def close_value(self, channel: str) -> None:
        """Close the statistic of a values channel; one that is not open is no error."""
        if (opened := self.values.pop(channel, None)) is not None:
            self._close(opened)

    def _close(self, opened: OpenStatistic) -> None:
        if self.frozen:
            opened.closed = True
            self.notifier.closed_count += 1
            self._closing.append(opened)
        else:
            self.notifier.remove(opened)
            self.engine.close(opened.statistic)
