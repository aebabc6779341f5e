"""A disk that is full, a store that does not answer, a database that is away: each has its name, and nothing is half there."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from channels.files.content_check import ContentCheck, Verdict
from channels.files.errors import UploadEnded
from channels.files.models import FileRecord
from channels.files.state_machine import FileStatus, State
from hub.objects import local
from hub.objects.claim import CLAIM_KEY, StoreClaim
from hub.objects.local import LocalStore
from hub.objects.store import Span, StoreUnavailableError
from hub.storage.transactions import StorageError
from tests.channels.files.support import World
from tests.channels.files.test_retention import broken_checks, retention


def left(world: World) -> list[Path]:
    """Every file below the folder of the store, but what says whose it is."""
    found = (world.context.settings.data_dir / "objects").rglob("*")
    return [each for each in found if each.is_file() and each.name != CLAIM_KEY]


async def until_nothing_is_left(world: World) -> None:
    """Readiness writes a file now and then to see whether there is room, and removes it at once."""
    async with asyncio.timeout(30):
        while left(world):
            await asyncio.sleep(0.01)


async def test_a_full_disk_is_named_and_leaves_nothing(light: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file, link = await light.start()

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(local.os, "fsync", full)
        answer = await light.put(link)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert "<Code>" in answer.text
    await until_nothing_is_left(light)
    found = await light.now(file)
    assert found is not None
    assert found.state is State.STARTED
    assert (await light.put(link)).status_code == 200, "the same link is good when there is room again"
    assert (await light.complete(file)).status is FileStatus.APPROVED


async def test_a_check_that_the_store_broke_off_can_be_repeated(light: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await light.uploaded()

    async def away(store: LocalStore, key: str, span: Span | None = None) -> AsyncIterator[bytes]:
        raise StoreUnavailableError("the store is away", "SlowDown")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "get", away)
        with pytest.raises(StoreUnavailableError):
            await light.complete(file)
    assert (await light.complete(file, "another token")).status is FileStatus.APPROVED, "nobody looks at it"
    await light.tells(file, "UPLOADED", "APPROVED")


async def test_what_was_told_to_be_complete_is_decided_though_the_store_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await world.uploaded()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def away(store: LocalStore, key: str, span: Span | None = None) -> AsyncIterator[bytes]:
        reached.set()
        await go_on.wait()
        raise StoreUnavailableError("the store is away", "SlowDown")

    job, checks = retention(world), broken_checks(world)
    for each in (job, checks):
        await each.stop()
    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "get", away)
        first = asyncio.create_task(world.complete(file))
        await reached.wait()
        assert (await world.complete(file)).status is FileStatus.PROCESSING, "this call is told that the file is complete"
        go_on.set()
        with pytest.raises(StoreUnavailableError):
            await first
        world.clock.advance(2 * 3600)
        await checks.take_over()
        await job.round(1)
        found = await world.now(file)
        assert found is not None
        assert found.status is FileStatus.PROCESSING, "its bytes are there: it does not fail because the store is away"
    world.clock.advance(61)
    assert await checks.take_over() == 1
    found = await world.now(file)
    assert found is not None
    assert found.status is FileStatus.APPROVED
    await world.tells(file, "UPLOADED", "APPROVED")


async def test_a_check_that_fails_by_a_fault_leaves_the_others_their_turn(light: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good, empty = await light.uploaded("a.txt"), await light.uploaded("b.txt"), (await light.start())[0]
    await light.transactions.write(lambda tx: tx.run("UPDATE files SET state = 'checking', checking_ms = 0 WHERE object_key IS NOT NULL"))
    check = ContentCheck.check

    async def faulty(self: ContentCheck, file: FileRecord) -> Verdict:
        if file.id == bad.id:
            raise ZeroDivisionError
        return await check(self, file)

    monkeypatch.setattr(ContentCheck, "check", faulty)
    light.clock.advance(2 * 3600)
    await broken_checks(light).take_over()
    await retention(light).round(1)
    found = [await light.now(each) for each in (bad, good, empty)]
    assert [each.status for each in found if each is not None] == [FileStatus.PROCESSING, FileStatus.APPROVED, FileStatus.FAILED]


async def test_bytes_that_are_gone_make_no_approved_file(light: World) -> None:
    await light.had_the_store_before()
    file = await light.uploaded()
    for each in left(light):
        os.remove(each)
    with pytest.raises(UploadEnded):
        await light.complete(file)
    found = await light.now(file)
    assert found is not None
    assert (found.status, found.reason) == (FileStatus.FAILED, "its bytes are not in the store any more")
    await light.tells(file, "UPLOADED", "FAILED")


async def test_a_folder_that_is_not_there_for_a_moment_makes_no_failed_file(light: World) -> None:
    await light.had_the_store_before()
    file = await light.uploaded()
    folder = light.folder / "objects"
    folder.rename(light.folder / "elsewhere")
    with pytest.raises(StoreUnavailableError, match="is it mounted"):
        await light.complete(file)
    await light.uploaded("b.txt")  # it comes to lie where the folder would be
    assert await StoreClaim(light.store, light.transactions).holds(), "it is taken for a new store"
    with pytest.raises(StoreUnavailableError, match="is it mounted"):
        await light.complete(file)
    light.clock.advance(61)
    with suppress(StoreUnavailableError):
        await light.files.resume(light.clock.wall_ms())
    found = await light.now(file)
    assert found is not None
    assert found.status is FileStatus.PROCESSING
    shutil.rmtree(folder)
    (light.folder / "elsewhere").rename(folder)
    light.clock.advance(61)
    await light.files.resume(light.clock.wall_ms())
    found = await light.now(file)
    assert found is not None
    assert found.status is FileStatus.APPROVED


async def test_a_database_that_is_away_when_the_bytes_are_there_leaves_an_upload_that_can_be_repeated(
    light: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = await light.start()
    write = light.transactions.write

    async def away(operation: Any) -> Any:
        raise StorageError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(light.transactions, "write", away)
        assert (await light.put(link)).status_code == 503
    assert light.transactions.write == write
    assert (await light.put(link)).status_code == 200
    assert (await light.complete(file)).status is FileStatus.APPROVED
    found = await light.now(file)
    assert found is not None
    assert found.key in await light.keys()
