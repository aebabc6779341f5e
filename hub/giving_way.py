"""Threads that work beside the event loop, and let it go first where both want one core."""

from __future__ import annotations

import os


def give_way(nicer: int) -> None:
    """Make the calling thread nicer than the process by ``nicer``, where the system can do that."""
    if hasattr(os, "setpriority"):
        # to Linux a thread is a process, and 0 is the one that asks
        os.setpriority(os.PRIO_PROCESS, 0, min(19, os.getpriority(os.PRIO_PROCESS, 0) + nicer))
