"""The hub as its sessions see it: what they read of it, and what they ask of it. Its class imports theirs, so theirs cannot import it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry
from hub.core.fan_out import FanOuts
from hub.core.flusher import Flusher
from hub.core.frames import FrameCaches
from hub.core.limits import Limits
from hub.core.ports import Clock, Logins, Loop
from hub.core.positions import Positions
from hub.core.principal import Principal
from hub.core.timers import Timers

S = TypeVar("S", contravariant=True)


class SessionRegistry(Protocol[S]):
    """See :class:`hub.core.sessions.Sessions`."""

    def check_rate(self, address: str | None) -> None: ...

    def attach(self, subscriber: S, /) -> None: ...

    def detach(self, subscriber: S, /) -> None: ...


class Unsubscriber(Protocol[S]):
    """See :class:`hub.core.subscriptions.Subscriptions`."""

    def unsubscribe(self, subscriber: S, patterns: Iterable[str], /) -> None: ...


class Resync(Protocol[S]):
    """See :class:`hub.core.snapshots.Snapshots`."""

    def resync(self, subscriber: S, /) -> None: ...


class EndOfCredentials(Protocol):
    """See :class:`hub.core.renewal.Renewals`."""

    def expires_in(self, principal: Principal) -> int | None: ...

    def is_soon(self, left_s: int | None) -> bool: ...


class SessionHub(Protocol[S]):
    """See :class:`hub.core.hub.Hub`. ``S`` is the sessions' class."""

    @property
    def clock(self) -> Clock: ...

    @property
    def loop(self) -> Loop: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def timers(self) -> Timers: ...

    @property
    def frame_caches(self) -> FrameCaches: ...

    @property
    def registry(self) -> ChannelRegistry: ...

    @property
    def flusher(self) -> Flusher: ...

    @property
    def fan_outs(self) -> FanOuts: ...

    @property
    def positions(self) -> Positions: ...

    @property
    def sessions(self) -> SessionRegistry[S]: ...

    @property
    def logins(self) -> Logins: ...

    @property
    def subscriptions(self) -> Unsubscriber[S]: ...

    @property
    def snapshots(self) -> Resync[S]: ...

    @property
    def renewals(self) -> EndOfCredentials: ...
