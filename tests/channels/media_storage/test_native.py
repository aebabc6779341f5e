"""Native links, on a real server of S3's protocol that checks them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import obstore
import pytest
from obstore.exceptions import PermissionDeniedError

from channels.media_storage.keys import Incoming, of_incoming, to_incoming
from channels.media_storage.models import Linked
from hub.objects.open_store import open_store
from hub.objects.remote import S3Links
from hub.objects.settings import ObjectsSettings
from hub.objects.sigv4 import Credentials
from tests.channels.media_storage.conftest import PACKAGES, _cabinet
from tests.channels.media_storage.support import Cabinet, pieces
from tests.hub.storage.backends import Sqlite, opened
from tests.support.rest import Clock
from tests.support.s3_server import S3Server

RAW = "imports/outreach/list-management/outreach.raw"
CONTENT = os.urandom(300_000)
KMS = "08e98aa8-1c0a-4547-bf34-e6f6aa11d16a"


@pytest.fixture
async def bucket(s3_server: S3Server, sqlite: Sqlite, tmp_path: Path) -> AsyncIterator[Cabinet]:
    """Folders whose files lie in a bucket, to which links lead."""
    clock = Clock()
    clock.now_ms = time.time_ns() // 1_000_000  # the server looks at its own
    settings = ObjectsSettings(**s3_server.settings(s3_server.bucket("media"), tmp_path.name, direct=True))
    more = {"store": open_store(settings, tmp_path, clock), "clock": clock, "max_file_bytes": 1_000_000}
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        async for made in _cabinet(database, tmp_path, more):
            yield made


async def native(bucket: Cabinet, key: str, *, upload: bool) -> str:
    call = "signedUploadUrl" if upload else "signedDownloadUrl"
    answer = (await bucket.ask(3, key, call=call)).json()
    url, through_hub = answer[f"nativeS{call[1:]}"], answer[call]
    assert url != through_hub
    return str(url)


def put(url: str, content: bytes) -> int:
    return httpx.put(url, content=content, headers={"Content-Type": "text/html"}, timeout=60).status_code


async def test_one_arrival_that_the_store_does_not_give_keeps_no_other(bucket: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = obstore.copy_async
    for name in ("a.raw", "b.raw"):
        assert put(await native(bucket, f"imports/{name}", upload=True), CONTENT) == 200

    async def copy(backend: Any, source: str, target: str) -> None:
        if of_incoming(source) is not None and "a.raw" in str(of_incoming(source)):
            raise PermissionDeniedError("<Code>AccessDenied</Code>")
        await ask(backend, source, target)

    monkeypatch.setattr(obstore, "copy_async", copy)
    assert await bucket.arrivals.look() == 1
    assert await bucket.keys("imports/") == ["imports/b.raw"]
    assert bucket.media.counters.failed_arrivals == 1
    monkeypatch.undo()
    assert await bucket.arrivals.look() == 1
    assert await bucket.keys("imports/") == ["imports/a.raw", "imports/b.raw"]


async def test_a_native_upload_is_taken_in_once(bucket: Cabinet) -> None:
    url = await native(bucket, RAW, upload=True)
    assert put(url, CONTENT) == 200
    assert await bucket.keys("imports/") == []
    assert await bucket.arrivals.look() == 1
    assert await bucket.arrivals.look() == 0
    assert await bucket.keys("imports/") == [RAW]
    (event,) = bucket.events()
    assert (event["key"], event["size"], event["sha256"]) == (RAW, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    down = await native(bucket, RAW, upload=False)
    answer = httpx.get(down, timeout=60)
    assert answer.content == CONTENT
    assert answer.headers["content-disposition"].startswith('attachment; filename="outreach.raw"')
    assert answer.headers["content-type"] == "application/octet-stream"
    through_hub = (await bucket.ask(3, RAW, call="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await bucket.call("GET", through_hub, caller="")).content == CONTENT
    (left,) = await bucket.objects()
    assert left.startswith("media/acme/")
    await bucket.media.delete("acme", RAW)
    assert httpx.get(down, timeout=60).status_code == 404


async def test_two_uploads_of_one_size_within_a_second_are_two(bucket: Cabinet) -> None:
    """The store knows the second of an upload alone."""
    url = await native(bucket, RAW, upload=True)
    for number in range(4):
        content = b"content %d" % number
        assert put(url, content) == 200
        assert await bucket.arrivals.look() == 1
        down = await native(bucket, RAW, upload=False)
        assert httpx.get(down, timeout=60).content == content
    assert len(bucket.recorded) == 4
    assert len(await bucket.objects()) == 1


async def test_a_native_link_of_a_tenant_that_was_removed_uploads_nothing_to_a_later_one_of_its_name(bucket: Cabinet) -> None:
    url = await native(bucket, RAW, upload=True)
    await bucket.transactions.write(lambda tx: tx.run("UPDATE tenants SET created_ms = 1 WHERE name = 'acme'"))
    assert put(url, CONTENT) == 200
    assert await bucket.arrivals.look() == 0
    assert (await bucket.keys("imports/"), bucket.recorded) == ([], [])
    assert [each for each in await bucket.objects() if each.startswith("media-incoming/")] == []


async def test_a_link_that_is_changed_is_refused_by_the_store(bucket: Cabinet) -> None:
    url = await native(bucket, RAW, upload=True)
    path = urlsplit(url).path
    assert put(url.replace(path, f"{path}x"), b"x") == 403
    assert put(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601"), b"x") == 403
    assert httpx.get(url, timeout=60).status_code == 403
    assert await bucket.objects() == []


async def test_a_crash_between_taking_in_and_removing_repeats_nothing(bucket: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert put(await native(bucket, RAW, upload=True), CONTENT) == 200

    class Killed(BaseException):
        pass

    async def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(type(bucket.store), "delete", die)
    with pytest.raises(Killed):
        await bucket.arrivals.look()
    monkeypatch.undo()
    await bucket.media.delete("acme", RAW)  # somebody has fetched it already
    assert await bucket.arrivals.look() == 0
    assert await bucket.keys("imports/") == []
    assert len(bucket.recorded) == 1
    assert await bucket.objects() == []


async def test_what_does_not_fit_is_removed(bucket: Cabinet) -> None:
    assert put(await native(bucket, RAW, upload=True), b"x" * 1_000_001) == 200
    assert await bucket.arrivals.look() == 0
    assert await bucket.objects() == []
    assert bucket.media.counters.refused_arrivals == 1
    assert bucket.recorded == []


async def test_what_is_no_arrival_is_removed(bucket: Cabinet) -> None:
    for key in (
        "media-incoming/acme",
        "media-incoming/acme/1-0/%",
        "media-incoming/acme/1/aW1wb3J0cy9h",
        "media-incoming/nobody/1-0/aW1wb3J0cy9h",
        "media-incoming/acme/1-0/ZXhwb3J0cy9h",
        "media-incoming/acme/1-1/aW1wb3J0cy9h",
    ):
        await bucket.store.put(f"media-incoming/{key}", pieces(b"x"), 1)
        await bucket.arrivals.look()
        assert [each for each in await bucket.objects() if each.startswith("media-incoming/")] == []
    assert bucket.recorded == []


async def test_what_arrives_is_taken_in_on_each_database(cabinet: Cabinet) -> None:
    for number in range(3):
        key = to_incoming(Incoming("acme", f"imports/{number}", 1, 0))
        assert key is not None
        await cabinet.store.put(key, pieces(b"hello"), 5)
    assert await cabinet.arrivals.look() == 3
    assert await cabinet.keys("imports/") == ["imports/0", "imports/1", "imports/2"]
    assert len(cabinet.recorded) == 3
    cabinet.clock.now_ms += 8 * 86_400_000
    await cabinet.retention.trim()
    assert await cabinet.transactions.read(lambda tx: tx.rows("SELECT object FROM media_arrivals")) == []


async def test_a_key_that_is_too_long_for_the_store_goes_through_the_hub(bucket: Cabinet) -> None:
    key = "imports/" + "a" * 1000
    linked: Linked = await bucket.media.upload_link("acme", key, "https://hub.example.com")
    assert linked.native_url == linked.url
    assert to_incoming(Incoming("acme", key, 1, 0)) is None


@pytest.mark.parametrize("key", ["imports/a", "imports/日本/ä b.txt", "imports/" + "x" * 400])
def test_the_key_of_an_arrival_holds_tenant_key_and_end(key: str) -> None:
    incoming = Incoming("acme", key, 1_796_079_375_738, 1_795_000_000_000)
    made = to_incoming(incoming)
    assert made is not None
    assert all(len(each) <= 255 for each in made.split("/"))
    assert of_incoming(made) == incoming


def test_a_bucket_with_a_key_asks_for_it() -> None:
    links = S3Links("https://b.s3.eu-central-1.amazonaws.com", Credentials("AKIA", "secret"), "eu-central-1", Clock(), KMS)
    link = links.upload("media-incoming/acme/1/aW1w", 3600)
    query = parse_qs(urlsplit(link.url).query)
    assert query["kms-key"] == [KMS]
    assert query["X-Amz-SignedHeaders"] == ["host;x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id"]
    assert dict(link.headers) == {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": KMS}
    plain = S3Links("https://b.s3.eu-central-1.amazonaws.com", Credentials("AKIA", "secret"), "eu-central-1", Clock())
    assert "kms-key" not in plain.upload("media-incoming/acme/1/aW1w", 3600).url
