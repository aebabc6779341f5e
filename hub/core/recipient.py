"""A session as fan-outs, the flusher and the budget of queues see it. Its class imports them, so they cannot import it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from hub.core.frames import FrameCache
from hub.core.message import Message


class Recipient(Protocol):
    """See :class:`hub.core.subscriber.Subscriber`, which says what each of these does."""

    dirty: bool
    direct_write: Callable[[bytes], object] | None

    @property
    def waiting(self) -> Sequence[Message]: ...

    @property
    def queued_bytes(self) -> int: ...

    @property
    def unread_bytes(self) -> int: ...

    @property
    def frame_cache(self) -> FrameCache: ...

    @property
    def recovery(self) -> object: ...

    def offer(self, message: Message) -> None: ...

    def take_in(self, messages: Iterable[Message]) -> None: ...

    def hand_over(self, messages: Iterable[Message]) -> None: ...

    def flush(self) -> None: ...

    def shed(self) -> None: ...


class FaultObserver(Protocol):
    """Called with a session and the exception that its flush raised. The flush of other sessions goes on."""

    def __call__(self, subscriber: Recipient, error: Exception, /) -> None: ...
