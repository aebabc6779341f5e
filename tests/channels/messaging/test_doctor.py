"""What `hub doctor` says of the folder of media."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from channels.families import FAMILIES
from channels.messaging.doctor import media_folder
from hub.doctor.inspection import Inspection, Level
from hub.families import migrations_of
from hub.ops.settings import load

SHARED = {"redis_url": "redis://localhost", "secret": "at least sixteen characters", "database_url": "postgresql://hub@localhost/hub"}


def inspection(folder: Path, **flags: Any) -> Inspection:
    settings = load(FAMILIES, config=None, flags={"data_dir": str(folder / "data"), **flags})
    return Inspection(settings, 0, migrations_of(()))


def test_one_hub_needs_no_folder_of_media(tmp_path: Path) -> None:
    assert list(media_folder(inspection(tmp_path))) == []
    assert list(media_folder(inspection(tmp_path, **{**SHARED, "database_url": None}))) == []


@pytest.mark.parametrize("channels", [0, 2])
def test_several_hubs_without_a_common_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    several = inspection(tmp_path, **SHARED)
    monkeypatch.setattr(Inspection, "rows", lambda *_: [(channels,)])
    found = list(media_folder(several))
    assert [finding.level for finding in found] == ([Level.WARNING] if channels else [])
    assert all("HUB_MESSAGING__MEDIA_DIR" in finding.advice for finding in found)


def test_with_an_object_store_there_is_no_folder_to_share(tmp_path: Path) -> None:
    assert list(media_folder(inspection(tmp_path, **SHARED, objects={"url": "s3://files"}))) == []


def test_the_folder_of_several_hubs(tmp_path: Path) -> None:
    media = tmp_path / "media"
    (missing,) = media_folder(inspection(tmp_path, **SHARED, messaging={"media_dir": str(media)}))
    assert (missing.level, missing.message) == (Level.WARNING, f"there is no folder {media} on this machine")
    media.mkdir()
    (found,) = media_folder(inspection(tmp_path, **SHARED, messaging={"media_dir": str(media)}))
    assert found.level is Level.OK
    own = tmp_path / "data" / "media"
    own.mkdir(parents=True)
    (inside,) = media_folder(inspection(tmp_path, **SHARED, messaging={"media_dir": str(own)}))
    assert (inside.level, "is in the data folder" in inside.message) == (Level.WARNING, True)
