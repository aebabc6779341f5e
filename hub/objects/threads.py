"""The threads in which files of stores are read, written and hashed. They are few, and no other part of the hub waits for one: a folder
that hangs holds up its own files alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from hub.giving_way import give_way

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 4
"""Threads that wait for a disk."""

_NICER: Final = 10
"""How much nicer than the process threads are that compute. By the scheduler of Linux the event loop then gets nine tenths of a core that
it and one of them want.
"""

_READING: Final = "objects"
_HASHING: Final = "hashing"
_SENDING: Final = "sending"

_KINDS: Final[Mapping[str, tuple[int, int]]] = {
    _READING: (THREADS, 0),
    # One: where the loop takes a core from a thread that holds Python's lock, it waits for that thread. With one, the core is that one's
    # again at once; with four, the three that compute without the lock are in front of it, each for its share of time. One hashes
    # 300 MiB/s.
    _HASHING: (1, _NICER),
    # Two: one may wait for a disk, with a file that nobody has asked for lately.
    _SENDING: (2, _NICER),
}
"""Threads of each kind, and how much nicer than the process they are."""

_pools: Final[dict[str, ThreadPoolExecutor]] = {}
"""Made when they are first needed."""


def _pool(name: str) -> ThreadPoolExecutor:
    if name not in _pools:
        threads, nicer = _KINDS[name]
        _pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=give_way, initargs=(nicer,))
    return _pools[name]


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call that waits for a disk. If the caller is cancelled, the call ends all the same.

    Raises:
        Exception: what the call raises.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool(_READING), partial(call, *args, **kwargs))


async def in_hashing_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As :func:`in_thread`, of a call that computes.

    Raises:
        Exception: what the call raises.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool(_HASHING), partial(call, *args, **kwargs))


async def in_sending_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As :func:`in_thread`, of a call that has the operating system copy bytes.

    Raises:
        Exception: what the call raises.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool(_SENDING), partial(call, *args, **kwargs))


def end_threads() -> None:
    """End the threads, and wait for what they do: a process that forks must have none. The next call makes new ones."""
    while _pools:
        _, pool = _pools.popitem()
        pool.shutdown()
