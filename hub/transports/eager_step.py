"""Runs the first step of a coroutine directly in the server's callback, not in a task: nearly every message is handled in one step.

A coroutine that has to wait continues in the task of its connection. That task is the current one in the first step too, so that
``asyncio.timeout`` works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any


class StartedWork:
    """A coroutine that has run its first step and waits for something. To await this object runs the rest of the coroutine."""

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
                except BaseException as error:  # such as the cancellation of the task: raise it in the coroutine
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(got)
        except StopIteration:
            return


async def _failed(error: Exception) -> None:
    raise error


def eager_step(work: Coroutine[Any, Any, object], task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> Awaitable[None] | None:
    """Take the first step of ``work`` as if in ``task``, which is suspended. Return what ``task`` must await; None if ``work`` has ended.

    Call it from a callback of the server, not from a task.
    """
    # an interface for other implementations of tasks: docs.python.org/3/library/asyncio-extending.html, "Task lifetime support"
    asyncio._enter_task(loop, task)
    try:
        return StartedWork(work, work.send(None))
    except StopIteration:
        return None
    except Exception as error:
        return _failed(error)
    finally:
        asyncio._leave_task(loop, task)
