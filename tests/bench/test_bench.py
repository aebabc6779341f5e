"""Each benchmark runs once, tiny: it comes to its end, and loses nothing on the way. No time is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scenarios import SCENARIOS, fitted

ROOT = Path(__file__).parents[2]

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="there is no C compiler")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@needs_compiler
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "peers"])  # those are installed from elsewhere
def test_a_scenario_comes_to_its_end(scenario: str, tmp_path: Path) -> None:
    done = bench(scenario, "--tiny", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "bench.json").read_text())
    (result,) = document["results"]
    assert result["rows"]
    assert all(isinstance(row["value"], float | int) for row in result["rows"])
    for name, run in result["detail"].items():
        for each in run if isinstance(run, list) and run and isinstance(run[0], dict) else []:
            assert each["lost_sessions"] == 0, name
            assert each["deliveries"] == each["expected"], name
    table = (tmp_path / "bench.md").read_text()
    assert all(row["what"] in table for row in result["rows"])


def test_an_unknown_scenario_is_refused_with_those_that_there_are() -> None:
    done = bench("fan-in")
    assert done.returncode == 2
    assert "expected scenarios of fan-out" in done.stderr
    assert "fan-in" in done.stderr


def test_the_line_through_points() -> None:
    assert fitted([(1, 13.0), (2, 15.0), (10, 31.0)]) == pytest.approx((11.0, 2.0))
    assert fitted([(1, 5.0)]) == (5.0, 0.0)
