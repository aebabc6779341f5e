"""Subscribing: check every channel, have the bus confirm the topics, then let the session in; all at once, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from hub.core.arrivals import Arrivals
from hub.core.channels import META, InvalidChannelError, check_pattern, is_wildcard
from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry
from hub.core.errors import RefusedError, WireError
from hub.core.fan_out import FanOuts
from hub.core.interest import Interest
from hub.core.limits import Limits
from hub.core.message import Topic
from hub.core.ports import Authorizer, Clock, Loop
from hub.core.positions import Positions
from hub.core.principal import Action, Principal
from hub.core.recipient import Recipient
from hub.core.recovery import Recovery
from hub.core.router import WHOLE, Excluded, Router
from hub.core.snapshots import Snapshots
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice
from hub.eventlog.channel_log import ChannelLog, Span
from hub.eventlog.interface import EventLogError

EVERYTHING = 0
"""The position from which all that the log still has is replayed."""


class Subscribed(NamedTuple):
    """What became of one pattern of a subscribe."""

    pattern: str
    position: int | None = None
    """All that is published on the pattern's log channels after this position follows. None where it stands for no log channel."""
    recovered: bool = False
    """Whether that is the position that was asked for: the client has missed nothing."""


class SubscribeResult:
    """A subscribe that is in force, and of which nothing has been sent yet. Whoever subscribed answers its client by :attr:`outcomes`, and
    awaits :meth:`start`.
    """

    __slots__ = ("_added", "_snapshots", "_subscriber", "_subscriptions", "outcomes")

    def __init__(
        self, subscriptions: Subscriptions, snapshots: Snapshots, subscriber: Subscriber, outcomes: list[Subscribed], added: Collection[str]
    ) -> None:
        self._subscriptions = subscriptions
        self._snapshots = snapshots
        self._subscriber = subscriber
        self._added = added
        self.outcomes = outcomes
        """One for each pattern, in the order in which they were asked for."""

    async def start(self) -> None:
        """Send the present values of state channels, then begin to replay what the log has, if that was asked for.

        Raises:
            Exception: a family could not give its present values. What this subscribe added is undone before.
        """
        try:
            await self._snapshots.send(self._subscriber, [outcome.pattern for outcome in self.outcomes])
        except Exception:
            self._subscriptions.unsubscribe(self._subscriber, self._added)
            raise
        if self._subscriber.recovery is not None:
            self._subscriber.recovery.resume()


