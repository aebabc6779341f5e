"""A loop that the test steps through: what awaits an answer of the outside world stops there, and goes on when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class _Pause:
    """Awaiting it gives control back to whoever steps the work."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


class SteppedSignal:
    """:class:`hub.core.ports.Signal`: whoever awaits it is paused until it was given, however often it is stepped."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given = False

    def __await__(self) -> Generator[None, None, None]:
        while not self._given:
            yield

    def set_result(self, result: None, /) -> None:
        assert not self._given
        self._given = True

    def done(self) -> bool:
        return self._given


class Work:
    """One coroutine that is under way, and what is done with its result."""

    __slots__ = ("_coroutine", "_then")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], then: Callable[[Any], object]) -> None:
        self._coroutine = coroutine
        self._then = then

    def step(self) -> bool:
        """Run on to the next pause; True when it has ended. What the coroutine raises is raised here."""
        try:
            self._coroutine.send(None)
        except StopIteration as end:
            self._then(end.value)
            return True
        return False


class SteppedLoop:
    """:class:`hub.core.ports.Loop` for one test. While it is ``slow``, the ports that wait for the outside world stop at :meth:`answer`."""

    def __init__(self) -> None:
        self.slow = False
        self.paused: list[Work] = []
        self._callbacks: list[Callable[[], object]] = []

    async def answer(self) -> None:
        """The outside world takes its time, if it is slow."""
        if self.slow:
            await _Pause()

    async def breathe(self) -> None:
        await self.answer()

    def signal(self) -> SteppedSignal:
        return SteppedSignal()

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.call_soon(lambda: self.start(work))

    def start(self, work: Coroutine[Any, Any, Any], then: Callable[[Any], object] = lambda _: None) -> None:
        """Run until it ends, or until its first pause."""
        self._step(Work(work, then))

    def go_on(self, index: int) -> None:
        """Let one of those that are paused run on."""
        self._step(self.paused.pop(index))

    def _step(self, work: Work) -> None:
        if not work.step():
            self.paused.append(work)

    def tick(self) -> None:
        """What is due now, not what that makes due."""
        now, self._callbacks = self._callbacks, []
        for callback in now:
            callback()

    def settle(self) -> None:
        """Until nothing is due any more; what is paused stays so."""
        while self._callbacks:
            self.tick()

    def finish(self) -> None:
        """Until everything has ended."""
        self.slow = False
        while self._callbacks or self.paused:
            self.settle()
            if self.paused:
                self.go_on(0)
