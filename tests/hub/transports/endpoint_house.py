"""A hub behind one endpoint, on a real server with a real gate: who comes in is somebody of the tenant demo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from websockets.asyncio.client import connect

from hub.bus.memory import MemoryBus
from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.subscriber import Subscriber
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.security.cookies import CookieSigner
from hub.security.demo import DemoLookup
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.transports.dispatcher import Dispatcher, Endpoint
from hub.transports.runtime import AsyncioLoop, SystemClock, TimerDriver
from tests.hub.transports.harness import listening

BEARER = {"Authorization": "Bearer demo-token"}
D = TypeVar("D", bound=Endpoint)


class House(Generic[D]):
    """The hub, its gate and its endpoint. ``/log/**`` is kept, ``/state`` has the values of ``states``, ``/broken`` cannot tell its own."""

    def __init__(
        self, make_endpoint: Callable[[Hub, Gate], D], *, open_to_all: bool, limits: Limits, incarnation: str | None = None
    ) -> None:
        clock = SystemClock()
        self.gate = Gate(
            Directory(DemoLookup(), clock),
            clock,
            CookieSigner(b"secret", clock, lifetime_s=60),
            open=open_to_all,
            allowed_origins=["https://wallboard.example"],
            limits=limits,
        )
        self.loop = AsyncioLoop()
        self.faults: list[Exception] = []
        self.states: dict[str, bytes] = {}
        log = MemoryChannelLog(clock)
        self.hub = Hub(
            bus=MemoryBus(log),
            log=log,
            registry=ChannelRegistry(
                [
                    ChannelDeclaration("/log/**", DeliveryClass.LOG, "log"),
                    ChannelDeclaration("/state", DeliveryClass.STATE, "state", snapshot=self._state),
                    ChannelDeclaration("/broken", DeliveryClass.STATE, "state", snapshot=self._broken),
                ]
            ),
            authorizer=self.gate.decisions,
            loop=self.loop,
            clock=clock,
            on_fault=self._fault,
            limits=limits,
            incarnation=incarnation,
        )
        self.endpoint = make_endpoint(self.hub, self.gate)
        self.port = 0

    def _fault(self, subscriber: Subscriber, fault: Exception) -> None:
        self.faults.append(fault)

    async def _broken(self, tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        raise KeyError("x")

    async def _state(self, tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        return list(self.states.items())

    async def emit(self, channel: str, data: bytes = b"1") -> None:
        await self.hub.publisher.emit("demo", channel, data)

    def connect(self, path: str = "/ws", **headers: str) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}{path}", additional_headers=headers)

    async def ticket(self) -> str:
        """A ticket of the demo's token."""
        caller = await self.gate.identify({"type": "http", "path": "/", "headers": [(b"authorization", BEARER["Authorization"].encode())]})
        assert caller.principal is not None
        ticket = await self.gate.issue_ticket(caller.principal)
        assert ticket is not None
        return ticket

    async def cookie(self) -> str:
        """The sign-in cookie of the demo's user."""
        user, _ = await self.gate.directory.by_user("demo", "demo")
        assert user is not None
        return self.gate.sign_in_cookie(user, secure=False).split(";")[0]


@asynccontextmanager
async def house(
    make_endpoint: Callable[[Hub, Gate], D],
    *,
    open_to_all: bool = False,
    limits: Limits | None = None,
    server_limits: Limits | None = None,
    frames: bool = True,
) -> AsyncIterator[House[D]]:
    """A house that is served; at the end nothing may be left in it."""
    made = House(make_endpoint, open_to_all=open_to_all, limits=limits or Limits())
    timers = TimerDriver(made.hub.timers)
    await timers.start()

    async def rest(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing here is for REST")

    async with listening(Dispatcher([made.endpoint], rest), limits=server_limits or made.hub.limits, frames=frames) as made.port:
        yield made
    await timers.stop()
    await made.loop.close()
    assert made.faults == []
    assert made.hub.sessions.by_id == {}
