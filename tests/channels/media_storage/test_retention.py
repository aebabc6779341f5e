"""What is old goes, and objects and keys that belong to nothing."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from channels.media_storage.retention import ORPHAN_S
from channels.media_storage.service import object_key
from hub.core.field_error import FieldError
from hub.objects.store import ObjectNotFoundError, Stored, StoreUnavailableError
from hub.objects.transfer import NoRoomError
from hub.storage.transactions import StorageError
from tests.channels.media_storage.support import Cabinet, pieces

DAY_MS = 86_400_000
UNKNOWN = "00000000-0000-4000-8000-{:012d}"


async def age(cabinet: Cabinet) -> None:
    """Let an hour and more pass, for the database and, whose times are the machine's, for the store."""
    newest = max((each.modified_ms for each in await cabinet.store.objects("")), default=0)
    cabinet.clock.now_ms = max(cabinet.clock.now_ms, newest) + ORPHAN_S * 1000 + 1


async def test_files_go_for_their_age_by_their_folder(cabinet: Cabinet) -> None:
    await cabinet.upload("imports/a")
    await cabinet.upload("imports/b")
    await cabinet.export("exports/a")
    await cabinet.export("exports/a", tenant="other")
    cabinet.clock.now_ms += 30 * DAY_MS
    assert await cabinet.retention.trim() == 1  # what was uploaded first is 30 days and a millisecond old
    cabinet.clock.now_ms += 1
    assert await cabinet.retention.trim() == 1
    assert await cabinet.retention.trim() == 0
    assert await cabinet.keys("imports/") == []
    assert await cabinet.keys("exports/") == ["exports/a"]
    cabinet.clock.now_ms += 60 * DAY_MS
    assert await cabinet.retention.trim() == 2
    assert await cabinet.objects() == []
    assert cabinet.media.counters.expired == 4
    rows = await cabinet.transactions.read(lambda tx: tx.rows("SELECT bytes, files FROM media_usage"))
    assert [tuple(row) for row in rows] == [(0, 0), (0, 0)]


async def test_objects_without_a_key_are_removed_after_an_hour(cabinet: Cabinet) -> None:
    for number in range(7):
        await cabinet.upload(f"imports/{number}", bytes([number]))
    before = set(await cabinet.objects())
    for number in range(5):
        await cabinet.store.put(object_key("acme", UNKNOWN.format(number)), pieces(b"x"), 1)
    await cabinet.store.put(object_key("gone", UNKNOWN.format(9)), pieces(b"x"), 1)
    await cabinet.store.put("messaging/aa/of-another-family", pieces(b"x"), 1)
    assert await cabinet.retention.sweep() == 0
    await age(cabinet)
    assert await cabinet.retention.sweep() == 6
    assert set(await cabinet.objects()) == before | {"messaging/aa/of-another-family"}
    assert cabinet.media.counters.orphans == 6
    assert len(await cabinet.keys("imports/")) == 7


async def test_keys_whose_objects_are_gone_are_removed_after_an_hour(cabinet: Cabinet) -> None:
    for number in range(7):
        await cabinet.upload(f"imports/{number}", bytes([number]))
    gone = (await cabinet.objects())[1:6]
    await cabinet.store.delete(gone)
    assert await cabinet.retention.sweep() == 0
    await age(cabinet)
    assert await cabinet.retention.sweep() == 5
    left = await cabinet.keys("imports/")
    assert len(left) == 2
    for key in left:
        url = (await cabinet.ask(3, key, call="signedDownloadUrl")).json()["signedDownloadUrl"]
        assert (await cabinet.call("GET", url, caller="")).status_code == 200
    assert cabinet.media.counters.lost == 5
    row = await cabinet.transactions.read(lambda tx: tx.row("SELECT files FROM media_usage WHERE tenant = 'acme'"))
    assert row is not None
    assert row[0] == 2


