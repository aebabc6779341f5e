"""Starts to handle a message in the server's callback, without waiting for a task: nearly every message is handled without a wait.

The coroutine is stepped once when its message has come. Most end there. One that has to wait goes on in the task of
its connection. Already in the first step that is the current task, so that ``asyncio.timeout`` works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any


class Begun:
    """A coroutine that was started and waits for something. Awaiting it goes on with it."""

    __slots__ = ("_waits_for", "_work")

    def __init__(self, work: Coroutine[Any, Any, object], waits_for: object) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    got = yield waits_for
                except GeneratorExit:
                    self._work.close()
                    raise
                except BaseException as fault:  # the task was cancelled: the coroutine has to see that
                    waits_for = self._work.throw(fault)
                else:
                    waits_for = self._work.send(got)
        except StopIteration:
            return


async def _failed(fault: Exception) -> None:
    raise fault


def begin(work: Coroutine[Any, Any, object], task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> Awaitable[None] | None:
    """Take the first step of ``work`` as if in ``task``, which is suspended. Returns None if ``work`` has ended by that.

    Call it from no task: a server's callback. What is returned is to be awaited by ``task``.
    """
    # for implementations of tasks by others: docs.python.org/3/library/asyncio-extending.html, "Task lifetime support"
    asyncio._enter_task(loop, task)
    try:
        return Begun(work, work.send(None))
    except StopIteration:
        return None
    except Exception as fault:
        return _failed(fault)
    finally:
        asyncio._leave_task(loop, task)
