"""What core needs from outside, as protocols, so that tests can pass a clock and a loop of their own."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Protocol

from hub.core.decision import Decision
from hub.core.principal import Action, Principal


class Clock(Protocol):
    """Two clocks: a monotonic one, and the time of day."""

    def monotonic(self) -> float:
        """Seconds since some moment; it never goes back, and only differences mean anything."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class Signal(Protocol):
    """A task awaits it until another task sets it, as a future of asyncio."""

    def __await__(self) -> Generator[Any, Any, None]: ...

    def set_result(self, result: None, /) -> None:
        """Set it. To be called once."""
        ...

    def done(self) -> bool:
        """Whether it was set, or the waiting task was cancelled."""
        ...


class Loop(Protocol):
    """What core asks of an event loop."""

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run ``callback`` in the next turn of the loop."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` as a task of its own; what it raises is logged."""
        ...

    async def breathe(self) -> None:
        """Let everything else that is ready run once, then return."""
        ...

    def signal(self) -> Signal:
        """A new signal, not set."""
        ...


class Authorizer(Protocol):
    """The one decision function (docs/protocol/credentials.md#decisions)."""

    async def decide(self, principal: Principal, action: Action, resource: str) -> Decision:
        """Whether ``principal`` may do ``action`` on ``resource``, a channel, pattern or operation, and why. Default: no."""
        ...


class Logins(Protocol):
    """Which logins have a Bayeux session: on this node, or on any node where nodes are connected."""

    on_gone: list[Callable[[str, str], None]]
    """Each is called with tenant and audience after the last session of a login has ended."""

    def arrived(self, principal: Principal) -> None:
        """A Bayeux session of this principal began on this node."""
        ...

    def left(self, principal: Principal) -> None:
        """A Bayeux session of this principal ended on this node."""
        ...

    def has(self, tenant: str, audience: str) -> bool:
        """Whether a login has a Bayeux session."""
        ...

    def __len__(self) -> int:
        """How many logins have one."""
        ...


Snapshot = Callable[[str, str, str], Awaitable[Sequence[tuple[str, bytes]]]]
"""``(tenant, audience, pattern)`` to the present ``(channel, data)`` pairs; ``audience`` is empty for ``all``."""

SnapshotPieces = Callable[[str, str, str], AsyncGenerator[Sequence[tuple[str, bytes]], None]]
"""As :data:`Snapshot`, for channels of which there may be thousands: a few at a time. Those of a piece are present when it is handed out,
and of them nothing is published before the next is asked for, or the iterator closed.
"""

Watch = Callable[[str, str], Awaitable[None]]
"""``(tenant, channel)``: called before each of a channel's subscribers is let in: open it if it is not; may raise ``RefusedError``."""

Unwatch = Callable[[str, str], None]
"""``(tenant, channel)``: called after a channel's last subscriber has gone."""
