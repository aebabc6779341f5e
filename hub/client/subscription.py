"""A subscription of a client: an asynchronous iterator of messages with a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Final, Literal, get_args

from hub.client.conversation import ALL, Message
from hub.client.errors import OverflowedError
from hub.client.replay_cursor import Joining, ReplayCursor

Overflow = Literal["raise", "drop_oldest"]
Gap = Literal["raise", "all", "new"]
LEAVE_WITHIN_S: Final = 2.0
"""Seconds for which the end of ``async with`` waits for the server's answer. The subscription ends in the client without it."""


class Subscription:
    """Messages of some channels, in the order in which they came. Iterate over it with ``async for``.

    The iteration ends after :meth:`unsubscribe` or when the client is closed. Otherwise it raises the error that ended it: the server ended
    the session, the queue overflowed, or (:class:`~hub.client.errors.ReplayError`) messages may be missing after a reconnect.

    Args:
        patterns: Channels, and patterns such as ``/a/*`` and ``/a/**``.
        replay: Where it begins on log channels: a position, ALL, NEW or None.
        max_queue: Messages that may wait for the consumer.
        on_overflow: What happens when more messages wait: ``raise`` ends the subscription after the consumer has read the messages in the
            queue; ``drop_oldest`` drops the oldest one, and counts it in :attr:`dropped`.
        on_gap: What happens if the server cannot resume from the last position: ``raise`` ends the subscription, ``all`` replays every
            message that the log keeps, with repeats, ``new`` continues with new messages.
        give_up: Unsubscribes on the server. With a number of seconds it waits at most so long, and raises nothing.

    Raises:
        ValueError: an option has a value that is not allowed.
    """

    __slots__ = (
        "_error",
        "_give_up",
        "_messages",
        "_open",
        "_wake",
        "cursors",
        "dropped",
        "joining",
        "max_queue",
        "on_gap",
        "on_overflow",
        "patterns",
    )

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        replay: int | None,
        max_queue: int,
        on_overflow: Overflow,
        on_gap: Gap,
        give_up: Callable[[Subscription, float | None], Awaitable[None]],
    ) -> None:
        if max_queue < 1:
            raise ValueError(f"max_queue: expected 1 or more, got {max_queue}")
        if on_overflow not in get_args(Overflow):
            raise ValueError(f"on_overflow: expected one of {', '.join(get_args(Overflow))}, got {on_overflow!r}")
        if on_gap not in get_args(Gap):
            raise ValueError(f"on_gap: expected one of {', '.join(get_args(Gap))}, got {on_gap!r}")
        if replay is not None and (not isinstance(replay, int) or replay < ALL):
            raise ValueError(f"replay: expected a position, ALL ({ALL}) or NEW, got {replay!r}")
        self.patterns = tuple(dict.fromkeys(patterns))
        self.cursors: dict[str, ReplayCursor] = {pattern: ReplayCursor(replay) for pattern in self.patterns}
        """For each pattern, the position that the subscription has reached."""
        self.joining: Joining | None = None
        """Set while the server replays messages for this subscription, and another subscription of the client hears the same channels."""
        self.max_queue = max_queue
        self.on_overflow = on_overflow
        self.on_gap = on_gap
        self.dropped = 0
        """Messages that were dropped because the consumer was slow."""
        self._give_up = give_up
        self._messages: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._open = True
        self._error: BaseException | None = None

    @property
    def waiting(self) -> int:
        """Messages in the queue, which the consumer has not read."""
        return len(self._messages)

    @property
    def is_open(self) -> bool:
        """Whether messages may still come."""
        return self._open

    @property
    def positions(self) -> dict[str, int | None]:
        """For each pattern, the position to resume from in a new session: the last one that came, or the one of ``replay``."""
        return {pattern: cursor.since for pattern, cursor in self.cursors.items()}

    @property
    def without_log(self) -> tuple[str, ...]:
        """The patterns that were subscribed to with a replay and for which the server keeps no log: nothing is replayed there, and messages
        published while there is no connection are lost. Empty if the server does not tell which channels have a log.
        """
        return tuple(pattern for pattern, cursor in self.cursors.items() if cursor.unlogged)

    def put(self, message: Message, cursors: Iterable[ReplayCursor] = ()) -> bool:
        """Add a message to the queue, and move ``cursors`` to its position. False if the queue overflowed, which ends the subscription."""
        if len(self._messages) >= self.max_queue:
            self.dropped += 1
            if self.on_overflow == "raise":
                return self._overflow()
            self._messages.popleft()
        if message.position is not None:
            for cursor in cursors:
                cursor.reach(message.position)
        self._messages.append(message)
        self._wake.set()
        return True

    def hold(self, message: Message, joining: Joining) -> bool:
        """Hold back a message that may come again with the replay. False if too many are held, which ends the subscription."""
        if len(joining.held) >= self.max_queue:
            return self._overflow()
        joining.held.append(message)
        return True

    def _overflow(self) -> bool:
        self.end(
            OverflowedError(
                f"{', '.join(self.patterns)}: more than {self.max_queue:,} messages waited for the consumer; "
                "read faster, raise max_queue, or use on_overflow='drop_oldest'"
            )
        )
        return False

    def end(self, error: BaseException | None = None) -> None:
        """Take no more messages: the iteration yields those in the queue, then ends or raises ``error``."""
        if self._open:
            self._open = False
            self._error = error
            self._wake.set()

    async def unsubscribe(self) -> None:
        """End the subscription. The consumer can still read the messages in the queue. Does nothing if it has ended already. Without a
        connection it returns at once, and the client unsubscribes when there is one.

        Raises:
            ConnectionLostError: the server went away before it answered; the client does not subscribe to these channels again.
        """
        if self._open:
            self.end()
            await self._give_up(self, None)

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

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open:
            self.end()
            await self._give_up(self, LEAVE_WITHIN_S)


class Subscribing:
    """The result of ``client.subscribe(...)``: await it, or use it in ``async with``, which unsubscribes at its end."""

    __slots__ = ("_subscribe", "_subscription")

    def __init__(self, subscribe: Callable[[], Awaitable[Subscription]]) -> None:
        self._subscribe = subscribe
        self._subscription: Subscription | None = None

    def __await__(self) -> Generator[object, None, Subscription]:
        return self._subscribe().__await__()

    async def __aenter__(self) -> Subscription:
        self._subscription = await self._subscribe()
        return self._subscription

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._subscription is not None:
            await self._subscription.__aexit__(kind, error, trace)
