"""When garbage is collected."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from hub.collector import paused_collector
from tests.support.hub_process import clean_environment

AT_EXIT = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 0, len(gc.get_objects())))
from channels.main import cli
cli()
"""


def test_the_collector_pauses_within_and_works_again_after() -> None:
    assert gc.isenabled()
    with paused_collector():
        assert not gc.isenabled()
        with paused_collector():
            pass
        assert not gc.isenabled(), "the outer one ends the pause"
    assert gc.isenabled()


def test_an_error_ends_the_pause() -> None:
    with pytest.raises(ValueError, match="such"), paused_collector():
        raise ValueError("such")
    assert gc.isenabled()


def test_the_interpreter_has_nothing_to_look_through_when_a_command_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, "--version"], capture_output=True, text=True, env=clean_environment(), timeout=60, check=True
    )
    version, frozen = done.stdout.splitlines()
    assert version.startswith("hub ")
    skipped, objects = frozen.split()
    assert skipped == "True"
    assert int(objects) < 1_000  # those that were made after the command's work
