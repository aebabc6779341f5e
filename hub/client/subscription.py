"""What a user of the client holds of a subscription: an iterator of messages in front of a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Literal

from hub.client.conversation import Message
from hub.client.errors import OverflowedError

Overflow = Literal["raise", "drop_oldest"]
Gap = Literal["raise", "all", "new"]


class Subscription:
    """Messages of some channels, in the order in which they came. Iterate over it with ``async for``.

    The iteration ends when the subscription is given up or the client is closed, and raises what ended it otherwise: the server ended the
    session, the queue ran over, or (:class:`~hub.client.errors.ReplayError`) something may be missing after a reconnect.

    Args:
        patterns: Channels, and patterns such as ``/a/*`` and ``/a/**``.
        replay: Where it begins on log channels: a position, ALL, NEW or None.
        max_queue: Messages that may wait for the consumer.
        on_overflow: What is done when more wait: ``raise`` ends the subscription once what waits has been handed out; ``drop_oldest`` goes
            on, and counts in :attr:`dropped`.
        on_gap: What is done when the server cannot resume from the position of before: ``raise`` ends the subscription, ``all`` takes all
            that is kept, with repeats, ``new`` goes on with what is new.
        give_up: Undoes it on the server.
    """

    __slots__ = (
        "_error",
        "_give_up",
        "_messages",
        "_open",
        "_wake",
        "begun",
        "dropped",
        "max_queue",
        "on_gap",
        "on_overflow",
        "patterns",
        "positions",
    )

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        replay: int | None,
        max_queue: int,
        on_overflow: Overflow,
        on_gap: Gap,
        give_up: Callable[[Subscription], Awaitable[None]],
    ) -> None:
        self.patterns = tuple(patterns)
        self.positions: dict[str, int | None] = dict.fromkeys(self.patterns, replay)
        """For each pattern, from where it goes on after a reconnect: the last position that came, or what was asked for."""
        self.begun: int | None = None
        """The newest message that had been sent when the server confirmed it in the present session; None before that."""
        self.max_queue = max_queue
        self.on_overflow = on_overflow
        self.on_gap = on_gap
        self.dropped = 0
        """Messages that were given up because the consumer was slow."""
        self._give_up = give_up
        self._messages: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._open = True
        self._error: BaseException | None = None

    @property
    def waiting(self) -> int:
        """Messages that came and that the consumer has not taken."""
        return len(self._messages)

    @property
    def is_open(self) -> bool:
        """Whether messages may still come."""
        return self._open

    def put(self, message: Message) -> bool:
        """A message came. False when the queue ran over, which ended the subscription."""
        if len(self._messages) >= self.max_queue:
            self.dropped += 1
            if self.on_overflow == "raise":
                self.end(
                    OverflowedError(
                        f"{', '.join(self.patterns)}: more than {self.max_queue:,} messages waited for the consumer; "
                        "read faster, raise max_queue, or use on_overflow='drop_oldest'"
                    )
                )
                return False
            self._messages.popleft()
        self._messages.append(message)
        self._wake.set()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Nothing comes any more: the iteration hands out what waits, then ends, or raises ``error``."""
        if self._open:
            self._open = False
            self._error = error
            self._wake.set()

    async def unsubscribe(self) -> None:
        """Give it up. What waits is still handed out. Does nothing on one that has ended.

        Raises:
            ConnectionLostError: the server went away before it answered; it will not be asked for these channels again.
        """
        if self._open:
            self.end()
            await self._give_up(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if not self._open:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._messages.popleft()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self.unsubscribe()


class Subscribing:
    """What ``client.subscribe(...)`` returns: await it, or use it in ``async with``, which unsubscribes at its end."""

    __slots__ = ("_subscribe", "_subscription")

    def __init__(self, subscribe: Callable[[], Awaitable[Subscription]]) -> None:
        self._subscribe = subscribe
        self._subscription: Subscription | None = None

    def __await__(self) -> Generator[object, None, Subscription]:
        return self._subscribe().__await__()

    async def __aenter__(self) -> Subscription:
        self._subscription = await self._subscribe()
        return self._subscription

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()
