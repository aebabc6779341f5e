"""How long the pieces are that an event loop is held for, in CPU time: what else the machine does is not in it."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any


class Pieces:
    """Times each callback of the loop, in CPU time of its thread."""

    def __init__(self) -> None:
        self.longest_ns = 0
        self.where = ""
        self._measures = False
        self._run: Any = None

    def __enter__(self) -> Pieces:
        self._measures = True
        self._run = run = asyncio.events.Handle._run

        def timed(handle: Any) -> None:
            began = time.thread_time_ns()
            run(handle)
            took = time.thread_time_ns() - began
            # not the rest of the piece in which the measurement ends, which is the benchmark's own
            if took > self.longest_ns and self._measures:
                self.longest_ns, self.where = took, repr(handle)[:300]

        asyncio.events.Handle._run = timed  # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._measures = False
        asyncio.events.Handle._run = self._run  # type: ignore[method-assign]
