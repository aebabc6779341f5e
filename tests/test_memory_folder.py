"""Where the files of tests are, by the machine that they run on."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.support.memory_folder import SHARED_MEMORY, memory_folder, remove_left


def test_a_machine_with_room_has_the_files_of_tests_in_memory(tmp_path: Path) -> None:
    folder = memory_folder({}, tmp_path, needed=1)
    assert folder is not None
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("environment", "needed"),
    [({"TMPDIR": "/var/tmp"}, 1), ({}, 2**60)],
    ids=["somebody chose another folder", "no room"],
)
def test_else_they_are_where_they_always_were(tmp_path: Path, environment: dict[str, str], needed: int) -> None:
    assert memory_folder(environment, tmp_path, needed) is None
    assert memory_folder(environment, tmp_path / "none", 1) is None
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_have_attributes_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    assert memory_folder({}, tmp_path, 1) is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_left_is_removed_and_what_another_uses_stays(tmp_path: Path) -> None:
    for name in (f"hubt-{os.getpid()}", "hubt-4194999", "other"):
        (tmp_path / name / "inner").mkdir(parents=True)
    remove_left(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"hubt-{os.getpid()}", "other"]


def test_this_run_has_them_in_memory_if_it_took_a_folder_there(tmp_path: Path) -> None:
    assert Path(tempfile.gettempdir()) == Path(os.environ.get("TMPDIR", tempfile.gettempdir()))
    if os.environ.get("TMPDIR", "").startswith(f"{SHARED_MEMORY}/hubt-"):
        assert tmp_path.is_relative_to(os.environ["TMPDIR"])
