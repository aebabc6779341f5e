"""Lists the sessions of one tenant in this process and their subscriptions, page by page. Other tasks run between short pieces of work."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from hub.core.channels import candidates, lies_within
from hub.core.hub import Hub
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice

T = TypeVar("T")

_PIECE = 128
"""Entries that are examined between two checks whether other tasks should run."""

_BLOCK = 1024
"""Consecutive serials in one dictionary of sessions."""

_SHARDS = 64
"""Dictionaries among which the channel names of a tenant are divided."""


class ChannelCount(NamedTuple):
    """A channel or pattern, and the number of sessions that subscribed to exactly this name."""

    channel: str
    sessions: int


class ChannelPage(NamedTuple):
    """A page of channels in the order of their names. ``after`` is the last one's name if there are more, else None."""

    items: list[ChannelCount]
    after: str | None


class SessionPage(NamedTuple):
    """A page of sessions, as :func:`describe` gives them, in the order of their beginning. ``after`` is the last one's serial if there are
    more, else None.
    """

    items: list[dict[str, Any]]
    after: int | None


class Wanted(NamedTuple):
    """A filter of sessions: a session must match every field that is not None."""

    subject: str | None = None
    door: str | None = None
    channel: str | None = None
    """A channel or pattern to which the session subscribed by exactly this name."""
    hears: str | None = None
    """A channel whose messages for the whole tenant the session gets, by its name or by a pattern."""

    def includes(self, session: Subscriber) -> bool:
        """Whether a session matches the filter."""
        if self.subject is not None and session.principal.subject != self.subject:
            return False
        if self.door is not None and session.door != self.door:
            return False
        if self.channel is not None and self.channel not in session.subscriptions:
            return False
        return self.hears is None or any(pattern in session.subscriptions for pattern in candidates(self.hears))


def describe(session: Subscriber) -> dict[str, Any]:
    """The description of a session for administrators. It contains neither the clientId nor a credential."""
    principal = session.principal
    return {
        "id": session.public_id,
        "door": session.door,
        "subject": principal.subject,
        "roles": sorted(principal.roles),
        "login": principal.login,
        "connectedAt": session.since_ms,
        "subscriptions": len(session.subscriptions),
        "queuedBytes": session.queued_bytes,
        "dropped": session.dropped,
    }


