"""The call by which a node tells a tenant's owner which logins and watched channels it has, and hears the service state.

It is of the kind ``logins`` and lasts as long as the node asks for the tenant. Its head is the tenant. The node first says everything that
it has, then each change, in order: the owner thus knows what every node has, and a call that broke begins anew with everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from channels.statistics.service.guests import Guests
from channels.statistics.service.interface import ServiceState
from channels.statistics.service.wire import Failed, failure_of
from hub.cluster.ownership import Ownership
from hub.cluster.ports import Call, LinkError
from hub.core.errors import RefusedError

KIND: Final = "logins"
"""The kind of the calls."""

AT_ONCE: Final = 1_000
"""Changes of one piece."""


class Login(msgspec.Struct, tag="login", frozen=True, array_like=True):
    """A login has its first session on the node."""

    login: str


class Logout(msgspec.Struct, tag="logout", frozen=True, array_like=True):
    """The last session of a login on the node has ended."""

    login: str


class Watch(msgspec.Struct, tag="watch", frozen=True, array_like=True):
    """A values channel has its first subscriber on the node. ``number`` is that of the answer; 0: no answer is wanted."""

    channel: str
    number: int = 0


class Unwatch(msgspec.Struct, tag="unwatch", frozen=True, array_like=True):
    """The last subscriber of a values channel on the node has gone."""

    channel: str


class All(msgspec.Struct, tag="all", frozen=True, array_like=True):
    """What came before is everything that the node has; from now on changes come."""


class State(msgspec.Struct, tag="state", frozen=True, array_like=True):
    """The owner tells the service state."""

    state: ServiceState


class Watched(msgspec.Struct, tag="watched", frozen=True, array_like=True):
    """The owner answers a :class:`Watch`; ``failed`` says why it is refused."""

    number: int
    failed: Failed | None = None


Change = Login | Logout | Watch | Unwatch | All
Told = State | Watched

_encoder: Final = msgspec.msgpack.Encoder()
_changes: Final[msgspec.msgpack.Decoder[list[Change]]] = msgspec.msgpack.Decoder(list[Change])
_told: Final[msgspec.msgpack.Decoder[list[Told]]] = msgspec.msgpack.Decoder(list[Told])


def whole(logins: Iterable[str], watched: Iterable[str]) -> Iterator[Change]:
    """Everything that a node has."""
    yield from map(Login, logins)
    yield from map(Watch, watched)
    yield All()


class Sender:
    """Sends what one side has to say, in order, many at a time."""

    __slots__ = ("_call", "_queue", "_wake")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._queue: deque[Change | Told] = deque()
        self._wake = asyncio.Event()

    def send(self, *content: Change | Told) -> None:
        """Send as soon as the other side takes more."""
        self._queue.extend(content)
        self._wake.set()

    async def run(self) -> None:
        """Send until the call ends.

        Raises:
            LinkError: the call is over.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                some = [self._queue.popleft() for _ in range(min(len(self._queue), AT_ONCE))]
                await self._call.send(_encoder.encode(some))


async def told(call: Call) -> list[Told] | None:
    """What the owner says next; None when it ended the call.

    Raises:
        LinkError: the call is over.
    """
    raw = await call.receive()
    return None if raw is None else _told.decode(raw)


class Host:
    """Serves the calls of other nodes, for the tenants that this process owns."""

    def __init__(
        self, guests: Guests, ownership: Ownership, state: Callable[[str], ServiceState], opened: Callable[[str, list[str]], object]
    ) -> None:
        """``state`` is the present service state of a tenant. ``opened`` is called with values channels whose statistics were opened for
        subscribers that are there already, and wait for a value.
        """
        self._guests = guests
        self._ownership = ownership
        self._state = state
        self._opened = opened
        self._calls: dict[str, dict[Call, Sender]] = {}

    def tell(self, tenant: str, state: ServiceState) -> None:
        """Tell every node the new service state of a tenant."""
        for sender in self._calls.get(tenant, {}).values():
            sender.send(State(state))

    def drop(self, tenant: str) -> None:
        """End the calls of a tenant that this process owns no more."""
        for call in list(self._calls.get(tenant, {})):
            call.cancel()
        self._guests.forget(tenant)

    async def serve(self, call: Call) -> None:
        """The handler of calls of the kind ``logins``."""
        tenant = call.head.decode()
        if not self._ownership.serves(tenant):
            await self._ownership.find(tenant)
            if not self._ownership.serves(tenant):
                return
        number = self._guests.enter(tenant, call.node)
        sender = Sender(call)
        self._calls.setdefault(tenant, {})[call] = sender
        sender.send(State(self._state(tenant)))
        sending = asyncio.create_task(sender.run(), name="statistics.host")
        try:
            await self._receive(call, tenant, number, sender)
        except LinkError:
            pass  # the node ended, or begins anew
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled():
                sending.exception()
            del self._calls[tenant][call]
            if not self._calls[tenant]:
                del self._calls[tenant]
            self._guests.leave(tenant, call.node, number)

    async def _receive(self, call: Call, tenant: str, number: int, sender: Sender) -> None:
        logins: list[str] = []
        watched: list[str] = []
        complete = False
        while (raw := await call.receive()) is not None:
            for change in _changes.decode(raw):
                if complete:
                    await self._apply(call.node, tenant, number, change, sender)
                elif isinstance(change, Login):
                    logins.append(change.login)
                elif isinstance(change, Watch):
                    watched.append(change.channel)
                elif isinstance(change, All):
                    complete = True
                    opened = await self._guests.replace(tenant, call.node, number, logins, watched)
                    if opened:
                        self._opened(tenant, opened)

    async def _apply(self, node: str, tenant: str, number: int, change: Change, sender: Sender) -> None:
        guests = self._guests
        match change:
            case Login(login):
                guests.arrive(tenant, node, number, login)
            case Logout(login):
                guests.depart(tenant, node, number, login)
            case Unwatch(channel):
                guests.unwatch(tenant, node, number, channel)
            case Watch(channel, answer):
                failed = None
                try:
                    await guests.watch(tenant, node, number, channel)
                except RefusedError as error:
                    failed = failure_of(error)
                sender.send(Watched(answer, failed))
