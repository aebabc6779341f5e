"""A subscription as the user of the client sees it: an iterator of messages with a bounded queue."""

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
"""Seconds for which the end of ``async with`` waits for the server: it has ended here anyway."""


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
        give_up: Undoes it on the server. With a number of seconds it waits for so long at most, and raises nothing.

    Raises:
        ValueError: an option is none of those.
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
        """How far it has come, pattern by pattern."""
        self.joining: Joining | None = None
        """Set while it is replayed what another subscription of the client hears directly."""
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

    @property
    def positions(self) -> dict[str, int | None]:
        """For each pattern, from where it goes on after a reconnect: the last position that came, or what was asked for."""
        return {pattern: cursor.since for pattern, cursor in self.cursors.items()}

    @property
    def without_log(self) -> tuple[str, ...]:
        """Of the patterns that were subscribed to with a replay, those of which the server says that it keeps no log: nothing is replayed
        there, and what comes while there is no connection is lost. Empty where the server does not say.
        """
        return tuple(pattern for pattern, cursor in self.cursors.items() if cursor.unlogged)

    def put(self, message: Message, cursors: Iterable[ReplayCursor] = ()) -> bool:
        """A message came, which these cursors have reached by it. False when the queue ran over, which ended the subscription."""
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
        """A message came that may come again. False when there are too many of those, which ended the subscription."""
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
        """No more messages come: the iteration yields those that wait, then ends or raises ``error``."""
        if self._open:
            self._open = False
            self._error = error
            self._wake.set()

    async def unsubscribe(self) -> None:
        """Give it up. What waits is still handed out. Does nothing on one that has ended. Without a connection it returns at once: the
        server is notified when there is one.

        Raises:
            ConnectionLostError: the server went away before it answered; it will not be asked for these channels again.
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

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._subscription is not None:
            await self._subscription.__aexit__(kind, error, trace)
