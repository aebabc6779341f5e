"""Which lines of the product a test process runs: measured by SlipCover, told by coverage.py.

`make test COVERAGE=1` and `make cover` load this as a plugin, by ``PYTEST_PLUGINS``, before anything imports the product. SlipCover
puts a probe into each line as a module is imported, and takes it out again once the line has run: a tenth of the tests' CPU, where a tracer
takes as much again as they do (Python 3.11 has no ``sys.monitoring``). Each process writes a data file of coverage.py, which combines and
reports them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import pytest
import slipcover
from coverage import CoverageData

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = (ROOT / "hub", ROOT / "channels")

_PROBES: Final = slipcover.Slipcover()


def _begin() -> None:
    """Measure the modules that are imported from now on.

    Raises:
        RuntimeError: some of the product was imported before: its lines would count as not run.
    """
    if early := sorted(name for name in sys.modules if name.partition(".")[0] in {source.name for source in SOURCES}):
        raise RuntimeError(f"expected no module of the product before its lines are measured, got {', '.join(early)}")
    slipcover.ImportManager(_PROBES, slipcover.FileMatcher([*SOURCES])).__enter__()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have no pytest that a test starts measure anything: its lines would be those of another run."""
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        os.environ.pop("PYTEST_PLUGINS", None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was run, and the names of all files, so that one that nothing imports counts as not run."""
    write_data(session.config.rootpath / f".coverage.{os.getpid()}")


def write_data(path: Path) -> None:
    """Write a data file of coverage.py."""
    data = CoverageData(str(path))
    data.add_lines({str(ROOT / name): found["executed_lines"] for name, found in _PROBES.get_coverage()["files"].items()})
    data.touch_files([str(file) for source in SOURCES for file in source.rglob("*.py")])
    data.write()


_begin()
