"""What a test run says at its end, and what it does about a test that hangs: in runs of their own, of a file made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TESTS = """
import signal, threading, time

def test_short():
    pass

def test_slow():
    time.sleep(0.6)

def test_hang():
    # as a loop in C does: no signal reaches Python
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    threading.Thread(target=wait_for_ever, daemon=True).start()
    time.sleep(300)

def wait_for_ever():
    time.sleep(300)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of pytest with the report, in that folder."""
    plugins = [word for name in ("pytest_timeout", "xdist", "tests.support.run_report") for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *plugins, f"--rootdir={folder}", "-c", str(folder / "pytest.ini"), *arguments, str(folder)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_slowest_tests_and_the_memory_of_each_process_are_shown(folder: Path, workers: str) -> None:
    code, output = run(folder, "-n", workers, "-k", "short or slow")
    assert code == 0, output
    table = output.partition("slowest 20 tests")[2]
    assert "test_it.py::test_slow" in table
    assert "test_it.py::test_short" not in table
    assert f"peak memory: {'gw0' if workers == '1' else 'this process'} " in output


def test_a_process_that_grows_past_its_limit_fails_the_run(folder: Path) -> None:
    code, output = run(folder, "-n", "1", "-k", "short", "-o", "max_memory_mb=1")
    assert code == 1, output
    assert "expected at most 1 MiB in a test process, got more in gw0: the run fails" in output


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_test_that_no_signal_ends_prints_the_stack_of_every_thread(folder: Path, workers: str) -> None:
    code, output = run(folder, "-n", workers, "-k", "hang", "--timeout", "0.5", "-o", "hang_grace_s=0.5")
    assert code != 0, output
    assert "in wait_for_ever" in output
    assert "in test_hang" in output
    if workers == "1":
        assert "crashed while running 'test_it.py::test_hang'" in output


REPORTS = """
import pytest

@pytest.mark.parametrize("n", range(20))
def test_made(n):
    print(n)
"""

REPORTS_OF_OTHERS = """
import gc

def test_none_is_left():
    kept = [each for each in gc.get_objects() if type(each).__name__ == "TestReport"]
    # the end of a file's last test is reported after the file is over
    assert {each.nodeid for each in kept if "test_a_first.py" in each.nodeid} <= {"test_a_first.py::test_made[19]"}
"""


def test_a_worker_keeps_no_report_of_a_file_that_is_over(folder: Path) -> None:
    (folder / "test_a_first.py").write_text(REPORTS)
    (folder / "test_b_second.py").write_text(REPORTS_OF_OTHERS)
    code, output = run(folder, "-n", "1", "-k", "made or none_is_left")
    assert code == 0, output


KEEPS = """
import boto3, pytest, weakref

class Hub:
    pass

HUBS = []

@pytest.mark.parametrize("fault", [KeyError("odd")])
def test_raised(fault):
    hub = Hub()
    HUBS.append(weakref.ref(hub))
    with pytest.raises(KeyError):
        raise fault

def test_default_session():
    boto3.setup_default_session()
    assert [each() for each in HUBS] == [None]
"""

KEPT_BY_OTHERS = """
import boto3

def test_none_is_kept():
    assert boto3.DEFAULT_SESSION is None
"""


def test_what_raised_parameters_and_libraries_keep_is_let_go(folder: Path) -> None:
    (folder / "test_a_first.py").write_text(KEEPS)
    (folder / "test_b_second.py").write_text(KEPT_BY_OTHERS)
    code, output = run(folder, "-k", "raised or default_session or none_is_kept")
    assert code == 0, output
    assert "3 passed" in output


UNFREEZES = """
import gc

def test_unfreezes():
    gc.unfreeze()
"""


def test_a_test_that_has_garbage_collected_seldom_is_named(folder: Path) -> None:
    (folder / "test_unfreezes.py").write_text(UNFREEZES)
    code, output = run(folder, "-n", "1", "-k", "unfreezes")
    assert code == 1, output
    assert "test_unfreezes.py::test_unfreezes" in output
    assert "expected what collection made to be kept out of garbage collection, got gc.unfreeze()" in output
