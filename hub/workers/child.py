"""A process that the parent has started, and that does not outlive it (``PR_SET_PDEATHSIG``, prctl(2))."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol

_PR_SET_PDEATHSIG: Final = 1
_ORPHANED: Final = 111
"""Exit code of a child whose parent had ended before the child could ask to end with it."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def can_watch() -> bool:
    """Whether this system has what a parent needs: Linux 5.3 or later."""
    return hasattr(os, "pidfd_open") and hasattr(_libc, "prctl")


def end_with(parent: int) -> None:
    """Have the system end this process with ``parent``, which has just started it. Between fork and exec: no more than two system calls."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_ORPHANED)


class Process(Protocol):
    """What :class:`Child` needs of :class:`subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> int: ...


class Child:
    """One process. Make it in the main thread and in the running event loop: the system ends a child with the thread that started it."""

    __slots__ = ("_descriptor", "_process", "began", "ended")

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        keep: Sequence[int] = (),
        stdout: int | None = None,
        private: bool = False,
    ) -> None:
        """Start it. ``keep``: the descriptors that it inherits; ``stdout``: where its output goes, by default to this process's;
        ``private``: nobody else may read the files that it makes.

        Raises:
            OSError: there is no such program.
        """
        loop = asyncio.get_running_loop()
        self._process = self._begin(command, environment, keep, stdout, private)
        self.began = loop.time()
        self.ended: asyncio.Future[int] = loop.create_future()
        """The exit code; negative: the signal that ended it."""
        self._descriptor = os.pidfd_open(self._process.pid)
        loop.add_reader(self._descriptor, self._exited)

    def _begin(
        self, command: Sequence[str], environment: Mapping[str, str], keep: Sequence[int], stdout: int | None, private: bool
    ) -> Process:
        return subprocess.Popen(  # noqa: S603  # the hub's own command, or the bundled program
            command,
            env=dict(environment),
            pass_fds=tuple(keep),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            umask=0o077 if private else -1,
            process_group=0,  # Ctrl-C in a terminal is for the parent, which tells its workers
            preexec_fn=partial(end_with, os.getpid()),  # the parent has no threads
        )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if not self.ended.done():
            signal.pidfd_send_signal(self._descriptor, number)

    async def end_within(self, seconds: float) -> int | None:
        """Wait for its end; None if it has not ended within these seconds."""
        await asyncio.wait([self.ended], timeout=seconds)
        return self.ended.result() if self.ended.done() else None

    def _exited(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.ended.set_result(self._process.wait())


def how(code: int) -> str:
    """How a process ended, in words."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
