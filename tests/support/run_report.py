"""What a test run says about itself at its end: the slowest tests and files, and how much memory each process took.

Loaded by ``tests/conftest.py``. Under xdist each worker sends its own figure to the controller, which prints the table. A process that
took more than ``max_memory_mb`` makes the run fail. One that hangs where not even pytest-timeout's signal stops it prints the stack of
every thread and exits: xdist then names the test and goes on with another worker. The two limits are settings of pytest, see
``pytest_addoption``.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import fastapi.dependencies.models
import pytest

from tests.support.allocator import share_arena, start_as_usual, start_with_one_arena, trim
from tests.support.time_limit import time_limit

SLOWEST: Final = 20
SLOWEST_FILES: Final = 10
SHORTEST_S: Final = 0.5
"""What takes less than this is not shown."""

GROWTH_MB: Final = 16
"""By how much a process may grow, in MiB, before its garbage is collected after the next test."""

ALL_GROWTH_MB: Final = 48
"""By how much it may grow, in MiB, before garbage is looked for among all objects."""

END_WITHIN_S: Final = 120.0
"""How long a process may take to end after its last test."""

_MEMORY: Final = "peak_memory_mb"


class RunReport:
    """Collects durations and memory in the process that prints them."""

    def __init__(self, max_memory_mb: int) -> None:
        self._max_memory_mb = max_memory_mb
        self._seconds: Counter[str] = Counter()
        self._memory_mb: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up set-up, call and teardown of a test."""
        self._seconds[report.nodeid] += report.duration  # type: ignore[assignment]  # a Counter adds floats as well

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the figure of a worker that has ended; one that crashed sends none."""
        memory = getattr(node, "workeroutput", {}).get(_MEMORY)
        if memory is not None:
            self._memory_mb[node.gateway.id] = memory

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run in which a process took too much memory."""
        if not self._memory_mb:
            self._memory_mb["this process"] = peak_memory_mb()
        if self._too_large() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the tables."""
        write = terminalreporter.write_line
        if rows := [row for row in self._seconds.most_common(SLOWEST) if row[1] >= SHORTEST_S]:
            terminalreporter.section(f"slowest {SLOWEST} tests, in seconds with set-up and teardown")
            for name, seconds in rows:
                write(f"{seconds:7.1f}  {name}")
            write(f"slowest {SLOWEST_FILES} files, of {sum(self._seconds.values()):.0f} s in all:")
            for name, seconds in self._files().most_common(SLOWEST_FILES):
                write(f"{seconds:7.1f}  {name}")
        write("peak memory: " + ", ".join(f"{name} {memory} MiB" for name, memory in sorted(self._memory_mb.items())))
        if large := self._too_large():
            write(f"expected at most {self._max_memory_mb} MiB in a test process, got more in {', '.join(large)}: the run fails", red=True)

    def _files(self) -> Counter[str]:
        files: Counter[str] = Counter()
        for name, seconds in self._seconds.items():
            files[name.partition("::")[0]] += seconds
        return files

    def _too_large(self) -> list[str]:
        return sorted(name for name, memory in self._memory_mb.items() if memory > self._max_memory_mb)


def peak_memory_mb() -> int:
    """The largest resident memory that this process has had, in MiB. ``ru_maxrss`` would count what forked it, too."""
    return _memory_mb("VmHWM")


def _memory_mb(what: str) -> int:
    """A figure of this process in ``/proc/self/status``, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.split()[0]) // 1024
    raise RuntimeError(f"expected a line {what} in /proc/self/status")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The limits of a process."""
    parser.addini("max_memory_mb", "resident memory, in MiB, that one test process may have had at most", default="600")
    parser.addini("hang_grace_s", "seconds after a test's time limit, after which its process prints its stacks and exits", default="30")


def pytest_configure(config: pytest.Config) -> None:
    """Print where there is a terminal: in the one process, or in xdist's controller. Threads share an arena where tests run."""
    if hasattr(config, "workerinput"):
        start_as_usual()
    else:
        config.pluginmanager.register(RunReport(int(config.getini("max_memory_mb"))))
        if config.getoption("numprocesses", None):
            start_with_one_arena()
    share_arena()
    # standard error as it is now: while tests run it is captured
    config.stash[_stderr] = os.dup(2)