async def test_a_store_that_is_another_has_nothing_removed(light: Cabinet) -> None:
    """A folder that is not mounted looks like a store without objects."""
    for number in range(3):
        await light.upload(f"imports/{number}", bytes([number]))
    folder = light.store._folder  # type: ignore[attr-defined]
    shutil.move(folder, f"{folder}-away")
    await light.store.put(object_key("acme", UNKNOWN.format(1)), pieces(b"x"), 1)
    await age(light)
    assert await light.retention.sweep() == 0
    assert len(await light.keys("imports/")) == 3
    shutil.rmtree(folder)
    shutil.move(f"{folder}-away", folder)
    assert await light.retention.sweep() == 0
    url = (await light.ask(3, "imports/1", call="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await light.call("GET", url, caller="")).content == b"\x01"


@pytest.mark.parametrize("light", [{"keep_imports_days": 3650}], indirect=True)
async def test_a_round_outlasts_a_store_that_does_not_answer(light: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    await light.upload("imports/a")

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("it is away")

    for name in ("delete", "head"):
        monkeypatch.setattr(type(light.store), name, fail)
    await age(light)
    await light.retention.round(0)
    await light.media.delete("acme", "imports/a")  # its object is left to the sweep
    assert await light.keys("imports/") == []
    monkeypatch.undo()
    assert len(await light.objects()) == 1
    await light.upload("imports/b")
    await age(light)
    await light.retention.round(0)
    assert len(await light.objects()) == 1


async def test_a_sweep_lets_uploads_be(cabinet: Cabinet) -> None:
    """A key whose object has another one by now stays."""
    await cabinet.upload("imports/a", b"one")
    (before,) = await cabinet.objects()
    await cabinet.upload("imports/a", b"two")
    await age(cabinet)
    await cabinet.store.put(before, pieces(b"one"), 3)
    await age(cabinet)
    assert await cabinet.retention.sweep() == 1
    url = (await cabinet.ask(3, "imports/a", call="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await cabinet.call("GET", url, caller="")).content == b"two"


# -- what the hub exports ---------------------------------------------------------------------------------------------------------


async def test_an_export_takes_the_place_of_the_one_before(cabinet: Cabinet) -> None:
    stored = await cabinet.media.write("acme", "exports/reporting/intraday/a", pieces(b"one"), 3)
    assert isinstance(stored, Stored)
    await cabinet.export("exports/reporting/intraday/a", b"three")
    assert (await cabinet.listed("exports/"))["totalItems"] == 1
    assert len(await cabinet.objects()) == 1
    assert cabinet.recorded == []
    url = (await cabinet.ask(3, "exports/reporting/intraday/a", call="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await cabinet.call("GET", url, caller="")).content == b"three"


@pytest.mark.parametrize("key", ["imports/a", "exports/", "exports/reporting", "elsewhere/a", "exports/../a"])
async def test_exports_go_below_exports(light: Cabinet, key: str) -> None:
    with pytest.raises(FieldError, match="key: expected"):
        await light.export(key)
    assert await light.objects() == []


@pytest.mark.parametrize("light", [{"max_tenant_bytes": 10}], indirect=True)
async def test_an_export_that_fails_leaves_what_was_there(light: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    await light.export("exports/a", b"12345")
    with pytest.raises(NoRoomError, match="max_tenant_bytes: expected at most 10, got 11"):
        await light.export("exports/a", b"x" * 11)
    with pytest.raises(LookupError):
        await light.export("exports/a", tenant="nobody")

    assert len(await light.objects()) == 1
    write = light.transactions.write

    async def lost(operation: Any) -> None:
        await write(operation)
        raise StorageError("the connection broke off after the commit")

    with monkeypatch.context() as patched:
        patched.setattr(light.transactions, "write", lost)
        with pytest.raises(StorageError):
            await light.export("exports/b", b"1")
    assert len(await light.objects()) == 2, "a row names it: what no row names is swept"
    url = (await light.ask(3, "exports/b", call="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await light.call("GET", url, caller="")).content == b"1"
    url = (await light.ask(3, "exports/a", call="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await light.call("GET", url, caller="")).content == b"12345"


async def test_a_lost_object_is_told_as_missing(light: Cabinet) -> None:
    await light.upload("imports/a")
    url = (await light.ask(3, "imports/a", call="signedDownloadUrl")).json()["signedDownloadUrl"]
    (key,) = await light.objects()
    await light.store.delete([key])
    with pytest.raises(ObjectNotFoundError):
        await light.store.head(key)
    assert (await light.call("GET", url, caller="")).status_code == 404
