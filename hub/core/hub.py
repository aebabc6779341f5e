"""The hub: subscribe, unsubscribe, publish. Every door goes through here, and nothing here knows a door."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from hub.bus.interface import Bus, Envelope, Gap
from hub.core.budget import QueueBudget
from hub.core.channels import META, SERVICE, InvalidChannelError, check_channel, check_pattern, is_wildcard
from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.flusher import Flusher
from hub.core.frames import FrameCaches
from hub.core.interest import Interest
from hub.core.limits import Limits
from hub.core.message import Message, Topic
from hub.core.ports import Authorizer, Clock, Loop
from hub.core.positions import Positions
from hub.core.principal import Action, Principal
from hub.core.rates import RateLimit
from hub.core.recipient import FaultObserver, Recipient
from hub.core.recovery import Recovery
from hub.core.router import WHOLE, Excluded, Router
from hub.core.snapshots import offer_present
from hub.core.subjects import SubjectSessions
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice
from hub.core.timers import Timers
from hub.eventlog.channel_log import ChannelLog, Page, Selection, Span
from hub.eventlog.interface import EventLogError

EVERYTHING = 0
"""A position from which all that the log still has is replayed."""


class Subscribed(NamedTuple):
    """What became of one pattern of a subscribe."""

    pattern: str
    position: int | None = None
    """All that is published on the pattern's log channels after this position follows; None where it stands for no log channel."""
    recovered: bool = False
    """Whether that is the position that was asked for: the client has missed nothing."""


