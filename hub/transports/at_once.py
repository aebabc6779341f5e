"""Handling that begins where the server calls, without a task's turn: nearly every message is done with before it would have to wait.

A coroutine is stepped once at the moment at which its message has come. Most end there. One that waits for something goes on in the task of
its connection, which it was told it is in from the beginning: what asks for the current task (``asyncio.timeout``) gets that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any


class Begun:
    """Work that has been begun and waits for something; awaiting it goes on with it."""

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
                except BaseException as fault:  # the task was cancelled: that is the work's to hear
                    waits_for = self._work.throw(fault)
                else:
                    waits_for = self._work.send(got)
        except StopIteration:
            return


async def _failed(fault: Exception) -> None:
    raise fault


def begin(work: Coroutine[Any, Any, object], task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> Awaitable[None] | None:
    """Take the first step of ``work`` as ``task``, which waits for something meanwhile; None when that was all of it.

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
