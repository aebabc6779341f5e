"""The ``hub`` command that programs start without its imports (tests/support/warm.py) does what the installed one does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.hub_process import HUB_COMMAND, clean_environment, free_port, hub_command

WITHIN_S = 30.0

pytestmark = pytest.mark.skipif("HUB_TEST_COLD" in os.environ, reason="commands are started afresh: HUB_TEST_COLD is set")


def run(command: Path, folder: Path, *arguments: str, given: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [str(command), *arguments],
        cwd=folder,
        env=clean_environment({"COLUMNS": "300", "HUB_LOG_FORMAT": "text"}),
        input=given,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("--version",), ("config", "--help"), ("srve",), ("publish", "/my/*", "1")])
def test_it_prints_and_ends_as_the_installed_command_does(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run(hub_command(), tmp_path, *arguments) == run(HUB_COMMAND, tmp_path, *arguments)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A hub that was started by the command's name, and its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(hub_command()), "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not answers(url):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        yield process, url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=20).status_code == httpx.codes.OK
    except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):  # it may end while it is asked
        return False


def test_signals_are_passed_on(served: tuple[subprocess.Popen[bytes], str]) -> None:
    process, _ = served
    process.send_signal(signal.SIGTERM)
    assert process.wait(WITHIN_S) == 0


def test_who_kills_it_ends_the_hub(served: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = served
    process.kill()
    assert process.wait(WITHIN_S) == -signal.SIGKILL
    while answers(url):
        time.sleep(0.05)
