"""The hub as its sessions see it: what they read of it, and what they ask of it. Its class stands above them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry
from hub.core.fan_out import FanOuts
from hub.core.flusher import Flusher
from hub.core.frames import FrameCaches
from hub.core.limits import Limits
from hub.core.ports import Clock, Loop
from hub.core.principal import Principal
from hub.core.timers import Timers

S = TypeVar("S", contravariant=True)


class SessionHub(Protocol[S]):
    """See :class:`hub.core.hub.Hub`, which says what each of these does. ``S`` is the sessions' class."""

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
    def subscribers(self) -> Mapping[str, object]: ...

    def attach(self, subscriber: S, /) -> None: ...

    def detach(self, subscriber: S, /) -> None: ...

    def arrives(self, address: str | None) -> None: ...

    def login_arrived(self, principal: Principal) -> None: ...

    def login_left(self, principal: Principal) -> None: ...

    def unsubscribe(self, subscriber: S, patterns: Iterable[str], /) -> None: ...

    def replay(self, subscriber: S, /) -> None: ...

    def resync(self, subscriber: S, /) -> None: ...

    def position(self, tenant: str) -> int | None: ...
