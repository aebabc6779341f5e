"""Lists the sessions of a process and what they subscribed to: of one tenant, page by page, in short pieces of work."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from hub.core.channels import candidates, lies_within
from hub.core.hub import Hub
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice

T = TypeVar("T")

_PIECE = 128
"""Entries that are looked at between two looks at the clock."""

_BLOCK = 1024
"""Serials of neighbours that are kept together."""

_SHARDS = 64
"""Parts that the names of a tenant are kept in."""


class ChannelCount(NamedTuple):
    """A channel or pattern that somebody subscribed to by that very name."""

    channel: str
    sessions: int


class ChannelPage(NamedTuple):
    """Some channels in the order of their names; ``after`` is the last one's name when there are more, else None."""

    items: list[ChannelCount]
    after: str | None


class SessionPage(NamedTuple):
    """Some sessions, described, in the order in which they came; ``after`` is the last one's serial when there are more, else None."""

    items: list[dict[str, Any]]
    after: int | None


class Wanted(NamedTuple):
    """A filter of sessions: every member that is not None has to hold."""

    subject: str | None = None
    door: str | None = None
    channel: str | None = None
    """The session subscribed to exactly this channel or pattern."""
    hears: str | None = None
    """The session hears what is published on this channel for all, by its name or by a wildcard."""

    def includes(self, session: Subscriber) -> bool:
        """Whether a session is one of those."""
        if self.subject is not None and session.principal.subject != self.subject:
            return False
        if self.door is not None and session.door != self.door:
            return False
        if self.channel is not None and self.channel not in session.subscriptions:
            return False
        return self.hears is None or any(pattern in session.subscriptions for pattern in candidates(self.hears))


def describe(session: Subscriber) -> dict[str, Any]:
    """A session as administrators see it. Neither a clientId nor a credential can be read from it."""
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
    """Keeps the sessions in the order in which they came, and the number of subscriptions to each name.

    Both are kept in parts, so that no copy of all of them is needed while sessions come and go during a listing.
    """

    __slots__ = ("_blocks", "_counts", "_hub")

    def __init__(self, hub: Hub) -> None:
        """Create it before the first session of the hub."""
        self._hub = hub
        # sessions by serial, in blocks of neighbours; both dictionaries are in the order of their keys
        self._blocks: dict[int, dict[int, Subscriber]] = {}
        # how many subscribed to a name, of each tenant in shards
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
        """Sessions that subscribed to exactly this channel or pattern."""
        return self._counts.get(tenant, {}).get(_shard(pattern), {}).get(pattern, 0)

    async def channels(self, tenant: str, *, limit: int, after: str = "", prefix: str = "", within: str | None = None) -> ChannelPage:
        """Up to ``limit`` channels and patterns with a subscriber, in the order of their names, from the one behind ``after`` on.

        ``prefix`` is how they begin; ``within`` a pattern in which they lie.
        """
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        found: list[str] = []
        bound: str | None = None  # from here on no name can be on this page
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
        # one may have lost its last subscriber meanwhile
        items = [ChannelCount(name, sessions) for name in found[:limit] if (sessions := self.count(tenant, name))]
        return ChannelPage(items, found[limit - 1] if len(found) > limit else None)

    async def sessions(self, tenant: str, wanted: Wanted, *, limit: int, after: int = 0) -> SessionPage:
        """Up to ``limit`` sessions, in the order in which they came, from the one behind the serial ``after`` on."""
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
        """The session of this id, None when the tenant has none."""
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        for piece in self._since(0):
            for session in piece:
                if session.public_id == public_id and session.principal.tenant == tenant and self._is_here(session):
                    return session
            await time_slice.checkpoint()
        return None

    async def disconnect(self, tenant: str, subject: str) -> int:
        """End all sessions of a subject that are here now; returns how many they were."""
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
        """All names that somebody subscribed to, a few at a time, in no order."""
        for shard in list(self._counts.get(tenant, ())):
            yield from _pieces(list(self._counts.get(tenant, {}).get(shard, ())))

    def _since(self, serial: int) -> Iterator[Sequence[Subscriber]]:
        """The sessions behind a serial, in the order in which they came, a few at a time."""
        numbers = list(self._blocks)
        for number in numbers[bisect_left(numbers, serial // _BLOCK) :]:
            block = self._blocks.get(number, {})
            yield from _pieces([session for at, session in block.items() if at > serial])

    def _is_here(self, session: Subscriber) -> bool:
        return session.id in self._hub.sessions.by_id and not session.closing


def _shard(name: str) -> int:
    return hash(name) % _SHARDS


def _pieces(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """All of them, a few at a time."""
    for start in range(0, len(entries), _PIECE):
        yield entries[start : start + _PIECE]
