"""What is old, or was of a channel that is gone, goes; what is needed stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from channels.messaging.media_store import PREFIX, MediaStore
from channels.messaging.retention import RECEIPTS_MS, MessagingRetention
from channels.messaging.settings import MessagingSettings
from hub.objects.claim import CLAIM_KEY
from hub.objects.folder import ORPHAN_S, new_id
from hub.objects.local import LocalStore
from hub.objects.remote import RemoteStore
from hub.objects.sends import Sends
from hub.objects.spool import Spool
from hub.objects.store import ObjectNotFoundError
from hub.storage.transactions import StorageError
from tests.channels.messaging.support import SMS, Exchange, receipt, text_from, text_to
from tests.hub.objects.test_store import keys, put
from tests.world import ManualClock

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
DAY_MS = 86_400_000

TABLES = ("messaging_channels", "messaging_messages", "messaging_receipts", "messaging_media")


def retention(exchange: Exchange, **options: Any) -> MessagingRetention:
    """The family's own; with ``options`` another like it."""
    (made,) = exchange.parts.services
    assert isinstance(made, MessagingRetention)
    if options:
        folder, settings = MediaStore(LocalStore(exchange.folder / "media")), MessagingSettings()
        return MessagingRetention(exchange.transactions, folder, settings, exchange.clock, exchange.counters, **options)
    return made


async def rows(exchange: Exchange) -> list[int]:
    """How many rows each table has."""

    def count(tx: Any) -> Iterator[int]:
        return (tx.row(f"SELECT count(*) FROM {table}")[0] for table in TABLES)

    return await exchange.transactions.read(lambda tx: list(count(tx)))


def files(exchange: Exchange) -> list[str]:
    return [path.name for path in (exchange.folder / "media").rglob("*") if path.is_file() and path.name != CLAIM_KEY]


def age(exchange: Exchange, path: Path, seconds: float) -> None:
    """Make a file that old."""
    then = exchange.clock.now_ms / 1000 - seconds
    os.utime(path, (then, then))


async def test_messages_media_and_receipts_have_their_time(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.come(text_from(), text_from(), receipt("of nobody"))
    await exchange.upload(PNG)
    assert await rows(exchange) == [1, 2, 1, 1]
    exchange.clock.now_ms += RECEIPTS_MS + 1
    assert await retention(exchange).trim() == 1
    assert await rows(exchange) == [1, 2, 0, 1]
    exchange.clock.now_ms += 29 * DAY_MS
    assert await retention(exchange).trim() == 1
    assert (await rows(exchange), files(exchange)) == ([1, 2, 0, 0], [])
    exchange.clock.now_ms += 60 * DAY_MS
    assert await retention(exchange).trim() == 2
    assert await rows(exchange) == [1, 0, 0, 0]
    assert exchange.counters.trimmed == 4


async def test_what_is_young_stays(light: Exchange) -> None:
    await light.channel()
    await light.come(text_from(), receipt("of nobody"))
    await light.upload(PNG)
    assert await retention(light).trim() == 0
    assert (await rows(light), len(files(light))) == ([1, 1, 1, 1], 1)


async def test_a_channel_that_was_removed_goes_with_all_that_it_had(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.channel("999")
    for channel in (SMS, "999"):
        await exchange.come(*(text_from(str(number)) for number in range(5)), receipt("of nobody"), channel=channel)
    for _ in range(3):
        await exchange.upload(PNG)
    await exchange.go(text_to(), "999")
    await exchange.rest("DELETE", f"/{SMS}")
    await retention(exchange, batch_size=2).trim()
    assert (await rows(exchange), files(exchange)) == ([1, 6, 1, 0], [])


async def test_files_that_nobody_knows(light: Exchange) -> None:
    await light.channel()
    known = (await light.upload(PNG)).json()["data"]["mediaId"]
    folder = MediaStore(LocalStore(light.folder / "media"))
    old, young = new_id(), new_id()
    for identifier in (old, young):
        await folder.write(identifier, PNG)
    part = next((light.folder / "media").rglob(old)).with_name(f"{new_id()}.part")
    part.write_bytes(b"half")
    for path in (part, *(next((light.folder / "media").rglob(each)) for each in (old, known))):
        age(light, path, ORPHAN_S + 10)
    assert await retention(light).sweep() == 1
    assert sorted(files(light)) == sorted([known, young])


async def test_without_a_folder_there_is_nothing_to_look_for(light: Exchange) -> None:
    assert await retention(light).sweep() == 0


async def test_as_a_service(light: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trims again and again, also after the database was away; stopping twice does no harm."""
    write = light.transactions.write
    faults = 3

    async def away_at_first(operation: Any) -> Any:
        nonlocal faults
        if faults:
            faults -= 1
            raise StorageError("away")
        return await write(operation)

    await light.channel()
    await light.come(text_from())
    light.clock.now_ms += 91 * DAY_MS
    monkeypatch.setattr(light.transactions, "write", away_at_first)
    service = retention(light, period_s=0.01)
    await service.start()
    await light.until(lambda: light.counters.trimmed == 1)
    await service.stop()
    await service.stop()
    assert faults == 0
    assert (await rows(light))[1] == 0


async def test_a_store_within_the_folder_of_media_is_not_swept_as_media(light: Exchange, tmp_path: Path) -> None:
    """So deployments have it: /media is the folder of earlier media, /media/objects the store."""
    store, earlier = LocalStore(tmp_path / "media" / "objects"), LocalStore(tmp_path / "media")
    lost = new_id()
    others = [f"secure_email/{lost[:2]}/{lost}", f"files/{lost[:2]}/{lost}/a.part", f"{lost[:2]}/{lost}.part"]
    for key in others:
        await put(store, key)
    await MediaStore(earlier).write(lost, PNG)
    media = MediaStore(store, PREFIX, earlier)
    service = MessagingRetention(light.transactions, media, MessagingSettings(), ManualClock(wall=4_000_000_000_000), light.counters)
    assert await service.sweep() == 1
    assert await keys(store) == sorted(others)
    assert [key for key in await keys(earlier) if not key.endswith(CLAIM_KEY)] == sorted(f"objects/{key}" for key in others)


@pytest.mark.parametrize("identifier", ["", "..", "../../../etc/passwd", "a" * 36])
async def test_only_ids_become_keys(tmp_path: Path, identifier: str) -> None:
    media = MediaStore(LocalStore(tmp_path))
    for use in (media.open(identifier), media.remove([identifier]), media.write(identifier, b"")):
        with pytest.raises(ValueError, match="expected the id of an object"):
            await use


async def test_media_from_before_the_object_store_are_read_and_removed(tmp_path: Path) -> None:
    earlier, store = LocalStore(tmp_path / "media"), RemoteStore(MemoryStore(), Spool(tmp_path / "uploads", Sends(4)))
    before, since = new_id(), new_id()
    await MediaStore(earlier).write(before, b"old")
    media = MediaStore(store, PREFIX, earlier)
    await media.write(since, b"new")
    assert [[piece async for piece in await media.open(each)] for each in (before, since)] == [[b"old"], [b"new"]]
    assert [each.key for each in await store.objects("")] == [f"messaging/{since[:2]}/{since}"]
    later = ManualClock(wall=4_000_000_000_000)
    assert [found async for found in media.orphans(later)] == [[since], [before]]
    await media.remove([before, since])
    for each in (before, since):
        with pytest.raises(ObjectNotFoundError):
            await media.open(each)
