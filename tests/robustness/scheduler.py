"""An event loop that the test steps through. Work that waits for an answer of the outside world stops there, and continues when the test
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class _Pause:
    """Awaiting it gives control back to the code that steps the work."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


class SteppedSignal:
    """A :class:`hub.core.ports.Signal`. Work that awaits it is paused until the signal is set, however often the work is stepped."""

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
    """One coroutine that is running, and the callback for its result."""

    __slots__ = ("_coroutine", "_then")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], then: Callable[[Any], object]) -> None:
        self._coroutine = coroutine
        self._then = then

    def step(self) -> bool:
        """Run until the next pause. Returns True when the coroutine has ended; its exception is raised here."""
        try:
            self._coroutine.send(None)
        except StopIteration as end:
            self._then(end.value)
            return True
        return False


class SteppedLoop:
    """The :class:`hub.core.ports.Loop` of one test. While it is ``slow``, ports that wait for the outside world stop at :meth:`answer`."""

    def __init__(self) -> None:
        self.slow = False
        self.paused: list[Work] = []
        self._callbacks: list[Callable[[], object]] = []

    async def answer(self) -> None:
        """Pause the caller if the outside world is slow."""
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
        """Run a coroutine until it ends or pauses for the first time."""
        self._step(Work(work, then))

    def go_on(self, index: int) -> None:
        """Continue one of the paused coroutines."""
        self._step(self.paused.pop(index))

    def _step(self, work: Work) -> None:
        if not work.step():
            self.paused.append(work)

    def tick(self) -> None:
        """Run the callbacks that are due now, but not those that they schedule."""
        now, self._callbacks = self._callbacks, []
        for callback in now:
            callback()

    def settle(self) -> None:
        """Run until no callback is due any more. Paused coroutines stay paused."""
        while self._callbacks:
            self.tick()

    def finish(self) -> None:
        """Run until every coroutine has ended."""
        self.slow = False
        while self._callbacks or self.paused:
            self.settle()
            if self.paused:
                self.go_on(0)
