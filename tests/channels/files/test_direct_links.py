"""Files by links to the bucket itself (``objects.direct``), on a real server of S3's protocol."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from channels.files.errors import FileNotFound, NotUploaded, UploadEnded
from channels.files.models import INCOMING, PREFIX
from tests.channels.files.conftest import PACKAGES
from tests.channels.files.support import PNG, TENANTS, World
from tests.hub.storage.backends import Sqlite, opened, running
from tests.support.s3_server import S3Server
from tests.world import ManualClock


@pytest.fixture
async def direct(sqlite: Sqlite, s3_server: S3Server, tmp_path: Path) -> AsyncIterator[World]:
    """The family over a bucket; its clock shows the time of day, which the bucket compares with its own. It stands still, a minute ahead:
    what the bucket writes meanwhile is not later.
    """
    settings = {"objects": {**s3_server.settings(s3_server.bucket()), "direct": True}}
    clock = ManualClock(wall=time.time_ns() // 1_000_000 + 60_000)
    async with opened(await sqlite.migrated(PACKAGES)) as database, running(database) as transactions:
        for tenant in TENANTS:
            await transactions.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
        async with World(transactions, tmp_path, clock, settings).running() as made:
            yield made


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error of S3."""
    return answer.status_code, answer.text.partition("<Code>")[2].partition("</Code>")[0]


async def test_a_file_goes_up_and_down_past_the_hub(direct: World, s3_server: S3Server) -> None:
    file, link = await direct.start("a.png", PNG)
    assert link.url.startswith(s3_server.url)
    assert (await direct.put(link, PNG)).status_code == 200
    assert (await direct.keys(INCOMING), await direct.keys(PREFIX)) == ([f"{INCOMING}{file.id}"], [])
    done = await direct.complete(file)
    assert done.status == "APPROVED", done.reason
    assert done.key is not None
    assert await direct.keys(PREFIX) == [done.key]
    url, _ = await direct.files.download_link(done, direct.base, expiry_s=60)
    assert url.startswith(s3_server.url)
    answer = await direct.client.get(url)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["Content-Disposition"].startswith("attachment")


async def test_a_link_that_lives_on_does_not_change_an_approved_file(direct: World) -> None:
    file, link = await direct.start("a.png", PNG)
    await direct.put(link, PNG)
    done = await direct.complete(file)
    other = PNG[:-1] + b"x"
    assert (await direct.put(link, other)).status_code == 200, "the bucket does not know that the file is complete"
    assert (await direct.read(done)).content == PNG
    assert (await direct.complete(file)).key == done.key


async def test_bytes_that_never_came_are_not_complete(direct: World) -> None:
    file, _ = await direct.start("a.png", PNG)
    with pytest.raises(NotUploaded):
        await direct.complete(file)


async def test_the_bucket_takes_nothing_else_than_was_announced(direct: World) -> None:
    file, link = await direct.start("a.png", PNG)
    headers = dict(link.headers)
    for answer in (
        await direct.client.put(link.url, content=PNG + b"x", headers={**headers, "Content-Length": str(len(PNG) + 1)}),
        await direct.client.put(link.url, content=PNG, headers={**headers, "Content-Type": "text/html"}),
        await direct.client.put(link.url.replace(file.id, "0" * 36), content=PNG, headers=headers),
    ):
        assert refused(answer) == (403, "SignatureDoesNotMatch")
    assert (await direct.client.get(link.url)).status_code == 403
    with pytest.raises(NotUploaded):
        await direct.complete(file)


async def test_content_that_is_not_what_was_announced_is_rejected_and_gone(direct: World) -> None:
    file, link = await direct.start("a.png", b"<script>x</script>")
    assert (await direct.put(link, b"<script>x</script>")).status_code == 200
    assert (await direct.complete(file)).status == "REJECTED"
    assert await direct.keys(PREFIX) == []


async def test_a_deleted_file_leaves_no_object(direct: World) -> None:
    file, link = await direct.start("a.png", PNG)
    await direct.put(link, PNG)
    done = await direct.complete(file)
    await direct.files.delete("acme", file.id)
    assert await direct.keys() == []
    with pytest.raises(FileNotFound):
        await direct.files.get("acme", done.id)


async def test_an_object_that_vanished_before_it_was_looked_at(direct: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file, link = await direct.start("a.png", PNG)
    await direct.put(link, PNG)
    copy = type(direct.store).copy

    async def lost(store: object, source: str, target: str) -> None:
        await copy(direct.store, source, target)
        await direct.store.delete([target])

    monkeypatch.setattr(type(direct.store), "copy", lost)
    with pytest.raises(UploadEnded):
        await direct.complete(file)


@pytest.mark.parametrize("size", [1, 6_000_000])
async def test_files_of_any_size(direct: World, size: int) -> None:
    content = b"x" * size
    file, link = await direct.start("a.txt", content)
    assert (await direct.put(link, content)).status_code == 200
    done = await direct.complete(file)
    assert done.status == "APPROVED", done.reason
    assert (await direct.read(done)).content == content
