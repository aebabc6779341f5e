"""Each benchmark runs once, tiny: it comes to its end, and loses nothing on the way. No time is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.peers.servers import STARTS
from bench.picture import draw
from bench.scenarios import SCENARIOS, fitted

ROOT = Path(__file__).parents[2]

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="there is no C compiler")


@needs_compiler
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "peers"])  # those are installed from elsewhere
def test_a_scenario_comes_to_its_end(scenario: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main([scenario, "--tiny", "--out", str(tmp_path)])  # here, where hubs are forked: a process of its own would start each of them cold
    said = "".join(capfd.readouterr())
    assert "[error" not in said, said  # what a hub in this process has logged
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


def test_the_picture_shows_what_was_measured(tmp_path: Path) -> None:
    run = {"p50_ms": 9.0, "p90_ms": 15.0, "p99_ms": 21.0, "p999_ms": 24.0}
    results = {
        "latency": {"runs": [run, run, {**run, "p99_ms": 99.0}]},
        "growth": {"100": {"hub": 80_000.0, "C limit": 100_000.0}, "10000": {"hub": 40_000.0, "C limit": 90_000.0}},
    }
    first, again = tmp_path / "first.svg", tmp_path / "again.svg"
    assert draw(results, first, "a machine")
    assert draw(results, again, "a machine")
    picture = first.read_text()
    assert picture == again.read_text()
    for text in ("20 messages/s to 1,000 clients", "C limit", "thousand deliveries/s", "99.9 %", "a machine"):
        assert text in picture
    assert "others are served" not in picture  # was not measured


def test_nothing_measured_is_no_picture(tmp_path: Path) -> None:
    assert not draw({"memory": {}}, tmp_path / "none.svg", "")
    assert not (tmp_path / "none.svg").exists()


def test_peers_tell_how_they_are_started() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.peers", "nginx"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in STARTS)


def test_an_unknown_scenario_is_refused_with_those_that_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "fan-in"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "expected scenarios of fan-out" in done.stderr
    assert "fan-in" in done.stderr


def test_the_line_through_points() -> None:
    assert fitted([(1, 13.0), (2, 15.0), (10, 31.0)]) == pytest.approx((11.0, 2.0))
    assert fitted([(1, 5.0)]) == (5.0, 0.0)
