"""Present values that another node gives, in their place among the messages of the bus.

The values come over a link, and changes of them over the bus: either may overtake the other. So the node that gives values says how far
it had published when it took them (:class:`Stamp`), and answers when the other nodes have been sent all of that. The node that asked then
waits until the bus has handed all of that over (:meth:`Fetches.settle`): so no older message comes behind the values. What is newer than
the values and has come before them is told by :meth:`Fetch.newer`: these values are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hub.bus.interface import Bus, Envelope
from hub.core.delivery import DeliveryClass


class Stamp(NamedTuple):
    """How far a node had published when it took values: they are newer than its messages up to ``sequence``, older than those after it."""

    origin: str
    """The node."""
    epoch: int
    """The one with which it publishes (:attr:`hub.bus.interface.Envelope.epoch`)."""
    sequence: int
    """Of its newest message."""


class _Came(NamedTuple):
    """A state message from another node."""

    number: int
    origin: str
    epoch: int
    sequence: int
    data: bytes


class _Watched:
    """The state messages of one audience that came while somebody fetched its values."""

    __slots__ = ("bytes", "came", "count", "fetches", "too_many")

    def __init__(self) -> None:
        self.fetches = 0
        self.count = 0
        self.came: dict[str, list[_Came]] = {}
        self.bytes = 0
        self.too_many = False

    def add(self, envelope: Envelope, max_bytes: int) -> None:
        self.count += 1
        _, audience, channel = envelope.topic
        came = _Came(self.count, envelope.origin, envelope.epoch, envelope.sequence, envelope.data)
        if not audience:  # the newest one tells whether there is a newer one
            self.came[channel] = [came]
            return
        self.bytes += len(envelope.data)
        if self.bytes > max_bytes:
            self.too_many = True
            self.came.clear()
        else:
            self.came.setdefault(channel, []).append(came)


class Fetch:
    """One request for present values, from before it is sent until the values have been offered."""

    __slots__ = ("_began", "_watched")

    def __init__(self, watched: _Watched) -> None:
        self._watched = watched
        self._began = watched.count

    @property
    def too_many(self) -> bool:
        """Whether more came than is kept, so that nobody knows which values are overtaken: they have to be fetched again."""
        return self._watched.too_many

    def newer(self, channel: str, than: Stamp) -> list[bytes]:
        """The messages of a channel that are newer than values with this stamp and have been handed over already, the oldest first. Of a
        channel for all of the tenant it is the newest one alone.
        """
        return [came.data for came in self._watched.came.get(channel, ()) if self._is_newer(came, than)]

    def _is_newer(self, came: _Came, than: Stamp) -> bool:
        if came.epoch != than.epoch:
            return came.epoch > than.epoch
        if came.origin != than.origin:  # owners without epochs: another one began meanwhile
            return came.number > self._began
        return came.sequence > than.sequence


class Fetches:
    """All requests for present values that this node has sent to others, and the stamps of values that it gives to others."""

    __slots__ = ("_bus", "_max_bytes", "_watched")

    def __init__(self, bus: Bus, max_bytes: int) -> None:
        """``max_bytes``: of the messages of one login that are kept while its values are fetched."""
        self._bus = bus
        self._max_bytes = max_bytes
        self._watched: dict[tuple[str, str], _Watched] = {}

    # -- the node that asks -----------------------------------------------------------------------------------------

    @contextmanager
    def fetch(self, tenant: str, audience: str) -> Iterator[Fetch]:
        """Note what comes for an audience, until the context ends. To be entered before the values are asked for."""
        key = tenant, audience
        watched = self._watched.get(key)
        if watched is None or watched.too_many:
            watched = self._watched[key] = _Watched()
        watched.fetches += 1
        try:
            yield Fetch(watched)
        finally:
            watched.fetches -= 1
            if not watched.fetches and self._watched.get(key) is watched:
                del self._watched[key]

    def note(self, envelope: Envelope) -> None:
        """A message of another node is about to be delivered here."""
        if self._watched and envelope.delivery is DeliveryClass.STATE:
            watched = self._watched.get((envelope.topic.tenant, envelope.topic.audience))
            if watched is not None and not watched.too_many:
                watched.add(envelope, self._max_bytes)

    async def settle(self, tenant: str) -> None:
        """Wait until everything that was published for a tenant before this call has been delivered here.

        Raises:
            BusError: the bus cannot say so.
        """
        await self._bus.settle(tenant)

    # -- the node that gives ----------------------------------------------------------------------------------------

    async def stamp(self, tenant: str, epoch: int) -> Stamp:
        """The stamp of values of this moment: the call must follow them without anything that waits between. It returns when the messages
        up to the stamp were sent to the other nodes, or are lost.
        """
        sequence = self._bus.sequence
        await self._bus.flush(tenant)
        return Stamp(self._bus.node, epoch, sequence)
