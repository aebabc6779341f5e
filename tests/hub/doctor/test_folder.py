"""What `hub doctor` says of a folder: who may read it, how much room there is, and the clock."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from hub.doctor import cli
from hub.doctor.inspection import Finding, Inspection, Level
from hub.family import Family, Parts
from hub.storage.transactions import StorageError

Doctor = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    return made


def doctor(folder: Path, *families: Family) -> tuple[int, dict[str, Any]]:
    """The exit code, and the last finding of each subject."""
    app = typer.Typer()
    cli.register(app, lambda: families)
    result = CliRunner().invoke(app, ["--data-dir", str(folder), "--json"])
    return result.exit_code, {finding["subject"]: finding for finding in json.loads(result.stdout)}


def test_a_folder_that_is_not_there_is_a_problem_and_is_not_made(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "typo")
    assert code == 1
    assert found["data folder"]["message"] == f"there is no folder {tmp_path / 'typo'}"
    assert not (tmp_path / "typo").exists()


def test_a_file_that_others_may_read_is_a_warning_with_the_command_that_mends_it(folder: Path) -> None:
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0o644)
    _, found = doctor(folder)
    assert found["secret"]["level"] == "warning"
    assert found["secret"]["advice"] == f"chmod 600 {folder / 'secret'}"
    assert "permissions" not in found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_a_problem(folder: Path) -> None:
    (folder / "hub.db.lock").touch(0o600)
    os.chown(folder / "hub.db.lock", 12345, 12345)
    code, found = doctor(folder)
    assert code == 1
    assert found["hub.db.lock"]["message"].startswith("it belongs to uid 12345")


def test_a_file_from_the_future_tells_of_the_clock(folder: Path) -> None:
    path = folder / "channels.db-wal"
    path.touch(0o600)
    ahead = path.stat().st_mtime + 3600
    os.utime(path, (ahead, ahead))
    _, found = doctor(folder)
    assert found["clock"]["level"] == "warning"
    assert "channels.db-wal was written" in found["clock"]["message"]


def test_space_is_told(folder: Path) -> None:
    assert "MiB are free" in doctor(folder)[1]["space"]["message"]


def test_a_family_adds_checks_and_one_that_cannot_look_does_not_stop_the_others(folder: Path) -> None:
    def bad_secrets(_: Inspection) -> list[Finding]:
        raise StorageError("the database cannot be read: torn")

    def good(_: Inspection) -> list[Finding]:
        return [Finding(Level.WARNING, "good", "it was run")]

    code, found = doctor(folder, Family("mine", lambda _: Parts(), checks=(bad_secrets, good)))
    assert code == 1
    assert found["bad secrets"]["message"] == "the database cannot be read: torn"
    assert found["good"]["message"] == "it was run"