_stderr = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without garbage collection: all that is made stays, and would be looked through again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep what collection made out of garbage collection.

    Python collects the oldest generation only when a quarter as much was added to it as it holds. Beside the objects of 8,000 tests the
    garbage of a few tests, most of it bytes that are not counted, grew past a gigabyte before that.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # what the oldest generation holds is counted here: nothing
    _frozen.watch()


class _Frozen:
    """Knows whether something is kept out of garbage collection. ``gc.get_freeze_count`` counts a million objects for that."""

    def __init__(self) -> None:
        self.still = True
        self._freeze = gc.freeze
        self._unfreeze = gc.unfreeze

    def watch(self) -> None:
        """Note it from here on."""
        gc.freeze = self.freeze  # type: ignore[assignment]
        gc.unfreeze = self.unfreeze  # type: ignore[assignment]

    def freeze(self) -> None:
        self._freeze()
        self.still = True

    def unfreeze(self) -> None:
        self._unfreeze()
        self.still = False


_frozen: Final = _Frozen()


_FASTAPI_CACHES: Final = tuple(value for value in vars(fastapi.dependencies.models).values() if hasattr(value, "cache_clear"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Let go of what tests made when their file is over, also when the end of one fails, and as soon as the process has grown by it.

    FastAPI keeps what it found out of the last 4,096 functions that answer requests, and each of these holds its application: 66 hubs of
    a megabyte each. boto3 keeps the descriptions of the services that its clients called: 40 MiB for Amazon Connect. An exception that is a
    parameter of a test has a traceback once it was raised, and with it all that the functions in it had: a whole hub. A worker of xdist
    keeps the report of each test, with what the test logged, for a summary that only the controller prints.

    The collector would come when there are many objects, and not when few of them hold bodies of 16 MiB. What the C library has free goes
    back to the system.

    Raises:
        RuntimeError: a test has put what collection made back into garbage collection, which would come too seldom from here on.
    """
    stash = item.config.stash
    try:
        yield
    finally:
        over = nextitem is None or nextitem.path != item.path
        if over and "boto3" in sys.modules:
            sys.modules["boto3"].DEFAULT_SESSION = None
        _forget_raised(item)
        if over or _memory_mb("VmRSS") > stash.get(_after_collection, 0) + GROWTH_MB:
            _forget(item.config)
            gc.collect()
            trim()
            stash[_after_collection] = _memory_mb("VmRSS")
            if _frozen.still:
                _keep_out(stash)
            else:
                gc.freeze()
                problem = f"expected what collection made to be kept out of garbage collection, got gc.unfreeze() in {item.path.name}"
                raise RuntimeError(problem)


_after_collection = pytest.StashKey[int]()
_after_all = pytest.StashKey[int]()


def _keep_out(stash: pytest.Stash) -> None:
    """Keep what tests left, most of it modules, out of garbage collection: it grows to hundreds of thousands of objects, which were looked
    through after each file, a twentieth of the CPU of a run. Whether some of it has become garbage is seen each time that the process has
    grown by :data:`ALL_GROWTH_MB`.
    """
    now = stash[_after_collection]
    if now > stash.setdefault(_after_all, now) + ALL_GROWTH_MB:
        gc.unfreeze()
        gc.collect()
        trim()
        stash[_after_all] = stash[_after_collection] = _memory_mb("VmRSS")
    gc.freeze()


def _forget(config: pytest.Config) -> None:
    """Empty what keeps the objects of tests that are over."""
    for cache in _FASTAPI_CACHES:
        cache.cache_clear()
    if hasattr(config, "workerinput"):
        terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        terminal.stats.clear()


def _forget_raised(item: pytest.Item) -> None:
    """Take from the exceptions among a test's parameters where they were raised."""
    callspec = getattr(item, "callspec", None)
    for value in callspec.params.values() if callspec is not None else ():
        if isinstance(value, BaseException):
            value.__traceback__ = value.__context__ = None


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the process, with every thread's stack, when the signal of pytest-timeout did not end the test."""
    if limit := time_limit(item):
        grace = float(item.config.getini("hang_grace_s"))
        faulthandler.dump_traceback_later(limit + grace, exit=True, file=item.config.stash[_stderr])
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send a worker's memory to the controller, and have a process that hangs from here on print its stacks and exit."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_MEMORY] = peak_memory_mb()
    gc.freeze()  # the interpreter would look for garbage among a million objects when it ends
    faulthandler.dump_traceback_later(END_WITHIN_S, exit=True, file=session.config.stash[_stderr])
