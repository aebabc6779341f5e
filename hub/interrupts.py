"""Handles Ctrl-C while a command still imports its modules."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130
"""Exit code of a command that Ctrl-C ended: 128 + SIGINT, as shells have it."""


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def quiet_interrupts() -> Iterator[None]:
    """While this is open, Ctrl-C ends the process with exit code 130, at once and without a traceback. Use it around imports, before any
    work has begun. Where SIGINT is ignored, as in a shell's background jobs, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
