"""The workers of a ``hub serve --workers N`` that was forked itself are its forks: they have the imports of the warm process behind them.

What a worker must not have of its parent, it gives back: descriptors, signals, environment, process group. It ends with its parent as one
that was started by a command does. ``HUB_TEST_COLD_WORKER=1`` in the environment of a hub has the worker of that number started by the
command, as users have all of them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

import hub.workers.process
from hub.workers.child import Child, Process, end_with
from hub.workers.seat import take_seat

COLD_WORKER = "HUB_TEST_COLD_WORKER"
_STANDARD = range(3)


class _Forked:
    """As :class:`subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fork_workers(cli: Callable[[], object]) -> None:
    """From now on this process and its forks fork their workers. ``cli`` is the installed command."""

    class ForkedWorker(Child):
        __slots__ = ()

        def _begin(
            self, command: Sequence[str], environment: Mapping[str, str], keep: Sequence[int], stdout: int | None, private: bool
        ) -> Process:
            seat = take_seat(environment)
            assert seat is not None
            if os.environ.get(COLD_WORKER) == str(seat.index):
                return super()._begin(command, environment, keep, stdout, private)
            parent = os.getpid()
            sys.stdout.flush()
            sys.stderr.flush()
            if pid := os.fork():
                return _Forked(pid)
            code = 1
            try:
                end_with(parent)
                _give_back(keep)
                code = _run(command, environment, cli)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)  # not back into the parent's loop

    hub.workers.process.Child = ForkedWorker  # type: ignore[misc]


def _give_back(keep: Sequence[int]) -> None:
    gc.freeze()  # the parent's objects stay: one that is freed would close a descriptor that may be another's by then
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    kept = {*_STANDARD, *keep}
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one that listed them is closed
                os.close(descriptor)
    for descriptor in keep:
        os.set_inheritable(descriptor, True)


def _run(command: Sequence[str], environment: Mapping[str, str], cli: Callable[[], object]) -> int:
    """Do what the command would, and return its exit code. ``command``: of :func:`hub.workers.parent.own_command`, or a module behind
    ``-m``.
    """
    os.environ.clear()
    os.environ.update(environment)
    _, program, *arguments = command
    try:
        if program == "-m":
            module, *arguments = arguments
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__")
            return 0
        sys.argv = [program, *arguments]
        sys.exit(cli())  # type: ignore[arg-type]
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
