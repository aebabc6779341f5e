"""Links: what is uploaded by them, downloaded, and deleted."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from channels.media_storage.keys import of_link_id, to_link_id
from channels.media_storage.retention import MediaRetention
from channels.media_storage.settings import MIB
from hub.objects.settings import ObjectsSettings
from hub.storage.transactions import StorageError
from tests.channels.media_storage.support import HUB, Cabinet, error

RAW = "imports/outreach/list-management/outreach.raw"
HASH = hashlib.md5(RAW.encode()).hexdigest()
CONTENT = os.urandom(1500)


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error of a link, which has the form of S3."""
    found = re.search("<Code>(.*)</Code>", answer.text)
    assert found is not None, answer.text
    return answer.status_code, found[1]


async def test_a_file_is_uploaded_listed_downloaded_and_deleted(cabinet: Cabinet) -> None:
    before = (await cabinet.ask(3, RAW, call="signedUploadUrl")).json()
    url = before["signedUploadUrl"]
    assert before == {
        "key": RAW,
        "keyHash": HASH,
        "keyName": "outreach.raw",
        "size": "",
        "lastModifiedTime": "",
        "signedUploadUrl": url,
        "nativeSignedUploadUrl": url,
    }
    assert url.startswith(f"{HUB}/files/v1/acme/key.")
    assert error(await cabinet.ask(3, RAW, call="signedDownloadUrl"))[0] == 404
    stored = await cabinet.call("PUT", url, caller="", content=CONTENT)
    assert (stored.status_code, stored.headers["etag"]) == (200, f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert await cabinet.keys("imports/") == [RAW]
    linked = (await cabinet.ask(3, RAW, call="signedDownloadUrl")).json()
    assert (linked["size"], linked["lastModifiedTime"]) == ("1.5 KB", "2026-03-01T12:00:00.000Z")
    file = await cabinet.call("GET", linked["signedDownloadUrl"], caller="")
    assert file.content == CONTENT
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["content-disposition"].startswith('attachment; filename="outreach.raw"')
    part = await cabinet.call("GET", linked["nativeSignedDownloadUrl"], caller="", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    gone = await cabinet.call("DELETE", f"/via/v3/organizations/acme/mediaStorage/data/objectKeys?key={RAW}")
    assert (gone.status_code, gone.json()) == (200, {"key": RAW, "keyHash": HASH, "status": "Delete request succeeded"})
    assert code(await cabinet.call("GET", linked["signedDownloadUrl"], caller="")) == (404, "NoSuchKey")
    assert error(await cabinet.call("DELETE", f"/via/v3/organizations/acme/mediaStorage/data/objectKeys?key={RAW}"))[0] == 404
    assert await cabinet.objects() == []
    assert await cabinet.keys("imports/") == []


async def test_version_2_gives_links_by_the_type_of_key(light: Cabinet) -> None:
    await light.upload(RAW)
    for kind, filled in (
        ("signedUploadUrl", {"signedUploadUrl", "nativeSignedUploadUrl"}),
        ("nativeSignedUploadUrl", {"signedUploadUrl", "nativeSignedUploadUrl"}),
        ("signedDownloadUrl", {"signedDownloadUrl", "nativeSignedDownloadUrl"}),
        ("nativeSignedDownloadUrl", {"signedDownloadUrl", "nativeSignedDownloadUrl"}),
    ):
        answer = (await light.ask(2, RAW, q_keyType=kind)).json()
        assert {name for name, value in answer.items() if name.endswith("Url") and value} == filled
        assert len([name for name in answer if name.endswith("Url")]) == 4
        assert (answer["keyType"], answer["keyHash"], answer["size"]) == ("file", HASH, "0.0 KB")
        assert error(await light.ask(3, RAW, q_keyType=kind))[0] == 400
    gone = await light.call("DELETE", f"/via/v2/organizations/acme/mediaStorage/data/objectKeys?key={RAW}")
    assert (gone.status_code, gone.content) == (204, b"")


async def test_the_hash_is_that_of_the_sample(light: Cabinet) -> None:
    key = "exports/outreach/outreach-20180401.tar"
    await light.export(key)
    assert (await light.ask(3, key, call="signedDownloadUrl")).json()["keyHash"] == "1a011762cec01ce9051c0eb81fc6f766"


async def test_a_finished_upload_is_an_event_without_a_link(cabinet: Cabinet) -> None:
    await cabinet.upload(RAW, CONTENT)
    (body,) = cabinet.events()
    assert body == {
        "type": "media.uploaded",
        "orgId": body["orgId"],
        "key": RAW,
        "keyHash": HASH,
        "keyName": "outreach.raw",
        "size": 1500,
        "md5": hashlib.md5(CONTENT).hexdigest(),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "lastModifiedTime": "2026-03-01T12:00:00.001Z",
    }
    (event,) = cabinet.recorded
    assert (event.tenant, event.type, event.endpoint) == ("acme", "media.uploaded", "?")


async def test_the_same_bytes_by_one_link_are_one_upload_and_others_are_refused(cabinet: Cabinet) -> None:
    url = await cabinet.upload_link(RAW)
    answers = await asyncio.gather(*(cabinet.call("PUT", url, caller="", content=CONTENT) for _ in range(3)))
    assert [each.status_code for each in answers] == [200, 200, 200]
    assert (await cabinet.call("PUT", url, caller="", content=CONTENT)).status_code == 200
    assert code(await cabinet.call("PUT", url, caller="", content=CONTENT[1:])) == (412, "PreconditionFailed")
    assert len(cabinet.recorded) == 1
    assert len(await cabinet.objects()) == 1


async def test_another_link_takes_other_bytes_in_place_of_the_first(cabinet: Cabinet) -> None:
    await cabinet.upload(RAW, b"one")
    await cabinet.upload(RAW, b"two!")
    linked = (await cabinet.ask(3, RAW, call="signedDownloadUrl")).json()
    assert (await cabinet.call("GET", linked["signedDownloadUrl"], caller="")).content == b"two!"
    assert len(await cabinet.objects()) == 1
    assert [each["size"] for each in cabinet.events()] == [3, 4]
    used = await cabinet.transactions.read(lambda tx: tx.row("SELECT bytes, files FROM media_usage WHERE tenant = 'acme'"))
    assert used is not None
    assert tuple(used) == (4, 1)


async def test_two_links_at_once_leave_one_object(cabinet: Cabinet) -> None:
    urls = []
    for _ in range(4):
        cabinet.clock.now_ms += 1
        urls.append(await cabinet.upload_link(RAW))
    answers = await asyncio.gather(*(cabinet.call("PUT", url, caller="", content=bytes([number])) for number, url in enumerate(urls)))
    assert {each.status_code for each in answers} == {200}
    assert len(await cabinet.objects()) == 1
    assert len(cabinet.recorded) == 4


@pytest.mark.parametrize("light", [{"max_file_bytes": 10}], indirect=True)
@pytest.mark.parametrize(("size", "status"), [(0, 200), (1, 200), (10, 200), (11, 400)])
async def test_a_file_has_a_size_that_is_allowed(light: Cabinet, size: int, status: int) -> None:
    answer = await light.call("PUT", await light.upload_link(RAW), caller="", content=b"x" * size)
    assert answer.status_code == status
    if status == 400:
        assert code(answer) == (400, "EntityTooLarge")
        assert await light.objects() == []
        assert light.recorded == []
    else:
        assert (await light.listed("imports/"))["totalItems"] == 1


@pytest.mark.parametrize("light", [{"max_tenant_bytes": 10}, {"max_tenant_files": 2}], indirect=True)
async def test_a_tenant_has_a_quota(light: Cabinet) -> None:
    for name, content in (("a", b"12345"), ("b", b"1234")):
        await light.upload(f"imports/{name}", content)
    light.clock.now_ms += 1
    late = await light.upload_link("imports/c")
    answer = await light.call("PUT", late, caller="", content=b"12")
    assert code(answer) == (403, "QuotaExceeded")
    assert "media_storage.max_tenant_" in answer.text
    assert len(await light.objects()) == 2
    assert light.media.counters.refused_full == 1
    await light.upload("imports/a", b"123456")  # in place of another
    await light.media.delete("acme", "imports/b")
    assert (await light.call("PUT", late, caller="", content=b"12")).status_code == 200
    await light.export("exports/a", b"x" * 9, tenant="other")


async def test_a_link_ends_with_its_millisecond(light: Cabinet) -> None:
    url = await light.upload_link(RAW)
    light.clock.now_ms += 3_600_000
    assert code(await light.call("PUT", url, caller="", content=b"x")) == (403, "AccessDenied")
    light.clock.now_ms -= 1
    assert (await light.call("PUT", url, caller="", content=b"x")).status_code == 200


async def test_a_link_is_for_one_tenant_and_one_key(light: Cabinet) -> None:
    await light.upload(RAW)
    url = (await light.ask(3, RAW, call="signedDownloadUrl")).json()["signedDownloadUrl"]
    for changed in (
        url.replace("/acme/", "/other/"),
        url.replace("/key.a", "/key.b"),
        url.replace("p=x", "p=f"),
        url.replace("d=a", "d=i"),
    ):
        assert changed != url
        assert (await light.call("GET", changed, caller="")).status_code == 403
    assert code(await light.call("PUT", url, caller="", content=b"x")) == (403, "SignatureDoesNotMatch")


async def test_a_link_of_a_tenant_that_was_removed_leads_to_nothing_of_a_later_one_of_its_name(cabinet: Cabinet) -> None:
    await cabinet.upload(RAW)
    down = (await cabinet.ask(3, RAW, call="signedDownloadUrl")).json()["signedDownloadUrl"]
    up = await cabinet.upload_link("imports/b")
    await cabinet.transactions.write(lambda tx: tx.run("DELETE FROM tenants WHERE name = 'acme'"))
    await cabinet.transactions.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 1)"))
    await cabinet.upload(RAW, b"a secret of the later one")
    recorded = len(cabinet.recorded)
    assert code(await cabinet.call("GET", down, caller="")) == (404, "NoSuchKey")
    assert code(await cabinet.call("PUT", up, caller="", content=b"x")) == (404, "NoSuchKey")
    assert (await cabinet.keys("imports/"), len(cabinet.recorded)) == ([RAW], recorded)


async def test_a_link_of_a_tenant_that_is_removed_leads_nowhere(cabinet: Cabinet) -> None:
    await cabinet.upload(RAW)
    down = (await cabinet.ask(3, RAW, call="signedDownloadUrl")).json()["signedDownloadUrl"]
    up = await cabinet.upload_link("imports/b")
    await cabinet.transactions.write(lambda tx: tx.run("DELETE FROM tenants WHERE name = 'acme'"))
    assert code(await cabinet.call("GET", down, caller="")) == (404, "NoSuchKey")
    assert code(await cabinet.call("PUT", up, caller="", content=b"x")) == (404, "NoSuchKey")


@pytest.mark.parametrize("key", ["imports/a", "imports/日本/ä b+c%~.txt", "imports/" + "é" * 508])
def test_the_id_of_a_link_holds_its_key(key: str) -> None:
    identifier = to_link_id(key, 1_795_000_000_000)
    assert re.fullmatch(r"key\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.1795000000000", identifier)
    assert identifier != to_link_id(key, 1_795_000_000_000), "links of one millisecond are told apart"
    assert of_link_id(identifier) == (key, 1_795_000_000_000)


@pytest.mark.parametrize(
    "identifier", ["5cd8e7a8-b58e-5ef0-bfed-f90d05d1c9ad", "key.!", "key._w", "key.YQ.x", "key.YQ.x.", "key.YQ.x.1x", ""]
)
def test_other_ids_have_no_key(identifier: str) -> None:
    assert of_link_id(identifier) is None


@pytest.mark.parametrize("key", ["imports/日本/ä b+c%~.txt", "imports/" + "é" * 508, "imports/" + "a/" * 62 + "b"])
async def test_keys_of_all_languages_pass(cabinet: Cabinet, key: str) -> None:
    await cabinet.upload(key, CONTENT)
    assert await cabinet.keys("imports/") == [key]
    url = (await cabinet.ask(2, key, q_keyType="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await cabinet.call("GET", url, caller="")).content == CONTENT


async def test_a_link_that_was_used_does_not_bring_a_deleted_file_back(cabinet: Cabinet) -> None:
    url = await cabinet.upload_link(RAW)
    for _ in range(2):
        assert (await cabinet.call("PUT", url, caller="", content=CONTENT)).status_code == 200
    await cabinet.media.delete("acme", RAW)
    for content in (CONTENT, b"ZOMBIE"):
        answer = await cabinet.call("PUT", url, caller="", content=content)
        assert code(answer) == (412, "PreconditionFailed")
        assert "ask for a new link" in answer.text
    assert await cabinet.keys("imports/") == []
    assert await cabinet.objects() == []
    assert len(cabinet.recorded) == 1
    assert (await cabinet.call("PUT", await cabinet.upload_link(RAW), caller="", content=b"new")).status_code == 200


async def test_a_late_repetition_does_not_undo_a_newer_upload(cabinet: Cabinet) -> None:
    first, second = await cabinet.upload_link(RAW), await cabinet.upload_link(RAW)  # of one millisecond
    assert (await cabinet.call("PUT", first, caller="", content=b"A")).status_code == 200
    assert (await cabinet.call("PUT", second, caller="", content=b"B")).status_code == 200
    assert code(await cabinet.call("PUT", first, caller="", content=b"A")) == (412, "PreconditionFailed")
    assert (await cabinet.call("PUT", second, caller="", content=b"B")).status_code == 200
    linked = (await cabinet.ask(3, RAW, call="signedDownloadUrl")).json()
    assert (await cabinet.call("GET", linked["signedDownloadUrl"], caller="")).content == b"B"
    assert len(cabinet.recorded) == 2


async def test_used_links_are_counted_until_an_hour_after_their_end(cabinet: Cabinet) -> None:
    for name in "ab":
        await cabinet.upload(f"imports/{name}")
    count = "SELECT (SELECT links FROM media_usage WHERE tenant = 'acme'), (SELECT COUNT(*) FROM media_used_links)"
    assert tuple(await cabinet.transactions.read(lambda tx: tx.row(count)) or ()) == (2, 2)
    cabinet.clock.now_ms += 3_600_000 + 3_600_000
    await cabinet.retention.trim()
    assert tuple(await cabinet.transactions.read(lambda tx: tx.row(count)) or ()) == (1, 1), "the second has an hour still"
    cabinet.clock.now_ms += 1
    await cabinet.retention.trim()
    assert tuple(await cabinet.transactions.read(lambda tx: tx.row(count)) or ()) == (0, 0)


async def test_used_links_are_remembered_as_long_as_an_upload_by_them_may_last(light: Cabinet) -> None:
    """Seven hours at 4,096 bytes a second; an upload that began in time must find that another one was first."""
    await light.upload(RAW)
    longest_s = ObjectsSettings().longest_upload_s(100 * 1024 * 1024)
    assert longest_s == 25_630
    job = MediaRetention(light.media, light.transactions, light.store, light.settings, light.clock, longest_upload_s=longest_s)
    light.clock.now_ms += 3_600_000 + 25_630_000
    await job.trim()
    count = "SELECT COUNT(*) FROM media_used_links"
    assert tuple(await light.transactions.read(lambda tx: tx.row(count)) or ()) == (1,)
    light.clock.now_ms += 1
    await job.trim()
    assert tuple(await light.transactions.read(lambda tx: tx.row(count)) or ()) == (0,)


def test_where_no_upload_is_ended_for_its_speed_it_may_last_a_day() -> None:
    assert ObjectsSettings(min_bytes_per_s=0, idle_s=30).longest_upload_s(5) == 86_430


@pytest.mark.parametrize("light", [{"max_used_links": 2}], indirect=True)
async def test_a_tenant_has_so_many_used_links(light: Cabinet) -> None:
    for _ in range(2):
        await light.upload(RAW)
    answer = await light.call("PUT", await light.upload_link(RAW), caller="", content=b"x")
    assert code(answer) == (403, "QuotaExceeded")
    assert "media_storage.max_used_links" in answer.text


@pytest.mark.parametrize("light", [{"max_tenant_bytes": 1000}], indirect=True)
async def test_bytes_beyond_the_quota_are_refused_before_they_are_read(light: Cabinet) -> None:
    read = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        read.set()
        yield b"x" * 1001

    answer = await light.call("PUT", await light.upload_link(RAW), caller="", content=pieces(), headers={"Content-Length": "1001"})
    assert code(answer) == (403, "QuotaExceeded")
    assert light.media.counters.refused_full == 1
    assert not read.is_set()


@pytest.mark.parametrize("light", [{"max_tenant_bytes": 1000}], indirect=True)
async def test_uploads_at_once_share_what_is_left_of_the_quota(light: Cabinet) -> None:
    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await go.wait()
        yield b"x" * 600

    first = asyncio.create_task(
        light.call("PUT", await light.upload_link("imports/a"), caller="", content=slow(), headers={"Content-Length": "600"})
    )
    while not light.endpoint.transfers:
        await asyncio.sleep(0)
    answer = await light.call("PUT", await light.upload_link("imports/b"), caller="", content=b"x" * 600)
    assert code(answer) == (403, "QuotaExceeded")
    go.set()
    assert (await first).status_code == 200
    assert (await light.call("PUT", await light.upload_link("imports/c"), caller="", content=b"x" * 400)).status_code == 200


async def test_a_disk_that_is_full_is_told_and_leaves_nothing(light: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await light.upload_link(RAW)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hub.objects.local.append", full)
    assert code(await light.call("PUT", url, caller="", content=CONTENT)) == (503, "ServiceUnavailable")
    assert await light.keys("imports/") == []
    assert await light.objects() == []
    assert light.recorded == []
    monkeypatch.undo()
    assert (await light.call("PUT", url, caller="", content=CONTENT)).status_code == 200


async def test_a_database_that_does_not_answer_loses_nothing(light: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await light.upload_link(RAW)

    def fail(*_: object) -> None:
        raise StorageError("no database")

    monkeypatch.setattr("channels.media_storage.store.put", fail)
    assert code(await light.call("PUT", url, caller="", content=CONTENT)) == (503, "ServiceUnavailable")
    assert light.recorded == []
    monkeypatch.undo()
    assert (await light.call("PUT", url, caller="", content=CONTENT)).status_code == 200
    assert len(light.recorded) == 1
    light.clock.now_ms = time.time_ns() // 1_000_000 + 2 * 3_600_000
    assert await light.retention.sweep() == 1  # what the first try left
    assert len(await light.objects()) == 1


async def test_a_large_file_passes(light: Cabinet) -> None:
    content = os.urandom(20 * MIB)
    await light.upload(RAW, content)
    url = (await light.ask(2, RAW, q_keyType="signedDownloadUrl")).json()["signedDownloadUrl"]
    assert (await light.call("GET", url, caller="")).content == content
