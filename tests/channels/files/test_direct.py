"""Uploads that go to an S3 bucket itself: what a living link does there changes no file that is complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from channels.files.errors import FileNotFound, NotUploaded
from channels.files.retention import FilesRetention
from channels.files.state_machine import FileStatus
from hub.objects.links import Disposition
from hub.storage.backends import backend_of
from hub.storage.transactions import StorageError, Transactions
from tests.channels.files.conftest import PACKAGES
from tests.channels.files.support import PNG, TENANTS, World
from tests.hub.storage.backends import Sqlite, opened
from tests.support.s3_server import S3Server
from tests.world import ManualClock


@pytest.fixture
async def direct(s3_server: S3Server, sqlite: Sqlite, tmp_path: Path) -> AsyncIterator[World]:
    """The family over a bucket that clients reach by themselves."""
    objects = dict(s3_server.settings(s3_server.bucket(), direct=True))
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        transactions = Transactions(backend_of(database))
        await transactions.start()
        for tenant in TENANTS:
            await transactions.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
        # the server compares times with its own clock; this one stands still, a minute ahead, so that what the server writes is not later
        clock = ManualClock(wall=time.time_ns() // 1_000_000 + 60_000)
        async with World(transactions, tmp_path, clock, {"objects": objects}).running() as world:
            yield world
        await transactions.stop()


async def test_a_living_link_changes_no_file_that_is_complete(direct: World, s3_server: S3Server) -> None:
    file, link = await direct.start()
    assert link.url.startswith(s3_server.url)
    with pytest.raises(NotUploaded):
        await direct.complete(file)
    assert (await direct.put(link)).status_code == 200
    done = await direct.complete(file)
    assert (done.status, done.name) == (FileStatus.APPROVED, "note.txt")
    assert done.key is not None
    assert done.key.startswith("files/")
    assert (await direct.put(link, b"other")).status_code == 200, "the bucket knows nothing of completing"
    url, _ = await direct.files.download_link(done, direct.base, expiry_s=60)
    assert url.startswith(s3_server.url)
    answer = await direct.client.get(url)
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert await direct.complete(file) == done
    assert (await direct.client.get(url)).content == b"hello"
    await direct.tells(file, "UPLOADED", "APPROVED")
    await direct.files.delete("acme", file.id)
    assert (await direct.client.get(url)).status_code == 404
    assert await direct.keys() == []


async def test_the_bucket_answers_with_the_type_that_was_found(direct: World) -> None:
    """The object has the one that its uploader declared, which its link for the upload binds."""
    file, link = await direct.start(content_type="text/plain;x=html")
    assert (await direct.put(link)).status_code == 200
    done = await direct.complete(file)
    url, _ = await direct.files.download_link(done, direct.base, expiry_s=60, disposition=Disposition.INLINE)
    answer = await direct.client.get(url)
    assert (answer.content, answer.headers["content-type"]) == (b"hello", "text/plain")


async def test_content_is_checked_there_too(direct: World) -> None:
    file, link = await direct.start("a.txt", PNG)
    assert (await direct.put(link, PNG)).status_code == 200
    done = await direct.complete(file)
    assert done.status is FileStatus.REJECTED
    assert await direct.keys() == [], "neither the copy that was looked at nor what was uploaded"


async def test_two_completions_at_once_leave_one_copy(direct: World) -> None:
    file, link = await direct.start()
    await direct.put(link)
    states = {each.status for each in await asyncio.gather(*(direct.complete(file) for _ in range(4)))}
    assert FileStatus.APPROVED in states
    found = await direct.now(file)
    assert found is not None
    assert await direct.keys("files/") == [found.key]


async def test_a_copy_that_a_row_may_name_is_left_to_the_sweep(direct: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file, link = await direct.start()
    await direct.put(link)
    write = direct.transactions.write

    async def answer_lost(operation: Any) -> Any:
        await write(operation)
        raise StorageError("the connection broke off after the commit")

    with monkeypatch.context() as patched:
        patched.setattr(direct.transactions, "write", answer_lost)
        with pytest.raises(StorageError):
            await direct.complete(file)
    found = await direct.now(file)
    assert found is not None
    assert await direct.keys("files/") == [found.key]
    direct.clock.advance(300)
    done = await direct.complete(file)
    assert (done.status, await direct.keys("files/")) == (FileStatus.APPROVED, [found.key])


async def test_a_copy_that_is_not_wanted_is_removed_at_once(direct: World) -> None:
    file, link = await direct.start()
    await direct.put(link)
    with pytest.raises(FileNotFound):
        await direct.files.complete("other", file.id, call=file.call, resource=file.resource, client_token=None)
    assert await direct.keys("files/") == []


async def test_what_lies_at_the_entrance_is_swept(direct: World) -> None:
    waiting, link = await direct.start()
    await direct.put(link)
    done, other = await direct.start()
    await direct.put(other)
    await direct.complete(done)
    direct.clock.advance(2 * 3600)
    job = next(each for each in direct.parts.services if isinstance(each, FilesRetention))
    await job.sweep()
    assert await direct.keys("incoming/") == [f"incoming/files/{waiting.id}"]
    await job.trim()
    await job.sweep()
    assert await direct.keys("incoming/") == []
    assert len(await direct.keys("files/")) == 1


async def test_a_link_to_the_bucket_is_no_link_for_anything_else(direct: World) -> None:
    _, link = await direct.start()
    async with httpx.AsyncClient() as client:
        assert (await client.put(link.url, content=b"hello!", headers={**link.headers, "Content-Length": "6"})).status_code == 403
        assert (await client.put(link.url, content=b"hello", headers={"Content-Type": "text/html"})).status_code == 403
        assert (await client.get(link.url)).status_code == 403
    assert await direct.keys() == []
