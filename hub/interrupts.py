"""Ctrl-C while a command is still importing what it needs."""

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
    """For the time of imports: Ctrl-C ends the process with 130, at once and without a traceback. Nothing has begun then that could be
    left half done. Where SIGINT is ignored, as in a shell's background jobs, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