class Roster:
    """Keeps the sessions in the order of their beginning, and the number of subscriptions to each name.

    Both are divided into parts. A listing copies one part at a time, since sessions may begin and end while it runs.
    """

    __slots__ = ("_blocks", "_counts", "_hub")

    def __init__(self, hub: Hub) -> None:
        """Make it before the first session of the hub begins."""
        self._hub = hub
        # by number of the block, then by serial: the sessions; both dictionaries are in the order of their keys
        self._blocks: dict[int, dict[int, Subscriber]] = {}
        # by tenant, then by shard, then by channel or pattern: the number of subscribed sessions
        self._counts: dict[str, dict[int, dict[str, int]]] = {}
        hub.sessions.on_attached.append(self._attached)
        hub.sessions.on_detached.append(self._detached)
        hub.subscriptions.on_subscribed.append(self._subscribed)
        hub.subscriptions.on_unsubscribed.append(self._unsubscribed)

    def _attached(self, session: Subscriber) -> None:
        self._blocks.setdefault(session.serial // _BLOCK, {})[session.serial] = session

    def _detached(self, session: Subscriber) -> None:
        block = self._blocks[session.serial // _BLOCK]
        del block[session.serial]
        if not block:
            del self._blocks[session.serial // _BLOCK]

    def _subscribed(self, session: Subscriber, pattern: str) -> None:
        counts = self._counts.setdefault(session.principal.tenant, {}).setdefault(_shard(pattern), {})
        counts[pattern] = counts.get(pattern, 0) + 1

    def _unsubscribed(self, session: Subscriber, pattern: str) -> None:
        shards = self._counts[session.principal.tenant]
        counts = shards[_shard(pattern)]
        if counts[pattern] > 1:
            counts[pattern] -= 1
            return
        del counts[pattern]
        if counts:
            return
        del shards[_shard(pattern)]
        if not shards:
            del self._counts[session.principal.tenant]

    def count(self, tenant: str, pattern: str) -> int:
        """The number of sessions that subscribed to exactly this channel or pattern."""
        return self._counts.get(tenant, {}).get(_shard(pattern), {}).get(pattern, 0)

    @property
    def tenants(self) -> Collection[str]:
        """The tenants with a subscription."""
        return self._counts.keys()

    async def channels(self, tenant: str, *, limit: int, after: str = "", prefix: str = "", within: str | None = None) -> ChannelPage:
        """List up to ``limit`` channels and patterns with a subscriber, in the order of their names, beginning after the name ``after``.

        Only names that begin with ``prefix`` and lie within the pattern ``within`` are listed.
        """
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        found: list[str] = []
        bound: str | None = None  # this name and later ones are not on this page
        for piece in self._names(tenant):
            found += [
                name
                for name in piece
                if name > after
                and (bound is None or name < bound)
                and name.startswith(prefix)
                and (within is None or lies_within(name, within))
            ]
            await time_slice.checkpoint()
            if len(found) > 2 * limit:
                found = sorted(found)[: limit + 1]
                bound = found[limit]
        found = sorted(found)[: limit + 1]
        # a channel may have lost its last subscriber in the meantime
        items = [ChannelCount(name, sessions) for name in found[:limit] if (sessions := self.count(tenant, name))]
        return ChannelPage(items, found[limit - 1] if len(found) > limit else None)

    async def sessions(self, tenant: str, wanted: Wanted, *, limit: int, after: int = 0) -> SessionPage:
        """List up to ``limit`` sessions in the order of their beginning, starting after the serial ``after``."""
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        items: list[dict[str, Any]] = []
        last = after
        for piece in self._since(after):
            for session in piece:
                if session.principal.tenant != tenant or not wanted.includes(session) or not self._is_here(session):
                    continue
                if len(items) == limit:
                    return SessionPage(items, last)
                items.append(describe(session))
                last = session.serial
            await time_slice.checkpoint()
        return SessionPage(items, None)

    async def find(self, tenant: str, public_id: str) -> Subscriber | None:
        """The session with this public id; None if the tenant has none."""
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        for piece in self._since(0):
            for session in piece:
                if session.public_id == public_id and session.principal.tenant == tenant and self._is_here(session):
                    return session
            await time_slice.checkpoint()
        return None

    async def disconnect(self, tenant: str, subject: str) -> int:
        """End all present sessions of a subject; returns how many."""
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        ended = 0
        for piece in self._since(0):
            for session in piece:
                if session.principal.subject == subject and session.principal.tenant == tenant and self._is_here(session):
                    session.disconnect()
                    ended += 1
                    await time_slice.checkpoint()
            await time_slice.checkpoint()
        return ended

    def _names(self, tenant: str) -> Iterator[Sequence[str]]:
        """All channels and patterns with a subscriber, a few at a time, in no order."""
        for shard in list(self._counts.get(tenant, ())):
            yield from _pieces(list(self._counts.get(tenant, {}).get(shard, ())))

    def _since(self, serial: int) -> Iterator[Sequence[Subscriber]]:
        """The sessions after a serial, in the order of their beginning, a few at a time."""
        numbers = list(self._blocks)
        for number in numbers[bisect_left(numbers, serial // _BLOCK) :]:
            block = self._blocks.get(number, {})
            yield from _pieces([session for at, session in block.items() if at > serial])

    def _is_here(self, session: Subscriber) -> bool:
        return session.id in self._hub.sessions.by_id and not session.closing


def _shard(name: str) -> int:
    return hash(name) % _SHARDS


def _pieces(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Divide entries into short sequences."""
    for start in range(0, len(entries), _PIECE):
        yield entries[start : start + _PIECE]