class Subscriptions:
    """Subscribes the sessions of one process."""

    __slots__ = (
        "_arrivals",
        "_authorizer",
        "_fan_outs",
        "_router",
        "_snapshots",
        "clock",
        "counters",
        "interest",
        "limits",
        "log",
        "loop",
        "on_narrowed",
        "on_subscribed",
        "on_unsubscribed",
        "positions",
        "registry",
    )

    def __init__(
        self,
        *,
        interest: Interest,
        log: ChannelLog,
        registry: ChannelRegistry,
        router: Router[Recipient],
        fan_outs: FanOuts,
        positions: Positions,
        snapshots: Snapshots,
        authorizer: Authorizer,
        arrivals: Arrivals,
        limits: Limits,
        counters: Counters,
        loop: Loop,
        clock: Clock,
    ) -> None:
        self.interest = interest
        self.log = log
        self.registry = registry
        self.positions = positions
        self.limits = limits
        self.counters = counters
        self.loop = loop
        self.clock = clock
        self._router = router
        self._fan_outs = fan_outs
        self._snapshots = snapshots
        self._authorizer = authorizer
        self._arrivals = arrivals
        self.on_subscribed: list[Callable[[Subscriber, str], None]] = []
        """Called with each subscription that begins: session and pattern."""
        self.on_unsubscribed: list[Callable[[Subscriber, str], None]] = []
        """Called with each subscription that ended."""
        self.on_narrowed: list[Callable[[Subscriber, str], None]] = []
        """Called with each subscription of which the session hears more or less than before."""

    # -- subscribe: check, acquire, commit --------------------------------------------------------------------------

    async def subscribe(
        self,
        subscriber: Subscriber,
        patterns: Sequence[str],
        *,
        since: Mapping[str, int] | None = None,
        strict: bool = False,
        granted: bool = False,
    ) -> SubscribeResult:
        """Subscribe to all of ``patterns`` or to none: they are checked whole, then applied whole (docs/protocol/bayeux.md#subscribe).

        ``since`` maps patterns to the positions after which the client wants to hear their log channels; with ``strict`` a position from
        which something may be missing is refused. ``granted``: whoever asks has decided by another credential than
        those with roles that the session may hear these channels. Returns when the bus has confirmed every topic.

        Raises:
            RefusedError: SUBSCRIPTION_INVALID, SUBSCRIBE_DENIED or RATE_LIMITED, with the pattern that was at fault; REPLAY_INVALID, by
                ``strict``; SESSION_UNKNOWN when the session ended meanwhile; UNAVAILABLE when the log cannot be read.
        """
        await self._arrivals.turn()
        patterns = list(dict.fromkeys(patterns))
        since = since or {}
        new = [p for p in patterns if p not in subscriber.subscriptions]
        if len(subscriber.subscriptions) + len(new) > self.limits.max_subscriptions:
            raise self._too_many(new[-1])
        time_slice = TimeSlice(self.clock, self.loop)
        excluded: dict[str, Excluded] = {}
        principal = subscriber.principal
        for pattern in new:
            excluded[pattern] = WHOLE if granted else await self._check(principal, pattern)
            await time_slice.checkpoint()
        acquired: dict[str, tuple[Topic, ...]] = {}
        positions: dict[str, int] = {}
        try:
            await self._acquire(subscriber, patterns, excluded, acquired, time_slice)
            # the log is asked for what was published before only now, when the bus brings what is published from here on
            outcomes = await self._outcomes(subscriber, patterns, since, positions, time_slice, strict=strict)
            # meanwhile another request of the session may have unsubscribed from what it had
            await self._acquire(subscriber, patterns, excluded, acquired, time_slice)
            while principal is not subscriber.principal:  # a newer credential was shown meanwhile: it decides
                principal = subscriber.principal
                for pattern in acquired:
                    excluded[pattern] = await self._check(principal, pattern)
            self._fan_outs.flush_pending(subscriber)  # what was published before its positions belongs before them
            if subscriber.closing or not subscriber.attached:  # its queue overflowed by that, or it ended while the bus was asked
                raise RefusedError(WireError.SESSION_UNKNOWN)
            # other requests of the session may have subscribed to as many meanwhile
            if len(subscriber.subscriptions.keys() | acquired.keys()) > self.limits.max_subscriptions:
                raise self._too_many(patterns[-1])
        except BaseException:
            for pattern, topics in acquired.items():
                self.interest.release(subscriber.principal.tenant, pattern, topics)
            raise
        # since the fan-outs were flushed nothing is awaited: another request of this session sees all of it or nothing
        added = self._commit(subscriber, excluded, acquired)
        outcomes = self._begin_recovery(subscriber, outcomes, positions, new=acquired)
        return SubscribeResult(self, self._snapshots, subscriber, outcomes, added)

    def _too_many(self, pattern: str) -> RefusedError:
        return RefusedError(
            WireError.RATE_LIMITED, f"a session holds at most {self.limits.max_subscriptions} subscriptions", channel=pattern
        )

    async def _check(self, principal: Principal, pattern: str) -> Excluded:
        """Returns what a principal may not hear of all that a pattern stands for, as patterns of channel declarations.

        Raises:
            RefusedError: SUBSCRIPTION_INVALID; SUBSCRIBE_DENIED, it is not granted, or is an exact name whose operation is not.
        """
        try:
            check_pattern(pattern)
        except InvalidChannelError as error:
            raise RefusedError(WireError.SUBSCRIPTION_INVALID, str(error), channel=pattern) from None
        if pattern.startswith(META):
            raise self._denied(pattern, "these channels are the protocol's own")
        decision = await self._authorizer.decide(principal, Action.SUBSCRIBE, pattern)
        if not decision.allowed:
            raise self._denied(pattern, decision.reason.value)
        excluded = []
        for declaration in self.registry.overlapping(pattern):
            if not declaration.operation:
                continue
            decision = await self._authorizer.decide(principal, Action.CALL, declaration.operation)
            if not decision.allowed:
                if not is_wildcard(pattern):
                    raise self._denied(pattern, f"its subscribers need the operation {declaration.operation}, and {decision.reason.value}")
                excluded.append(declaration.pattern)
        return frozenset(excluded) if excluded else WHOLE

    def _denied(self, pattern: str, why: str) -> RefusedError:
        self.counters.denied += 1
        return RefusedError.denied(WireError.SUBSCRIBE_DENIED, why, pattern)

    def _topics(self, principal: Principal, pattern: str) -> tuple[Topic, ...]:
        """The topics that a pattern stands for, for one principal: those for all of its tenant and its own, never somebody else's."""
        tenant = principal.tenant
        own = tuple(Topic(tenant, audience, pattern) for audience in principal.audiences)
        if is_wildcard(pattern):
            return (Topic(tenant, "", pattern), *own)
        return own if self.registry.of(pattern).personal else (Topic(tenant, "", pattern),)

    async def _acquire(
        self,
        subscriber: Subscriber,
        patterns: Sequence[str],
        excluded: dict[str, Excluded],
        acquired: dict[str, tuple[Topic, ...]],
        time_slice: TimeSlice,
    ) -> None:
        """Have the bus confirm, in one call, the topics of those ``patterns`` that the session is not subscribed to. What has to be
        released when the subscribe fails is added to ``acquired``.
        """
        principal = subscriber.principal
        while lacking := [p for p in patterns if p not in subscriber.subscriptions and p not in acquired]:
            topics: list[Topic] = []
            of_log = False
            for pattern in lacking:
                if pattern not in excluded:
                    excluded[pattern] = await self._check(principal, pattern)
                own = self._topics(principal, pattern)
                await self.interest.acquire(principal.tenant, pattern, own)
                acquired[pattern] = own
                topics += own
                of_log = of_log or self.registry.has_log(pattern)
                await time_slice.checkpoint()
            if await self.interest.confirm(topics, positions=of_log):
                await self._arrivals.turn()  # the answers to many come together

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
        """What becomes of each pattern. The positions after which the log has to be read are added to ``positions``."""
        outcomes: list[Subscribed] = []
        span: Span | None = None
        for pattern in patterns:
            if not self.registry.has_log(pattern):
                outcomes.append(Subscribed(pattern))
                continue
            try:
                if span is None:
                    span = await self.log.span(subscriber.principal.tenant)
                outcomes.append(await self._outcome(subscriber, pattern, since.get(pattern), span, positions, strict=strict))
            except EventLogError as error:
                raise RefusedError(WireError.UNAVAILABLE, channel=pattern) from error
            await time_slice.checkpoint()
        return outcomes

    async def _outcome(
        self, subscriber: Subscriber, pattern: str, since: int | None, span: Span, positions: dict[str, int], *, strict: bool
    ) -> Subscribed:
        principal = subscriber.principal
        newest = self.positions.newest(principal.tenant) or span.newest
        if since is None:
            return Subscribed(pattern, newest)
        topics = self._topics(principal, pattern)
        in_force = self.interest.position_in_force(topics)
        known = max(span.floor, span.seam) <= since <= max(span.newest, in_force or 0)
        if not known and span.seam <= since < span.floor and since > EVERYTHING and not is_wildcard(pattern):
            known = await self.log.complete_since(topics, since)
        if since != EVERYTHING or not strict:
            self.counters.recovered += known
            self.counters.not_recovered += not known
        if known:
            # another node may have told the client a position that this node has not come to yet
            positions[pattern] = max(since, span.floor)
            return Subscribed(pattern, since, recovered=True)
        positions[pattern] = max(min(since, newest), span.floor)
        if strict and since != EVERYTHING:
            raise RefusedError(WireError.REPLAY_INVALID, f"expected a position of the log, got {since}", channel=pattern)
        return Subscribed(pattern, positions[pattern])

    def _commit(
        self, subscriber: Subscriber, excluded: Mapping[str, Excluded], acquired: Mapping[str, tuple[Topic, ...]]
    ) -> Collection[str]:
        """Add the session to the router. Returns the patterns that it was not subscribed to before."""
        added = []
        for pattern, topics in acquired.items():
            if pattern in subscriber.subscriptions:
                self.interest.release(subscriber.principal.tenant, pattern, topics)
                continue
            added.append(pattern)
            subscriber.subscriptions[pattern] = topics
            if excluded[pattern]:
                subscriber.narrowed[pattern] = excluded[pattern]
                self.counters.narrowed += 1
            for topic in topics:
                self._router.add(topic, subscriber, excluded[pattern])
            for listener in self.on_subscribed:
                listener(subscriber, pattern)
        return added

    def _begin_recovery(
        self, subscriber: Subscriber, outcomes: list[Subscribed], positions: Mapping[str, int], *, new: Collection[str]
    ) -> list[Subscribed]:
        """Note what the session has to read from the log; what is published from now on it hears directly. Nothing is awaited. Returns the
        outcomes with the positions of this moment.
        """
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

    # -- a newer credential -----------------------------------------------------------------------------------------

    async def check_again(self, subscriber: Subscriber) -> list[str]:
        """Hold the subscriptions of a session against its present credential: those that it does not cover end, and wildcards are narrowed,
        or widened, to what it may hear. Returns the patterns that ended. What cannot be decided now ends, too.
        """
        principal = subscriber.principal
        time_slice = TimeSlice(self.clock, self.loop)
        ended: list[str] = []
        for pattern in list(subscriber.subscriptions):
            try:
                excluded: Excluded | None = await self._check(principal, pattern)
            except RefusedError:
                excluded = None
            if subscriber.principal is not principal:  # a still newer one was shown, and is held against all of them itself
                break
            if pattern not in subscriber.subscriptions:
                continue
            if excluded is None:
                self._remove(subscriber, pattern)
                ended.append(pattern)
            elif excluded != subscriber.narrowed.get(pattern, WHOLE):
                self._narrow(subscriber, pattern, excluded)
            await time_slice.checkpoint()
        return ended

    def _narrow(self, subscriber: Subscriber, pattern: str, excluded: Excluded) -> None:
        self._fan_outs.flush_pending(subscriber)  # it might hear that when it was published
        topics = subscriber.subscriptions.get(pattern)
        if topics is None:  # that was too much for its queue, and has ended it
            return
        before = subscriber.narrowed.pop(pattern, WHOLE)
        if excluded:
            subscriber.narrowed[pattern] = excluded
        for topic in topics:
            self._router.remove(topic, subscriber, before)
            self._router.add(topic, subscriber, excluded)
        for listener in self.on_narrowed:
            listener(subscriber, pattern)
        if before - excluded:  # it hears more: the present values of that are due
            subscriber.resync_due = True
            if not subscriber.dirty:
                subscriber.hub.flusher.mark(subscriber)

    # -- unsubscribe ------------------------------------------------------------------------------------------------

    def unsubscribe(self, subscriber: Subscriber, patterns: Iterable[str]) -> None:
        """Take subscriptions back. One that is not there is no error (docs/protocol/bayeux.md#unsubscribe)."""
        for pattern in patterns:
            self._remove(subscriber, pattern)

    def end(self, subscriber: Subscriber) -> None:
        """Take all subscriptions of a session back that has ended: it is sent nothing any more."""
        self._fan_outs.drop(subscriber)
        for pattern in list(subscriber.subscriptions):
            self._remove(subscriber, pattern)

    def _remove(self, subscriber: Subscriber, pattern: str) -> None:
        topics = subscriber.subscriptions.pop(pattern, None)
        if topics is None:
            return
        self._fan_outs.flush_pending(subscriber)  # it was subscribed when that was published
        excluded = subscriber.narrowed.pop(pattern, WHOLE)
        for topic in topics:
            self._router.remove(topic, subscriber, excluded)
        if subscriber.recovery is not None:
            subscriber.recovery.drop(pattern)
        for listener in self.on_unsubscribed:
            listener(subscriber, pattern)
        self.interest.release(subscriber.principal.tenant, pattern, topics)
