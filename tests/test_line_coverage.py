"""What `make cover` measures, in runs of their own, of a file made for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

ROOT = Path(__file__).parents[1]

TESTS = """
def test_one():
    from hub.core.positions import Positions

    assert Positions().newest("acme") is None

def test_what_is_started_here_is_not_measured():
    import os

    assert "PYTEST_PLUGINS" not in os.environ
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in that folder, with the lines of the product measured."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(TESTS)
    options = ["-p", "xdist", f"--rootdir={folder}", "-c", str(folder / "pytest.ini"), *arguments]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "tests.support.line_coverage"}
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)


def line_of(file: Path, text: str) -> int:
    (number,) = (number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)
    return number


@pytest.mark.parametrize("processes", ["0", "1"])
def test_lines_that_ran_are_told_and_no_others(tmp_path: Path, processes: str) -> None:
    done = run(tmp_path, "-n", processes)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = CoverageData(str(tmp_path / ".coverage"))
    for file in tmp_path.glob(".coverage.*"):
        data = CoverageData(str(file))
        data.read()
        measured.update(data)
    positions = ROOT / "hub/core/positions.py"
    lines = set(measured.lines(str(positions)) or [])
    assert line_of(positions, "return self._newest.get(tenant)") in lines
    assert line_of(positions, "self._newest[tenant] = position") not in lines
    assert measured.lines(str(ROOT / "channels/main.py")) == []  # nothing imported it, and it counts all the same


def test_a_product_that_was_imported_before_is_refused() -> None:
    command = [sys.executable, "-c", "import hub.core.positions, tests.support.line_coverage"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected no module of the product before its lines are measured, got hub, hub.core, hub.core.positions" in done.stderr
