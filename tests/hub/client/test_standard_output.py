"""What every command does when its standard output cannot be written: one sentence, and no traceback."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.hub_process import HUB_COMMAND, clean_environment, hub_command, run_hub

WITHIN_S = 60.0
COMMANDS = {
    "settings": ("config", "--reference"),
    "in-force": ("config",),
    "help": ("--help",),
    "version": ("--version",),
    "statistics": ("explain",),
    "tenants": ("tenant", "list"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with the database of a hub that has a tenant: there is something to print, and nothing to say of a new database."""
    folder = tmp_path_factory.mktemp("hub")
    done = run_hub(["tenant", "add", "acme"], folder, clean_environment())
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, program: Path, command: str, redirection: str) -> tuple[int, str]:
    """By a shell, which closes files: exit code and standard error."""
    words = shlex.join([str(program), *COMMANDS[command]])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} {redirection}"],
        cwd=folder,
        env=clean_environment({"COLUMNS": "300"}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_gone(folder: Path, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # nobody ever reads
    done = subprocess.run(
        [str(hub_command()), *COMMANDS[command]],
        cwd=folder,
        env=clean_environment({"COLUMNS": "300"}),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, "hub: whoever read standard output has closed it: the rest is not printed\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_standard_output_that_is_closed(folder: Path, command: str) -> None:
    # started afresh: Python itself finds the file closed
    assert run(folder, HUB_COMMAND, command, ">&-") == (2, "hub: standard output is closed: there is nowhere to print to\n")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full(folder: Path, command: str) -> None:
    assert run(folder, hub_command(), command, "> /dev/full") == (2, "hub: standard output cannot be written: No space left on device\n")
