"""When the garbage collector of a process works: not while it starts, and not when it ends."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Collect no garbage within. Imports and the building of a hub make a hundred thousand objects that all stay: the collector would look
    through them again and again, for a tenth of the start.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def skip_at_exit() -> None:
    """Have the interpreter look for no garbage when it ends: it would look through all objects several times, half a second of a hub. Call
    it when the work of the process is done; open files are still closed, and functions of ``atexit`` still run.
    """
    gc.freeze()
