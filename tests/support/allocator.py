"""The memory that the C library holds for test processes: one arena for all threads, which gives back what is free.

glibc lets each thread allocate from an arena of its own, up to eight for each core. ``malloc_trim`` gives the end of the first arena back
to the system, and of the others what lies before their end. That end may be 32 MiB large after one body of 16 MiB, in each arena, so
that a process that ran the tests of ``hub/objects`` and ``channels/secure_email`` kept 150 MiB of which it used nothing. Threads of
tests take turns anyway, for the interpreter's lock: they lose nothing by sharing one arena.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import MutableMapping
from typing import Final

_C: Final = ctypes.CDLL(None)

_ARENA_MAX: Final = "MALLOC_ARENA_MAX"
"""What glibc reads from the environment when a process starts."""

_M_ARENA_MAX: Final = -8
"""The same as a parameter of glibc's ``mallopt``."""


def share_arena() -> None:
    """Have all threads that this process starts from here on allocate from its one arena. Other C libraries than glibc have no arenas."""
    if hasattr(_C, "mallopt"):
        _C.mallopt(_M_ARENA_MAX, 1)


def start_with_one_arena(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have processes that are started from here on have one arena. Workers of xdist have threads before a plugin runs in them."""
    environment.setdefault(_ARENA_MAX, "1")


def start_as_usual(environment: MutableMapping[str, str] = os.environ) -> None:
    """In a process that was started with one arena: have those that it starts, hubs above all, run as users run them."""
    environment.pop(_ARENA_MAX, None)


def trim() -> None:
    """Give what is free back to the system."""
    if hasattr(_C, "malloc_trim"):
        _C.malloc_trim(0)
