"""The free space that makes a hub ready."""

from pathlib import Path

from hub.storage.disk import Disk


async def test_too_little_room_is_told_with_its_numbers(tmp_path: Path) -> None:
    assert await Disk(tmp_path, 1).readiness() is None
    told = await Disk(tmp_path, 2**60).readiness()
    assert told is not None
    assert told.endswith("MiB are free in the data folder, expected at least 1099511627776.0")