class Hub:
    """All topics and subscribers of one process."""

    __slots__ = (
        "_address_rate",
        "_authorizer",
        "_bus",
        "_interest",
        "_log",
        "_logins",
        "_serial",
        "_sessions",
        "_tenant_rate",
        "budget",
        "clock",
        "counters",
        "fan_outs",
        "flusher",
        "frame_caches",
        "limits",
        "loop",
        "on_attached",
        "on_detached",
        "on_login_gone",
        "on_publish",
        "on_subscribed",
        "on_unsubscribed",
        "positions",
        "registry",
        "router",
        "subjects",
        "subscribers",
        "timers",
    )

    def __init__(
        self,
        *,
        bus: Bus,
        log: ChannelLog,
        registry: ChannelRegistry,
        authorizer: Authorizer,
        loop: Loop,
        clock: Clock,
        on_fault: FaultObserver,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.registry = registry
        self.loop = loop
        self.clock = clock
        self.timers = Timers(clock)
        self.counters = Counters()
        self.router: Router[Recipient] = Router(registry.covering)
        self.frame_caches = FrameCaches(self.limits.max_frame_bytes)
        self.subscribers: dict[str, Subscriber] = {}
        self.subjects = SubjectSessions(self.router)
        self.budget = QueueBudget(self.limits, self.counters, self.subscribers.values)
        self._serial = clock.wall_us()
        self.flusher = Flusher(loop, clock, self._count_fault(on_fault))
        self.fan_outs = self.flusher.fan_outs
        self._authorizer = authorizer
        self._bus = bus
        self._log = log
        self.positions = Positions()
        self._interest = Interest(bus, registry, self.positions)
        # sessions of each tenant, and how often sessions are asked for
        self._sessions: dict[str, int] = {}
        self._tenant_rate = RateLimit(clock, self.limits.handshakes_per_s_per_tenant)
        self._address_rate = RateLimit(clock, self.limits.handshakes_per_s_per_address)
        # Bayeux sessions of each (tenant, audience): a statistics subscription ends with the last of them
        self._logins: dict[tuple[str, str], int] = {}
        self.on_login_gone: list[Callable[[str, str], None]] = []
        # who wants to hear of each session that is let in, and of each that is gone
        self.on_attached: list[Callable[[Subscriber], None]] = [self.subjects.arrived]
        self.on_detached: list[Callable[[Subscriber], None]] = [self.subjects.left]
        # who wants to hear of each subscription that begins or ends: (subscriber, pattern)
        self.on_subscribed: list[Callable[[Subscriber, str], None]] = [self.subjects.subscribed]
        self.on_unsubscribed: list[Callable[[Subscriber, str], None]] = [self.subjects.unsubscribed]
        self.on_publish: Callable[[str, bytes, bytes], tuple[bytes, bytes] | None] | None = None
        """Looks at the channel, data and extra of each message that is published, once; what it returns is delivered, None drops it."""
        bus.attach(self)

    def _count_fault(self, on_fault: FaultObserver) -> FaultObserver:
        def count(subscriber: Recipient, fault: Exception) -> None:
            self.counters.faults += 1
            on_fault(subscriber, fault)

        return count

    # -- who is here ------------------------------------------------------------------------------------------------

    def attach(self, subscriber: Subscriber) -> None:
        """Let a new session in.

        Raises:
            RefusedError: RATE_LIMITED, the process holds as many sessions as it may, or the tenant as many as its share, or it opened as
                many in this second as it may.
        """
        tenant = subscriber.principal.tenant
        if len(self.subscribers) >= self.limits.max_sessions:
            self.counters.refused_by_process += 1
            raise RefusedError(WireError.RATE_LIMITED, f"this server holds {self.limits.max_sessions} sessions, its limit")
        of_tenant = self._sessions.get(tenant, 0)
        if of_tenant >= self.limits.of_tenant(self.limits.max_sessions):
            self.counters.refused_by_tenant += 1
            raise RefusedError(WireError.RATE_LIMITED, f"this tenant has {of_tenant} sessions here, its share of what the server holds")
        if not self._tenant_rate.allows(tenant):
            self.counters.refused_by_tenant_rate += 1
            most = self.limits.handshakes_per_s_per_tenant
            raise RefusedError(WireError.RATE_LIMITED, f"this tenant opens more than {most} sessions a second, its limit")
        self._sessions[tenant] = of_tenant + 1
        self._serial += 1
        subscriber.serial = self._serial
        self.subscribers[subscriber.id] = subscriber
        for listener in self.on_attached:
            listener(subscriber)

    def arrives(self, address: str | None) -> None:
        """A client asks for a session; ``address`` is what it is counted as, None where that is not known.

        Raises:
            RefusedError: RATE_LIMITED, the address asked as often in this second as it may.
        """
        if address is not None and not self._address_rate.allows(address):
            self.counters.refused_by_address_rate += 1
            most = self.limits.handshakes_per_s_per_address
            raise RefusedError(WireError.RATE_LIMITED, f"this address asks for more than {most} sessions a second, its limit")

    def detach(self, subscriber: Subscriber) -> None:
        """A session is gone: take back all that it subscribed to. Calling it twice does no harm."""
        self.fan_outs.drop(subscriber)
        for pattern in list(subscriber.subscriptions):
            self._remove(subscriber, pattern)
        gone = self.subscribers.pop(subscriber.id, None)
        subscriber.direct_write = None
        subscriber.waiting.clear()
        subscriber.queued_bytes = 0
        subscriber.recovery = None
        if gone is not None:
            tenant = gone.principal.tenant
            self._sessions[tenant] -= 1
            if not self._sessions[tenant]:
                del self._sessions[tenant]
            for listener in self.on_detached:
                listener(subscriber)

    def login_arrived(self, principal: Principal) -> None:
        """A Bayeux session of this principal began."""
        for audience in principal.audiences:
            key = (principal.tenant, audience)
            self._logins[key] = self._logins.get(key, 0) + 1

    def login_left(self, principal: Principal) -> None:
        """A Bayeux session of this principal ended; after the last one whoever asked is told."""
        for audience in principal.audiences:
            key = (principal.tenant, audience)
            left = self._logins.get(key, 0) - 1
            if left > 0:
                self._logins[key] = left
                continue
            self._logins.pop(key, None)
            for listener in self.on_login_gone:
                listener(*key)

    def has_login(self, tenant: str, audience: str) -> bool:
        """Whether a login has a Bayeux session on this node."""
        return (tenant, audience) in self._logins

    # -- subscribing ------------------------------------------------------------------------------------------------

    async def subscribe(
        self, subscriber: Subscriber, patterns: Sequence[str], *, since: Mapping[str, int] | None = None, strict: bool = False
    ) -> list[Subscribed]:
        """Subscribe to all of ``patterns`` or to none: they are checked whole, then applied whole (docs/protocol/bayeux.md#subscribe).

        ``since`` maps patterns to the positions after which the client wants to hear their log channels; with ``strict`` one from which
        something may be missing is refused. Returns once the bus has confirmed every topic, what became of each pattern. The caller then
        answers, asks for :meth:`send_snapshots`, and for what is replayed by :meth:`replay`.

        Raises:
            RefusedError: SUBSCRIPTION_INVALID, SUBSCRIBE_DENIED or RATE_LIMITED, with the pattern that was at fault; REPLAY_INVALID, by
                ``strict``; SESSION_UNKNOWN when the session ended meanwhile; UNAVAILABLE when the log cannot be read.
        """
        patterns = list(dict.fromkeys(patterns))
        since = since or {}
        new = [p for p in patterns if p not in subscriber.subscriptions]
        if len(subscriber.subscriptions) + len(new) > self.limits.max_subscriptions:
            raise RefusedError(
                WireError.RATE_LIMITED, f"a session holds at most {self.limits.max_subscriptions} subscriptions", channel=new[-1]
            )
        time_slice = TimeSlice(self.clock, self.loop)
        excluded: dict[str, Excluded] = {}
        for pattern in new:
            excluded[pattern] = await self._check_subscription(subscriber.principal, pattern)
            await time_slice.checkpoint()
        acquired: dict[str, tuple[Topic, ...]] = {}
        positions: dict[str, int] = {}
        try:
            await self._acquire(subscriber, patterns, excluded, acquired, time_slice)
            # only now, when the bus brings what is published from here on, the log can be asked for what was published before
            outcomes = await self._outcomes(subscriber, patterns, since, positions, time_slice, strict=strict)
            # what the session had, a concurrent request of its own may have taken back
            await self._acquire(subscriber, patterns, excluded, acquired, time_slice)
            self.fan_outs.flush_pending(subscriber)  # what was published before its positions belongs before them
            if subscriber.closing or not subscriber.attached:  # that was too much for its queue, or it ended while the bus was asked
                raise RefusedError(WireError.SESSION_UNKNOWN)
            # concurrent requests of this session may have brought it here since
            if len(subscriber.subscriptions.keys() | acquired.keys()) > self.limits.max_subscriptions:
                raise RefusedError(
                    WireError.RATE_LIMITED, f"a session holds at most {self.limits.max_subscriptions} subscriptions", channel=patterns[-1]
                )
        except BaseException:
            for pattern, topics in acquired.items():
                self._interest.release(subscriber.principal.tenant, pattern, topics)
            raise
        # since the fan-outs were settled nothing is awaited: another request of this session sees all of it or nothing
        for pattern, topics in acquired.items():
            if pattern in subscriber.subscriptions:
                self._interest.release(subscriber.principal.tenant, pattern, topics)
                continue
            subscriber.subscriptions[pattern] = topics
            if excluded[pattern]:
                subscriber.narrowed[pattern] = excluded[pattern]
                self.counters.narrowed += 1
            for topic in topics:
                self.router.add(topic, subscriber, excluded[pattern])
            for listener in self.on_subscribed:
                listener(subscriber, pattern)
        return self._begin_recovery(subscriber, outcomes, positions, new=acquired)

    async def _acquire(
        self,
        subscriber: Subscriber,
        patterns: Sequence[str],
        excluded: dict[str, Excluded],
        acquired: dict[str, tuple[Topic, ...]],
        time_slice: TimeSlice,
    ) -> None:
        """Have the bus confirm whatever of ``patterns`` the session is not subscribed to, in one call; ``acquired`` says what is to be
        released.
        """
        principal = subscriber.principal
        while lacking := [p for p in patterns if p not in subscriber.subscriptions and p not in acquired]:
            topics: list[Topic] = []
            of_log = False
            for pattern in lacking:
                if pattern not in excluded:
                    excluded[pattern] = await self._check_subscription(principal, pattern)
                own = self.topics(principal, pattern)
                await self._interest.acquire(principal.tenant, pattern, own)
                acquired[pattern] = own
                topics += own
                of_log = of_log or self.is_log(pattern)
                await time_slice.checkpoint()
            await self._interest.confirm(topics, positions=of_log)

    async def _outcomes(
        self,
        subscriber: Subscriber,
        patterns: Sequence[str],
        since: Mapping[str, int],
        positions: dict[str, int],
        time_slice: TimeSlice,
        *,
        strict: bool,
    ) -> list[Subscribed]:
        """What becomes of each pattern; ``positions`` says after which one the log has to be read."""
        outcomes: list[Subscribed] = []
        span: Span | None = None
        for pattern in patterns:
            if not self.is_log(pattern):
                outcomes.append(Subscribed(pattern))
                continue
            try:
                if span is None:
                    span = await self._log.span(subscriber.principal.tenant)
                outcomes.append(await self._outcome(subscriber, pattern, since.get(pattern), span, positions, strict=strict))
            except EventLogError as fault:
                raise RefusedError(WireError.UNAVAILABLE, channel=pattern) from fault
            await time_slice.checkpoint()
        return outcomes

    async def _outcome(
        self, subscriber: Subscriber, pattern: str, since: int | None, span: Span, positions: dict[str, int], *, strict: bool
    ) -> Subscribed:
        principal = subscriber.principal
        newest = self.positions.newest(principal.tenant) or span.newest
        if since is None:
            return Subscribed(pattern, newest)
        topics = self.topics(principal, pattern)
        in_force = self._interest.position_in_force(topics)
        known = max(span.floor, span.seam) <= since <= max(span.newest, in_force or 0)
        if not known and span.seam <= since < span.floor and since > EVERYTHING and not is_wildcard(pattern):
            known = await self._log.complete_since(topics, since)
        if since != EVERYTHING or not strict:
            self.counters.recovered += known
            self.counters.not_recovered += not known
        if known:
            # a position that this node has not come to yet was told by another node
            positions[pattern] = max(since, span.floor)
            return Subscribed(pattern, since, recovered=True)
        positions[pattern] = max(min(since, newest), span.floor)
        if strict and since != EVERYTHING:
            raise RefusedError(WireError.REPLAY_INVALID, f"expected a position of the log, got {since}", channel=pattern)
        return Subscribed(pattern, positions[pattern])

    def _begin_recovery(
        self, subscriber: Subscriber, outcomes: list[Subscribed], positions: Mapping[str, int], *, new: Collection[str]
    ) -> list[Subscribed]:
        """The session has been let in: what it wants from the past it has still to read, the rest begins now. Nothing is awaited."""
        of_log = [outcome.pattern for outcome in outcomes if outcome.position is not None]
        if not of_log:
            return outcomes
        newest = self.positions.newest(subscriber.principal.tenant)
        assert newest is not None  # each log topic was confirmed with its position
        if subscriber.recovery is None and any(position != newest for position in positions.values()):
            subscriber.recovery = Recovery(self, subscriber, [pattern for pattern in subscriber.subscriptions if pattern not in new])
        if subscriber.recovery is not None:
            for pattern in of_log:
                subscriber.recovery.want(pattern, positions.get(pattern, newest))
        return [
            outcome if outcome.position is None or outcome.pattern in positions else outcome._replace(position=newest)
            for outcome in outcomes
        ]

    def replay(self, subscriber: Subscriber) -> None:
        """Begin to send what a session asked for with ``since``, if it did."""
        if subscriber.recovery is not None:
            subscriber.recovery.resume()

    async def read_log(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """The next page of what was published on log channels."""
        return await self._log.read(selection, after, max_bytes)

    def is_log(self, pattern: str) -> bool:
        """Whether a pattern stands for log channels, among others perhaps."""
        return any(declaration.delivery is DeliveryClass.LOG for declaration in self.registry.overlapping(pattern))

    def position(self, tenant: str) -> int | None:
        """The newest position of a tenant's log that its subscribers here have been offered; None while nobody has asked for one."""
        return self.positions.newest(tenant)

    async def _check_subscription(self, principal: Principal, pattern: str) -> Excluded:
        """What a principal may not hear of all that a pattern stands for, as patterns of channel declarations.

        Raises:
            RefusedError: SUBSCRIPTION_INVALID; SUBSCRIBE_DENIED, it is not granted, or is an exact name whose operation is not.
        """
        try:
            check_pattern(pattern)
        except InvalidChannelError as fault:
            raise RefusedError(WireError.SUBSCRIPTION_INVALID, str(fault), channel=pattern) from None
        if pattern.startswith(META) or not await self._authorizer.allows(principal, Action.SUBSCRIBE, pattern):
            self.counters.denied += 1
            raise RefusedError(WireError.SUBSCRIBE_DENIED, channel=pattern)
        excluded = []
        for declaration in self.registry.overlapping(pattern):
            if declaration.operation and not await self._authorizer.allows(principal, Action.CALL, declaration.operation):
                if not is_wildcard(pattern):
                    self.counters.denied += 1
                    raise RefusedError(WireError.SUBSCRIBE_DENIED, channel=pattern)
                excluded.append(declaration.pattern)
        return frozenset(excluded) if excluded else WHOLE

    def topics(self, principal: Principal, pattern: str) -> tuple[Topic, ...]:
        """The topics that a pattern stands for, for one principal: what is for all, one's own, never somebody else's."""
        tenant = principal.tenant
        own = tuple(Topic(tenant, audience, pattern) for audience in principal.audiences)
        if is_wildcard(pattern):
            return (Topic(tenant, "", pattern), *own)
        return own if self.registry.of(pattern).personal else (Topic(tenant, "", pattern),)

    def unsubscribe(self, subscriber: Subscriber, patterns: Iterable[str]) -> None:
        """Take subscriptions back. One that is not there is no error (docs/protocol/bayeux.md#unsubscribe)."""
        for pattern in patterns:
            self._remove(subscriber, pattern)

    def _remove(self, subscriber: Subscriber, pattern: str) -> None:
        topics = subscriber.subscriptions.pop(pattern, None)
        if topics is None:
            return
        self.fan_outs.flush_pending(subscriber)  # it was subscribed when that was published
        excluded = subscriber.narrowed.pop(pattern, WHOLE)
        for topic in topics:
            self.router.remove(topic, subscriber, excluded)
        if subscriber.recovery is not None:
            subscriber.recovery.drop(pattern)
        for listener in self.on_unsubscribed:
            listener(subscriber, pattern)
        self._interest.release(subscriber.principal.tenant, pattern, topics)

    # -- snapshots --------------------------------------------------------------------------------------------------

    async def send_snapshots(self, subscriber: Subscriber, patterns: Iterable[str]) -> None:
        """Offer the present values of the state channels that ``patterns`` stand for, to this subscriber alone; when its queue is full, as
        soon as it has read what waits.
        """
        time_slice = TimeSlice(self.clock, self.loop)
        for pattern in patterns:
            if subscriber.queued_bytes > self.limits.max_queue_bytes:
                subscriber.resync_due = True
                return
            await self._snapshot(subscriber, pattern)
            await time_slice.checkpoint()

    async def _snapshot(self, subscriber: Subscriber, pattern: str) -> None:
        await offer_present(subscriber, pattern, self.registry, TimeSlice(self.clock, self.loop))

    def resync(self, subscriber: Subscriber) -> None:
        """What waited was given up: send snapshots of everything that the session subscribed to."""
        self.loop.spawn(self._resync(subscriber))

    async def _resync(self, subscriber: Subscriber) -> None:
        time_slice = TimeSlice(self.clock, self.loop)
        for pattern in list(subscriber.subscriptions):
            await self._snapshot(subscriber, pattern)
            await time_slice.checkpoint()

    # -- publishing -------------------------------------------------------------------------------------------------

    async def check_publish(self, principal: Principal, channel: str) -> None:
        """Whether a client may publish on a channel.

        Raises:
            RefusedError: CHANNEL_INVALID or PUBLISH_DENIED.
        """
        try:
            check_channel(channel)
        except InvalidChannelError as fault:
            raise RefusedError(WireError.CHANNEL_INVALID, str(fault), channel=channel) from None
        if channel.startswith(META) or not await self._authorizer.allows(principal, Action.PUBLISH, channel):
            self.counters.denied += 1
            raise RefusedError(WireError.PUBLISH_DENIED, channel=channel)

    async def publish(
        self, principal: Principal, channel: str, data: bytes, *, extra: bytes = b"", idempotency_key: str = ""
    ) -> int | None:
        """Publish for a client. ``data`` is ASCII JSON text, kept verbatim; ``extra`` see :class:`Message`; ``idempotency_key`` and what is
        returned see :meth:`emit`.

        Raises:
            RefusedError: CHANNEL_INVALID or PUBLISH_DENIED; UNAVAILABLE when it is a log channel's and could not be recorded.
        """
        await self.check_publish(principal, channel)
        if channel.startswith(SERVICE):  # never broadcast (Bayeux 1.0 section 2.4)
            return None
        try:
            # of what is delivered within this step nothing is on its way: it waits only where there is no room now
            may_wait = self.fan_outs.crowded or self.registry.of(channel).delivery is DeliveryClass.LOG
            if may_wait and self.fan_outs.is_for_many(self.router.match(Topic(principal.tenant, "", channel))):
                async with self.fan_outs.admit():
                    return await self.emit(principal.tenant, channel, data, extra=extra, idempotency_key=idempotency_key)
            return await self.emit(principal.tenant, channel, data, extra=extra, idempotency_key=idempotency_key)
        except EventLogError as fault:
            raise RefusedError(WireError.UNAVAILABLE, channel=channel) from fault

    async def emit(
        self, tenant: str, channel: str, data: bytes, *, audience: str = "", extra: bytes = b"", idempotency_key: str = ""
    ) -> int | None:
        """Publish from within: for all of a tenant, or for one login. Returns the position of a ``log`` message that is new.

        ``event`` and ``state`` reach local subscribers at once, and other nodes by the bus; ``log`` travels only through the log, which
        gives each message its position. ``idempotency_key`` names the message where its publisher may have to repeat itself: what the log
        has already, under this name on this channel for this audience, is neither recorded nor delivered again. Channels that are no log
        remember nothing, and deliver each time.

        Raises:
            EventLogError: a ``log`` message could not be recorded; nobody has received it.
        """
        if self.on_publish is not None:
            passed = self.on_publish(channel, data, extra)
            if passed is None:
                return None
            data, extra = passed
        declaration = self.registry.of(channel)
        envelope = Envelope(Topic(tenant, audience, channel), declaration.delivery, data, extra)
        if declaration.delivery is DeliveryClass.LOG:
            position = await self._bus.append(envelope, idempotency_key=idempotency_key)
            self.counters.published += position is not None
            return position
        self.counters.published += 1
        self._fan_out(envelope)
        self._bus.publish(envelope)
        return None

    def emit_to_logins(self, tenant: str, channel: str, data: bytes, logins: tuple[str, ...]) -> None:
        """As :meth:`emit`, of the same message to several logins, in one fan-out; the channel is no log."""
        extra = b""
        if self.on_publish is not None:
            passed = self.on_publish(channel, data, extra)
            if passed is None:
                return
            data, extra = passed
        delivery = self.registry.of(channel).delivery
        if delivery is DeliveryClass.LOG:
            raise ValueError(f"{channel} is a log channel: each message gets a position of its own")
        self._bus.publish_to_logins(Envelope(Topic(tenant, "", channel), delivery, data, extra), logins)
        reached = self.router.match_logins(tenant, channel, logins)
        self.counters.published += len(logins)
        self.counters.delivered += len(reached.subscribers)
        self.fan_outs.begin(Message(channel, data, delivery, extra=extra), reached)

    # -- what the bus brings (hub.bus.interface.Receiver) -----------------------------------------------------------

    def on_envelope(self, envelope: Envelope) -> None:
        """A message from another node, or from the log."""
        if envelope.position is not None:
            self.positions.advance(envelope.topic.tenant, envelope.position)
        self._fan_out(envelope)

    def on_position(self, tenant: str, position: int) -> None:
        """All log messages of subscribed topics up to this position have been handed over."""
        self.positions.advance(tenant, position)

    def on_gap(self, gap: Gap) -> None:
        """Messages are lost. State channels are sent anew; who hears log channels of which something is missing comes back, and is told."""
        self.counters.gaps += 1
        self.loop.spawn(self._after_gap(gap.tenant, log=gap.after is not None))
        if gap.resume_position is not None:
            self.positions.advance(gap.tenant, gap.resume_position)

    def on_reset(self, tenant: str, seam: int) -> None:
        """The log has lost its end: whoever hears log channels comes back, and is told that something may be missing."""
        self.counters.resets += 1
        self.loop.spawn(self._after_gap(tenant, log=True))
        self.positions.advance(tenant, seam)

    async def _after_gap(self, tenant: str, *, log: bool) -> None:
        time_slice = TimeSlice(self.clock, self.loop)
        for subscriber in [each for each in self.subscribers.values() if each.principal.tenant == tenant]:
            if subscriber.attached and not subscriber.closing:
                if log and any(map(self.is_log, subscriber.subscriptions)):
                    subscriber.end_too_slow()
                else:
                    await self._resync(subscriber)
            await time_slice.checkpoint()

    def _fan_out(self, envelope: Envelope) -> None:
        members = self.router.match(envelope.topic)
        if members is None:
            return
        self.counters.delivered += len(members.subscribers)
        message = Message(envelope.topic.channel, envelope.data, envelope.delivery, extra=envelope.extra, position=envelope.position)
        self.fan_outs.begin(message, members)
