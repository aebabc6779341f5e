"""Links on a real server: uploads and downloads in pieces, and every way in which they fail."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import httpx
import pytest
import structlog

from hub.objects.counters import ObjectCounters
from hub.objects.link_endpoint import LinkEndpoint
from hub.objects.links import Disposition, FileLink, FileLinks, Purpose
from hub.objects.local import LocalStore
from hub.objects.settings import ObjectsSettings
from hub.objects.store import ObjectNotFoundError, ObjectStore, Stored
from hub.objects.transfer import Coming, Download, NoRoomError, Outcome, Upload
from hub.transports import file_sending, http_protocol
from tests.hub.transports.harness import listening
from tests.world import ManualClock

NOW = 1_795_956_000_000
CONTENT = os.urandom(300_000)


class Owner:
    """A family that keeps its files in a dictionary."""

    purpose = Purpose.FILE

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, Stored] | None] = {}
        """By id: key and bytes of an upload; None: it waits for them."""
        self.begun = 0
        self.coming: list[Coming] = []
        self.hold: asyncio.Event | None = None
        self.fails: Exception | None = None

    async def begin(self, link: FileLink, coming: Coming) -> Upload | None:
        self.coming.append(coming)
        if link.id not in self.files:
            return None
        self.begun += 1
        found = self.files[link.id]
        return Upload(f"incoming/{link.id}/{self.begun}", None if found is None else found[1], max_bytes=len(CONTENT))

    async def finish(self, link: FileLink, upload: Upload, stored: Stored) -> Outcome:
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            raise self.fails
        if link.id not in self.files:
            return Outcome.GONE
        found = self.files[link.id]
        if found is not None:
            return Outcome.SAME if found[1] == stored else Outcome.OTHER
        self.files[link.id] = (upload.key, stored)
        return Outcome.KEPT

    async def find(self, link: FileLink) -> Download | None:
        found = self.files.get(link.id)
        if found is None:
            return None
        return Download(found[0], found[1].size, found[1].md5, "Bericht €.pdf", "application/pdf", NOW)


class World:
    """A server of links, and a client."""

    def __init__(self, folder: Path, settings: ObjectsSettings, store: ObjectStore | None = None) -> None:
        self.clock = ManualClock(wall=NOW)
        self.links = FileLinks(b"s" * 32, self.clock)
        self.store = store or LocalStore(folder)
        self.owner = Owner()
        self.counters = ObjectCounters()
        self.endpoint = LinkEndpoint(self.links, self.store, lambda: [self.owner], settings, self.counters)
        self.port = 0
        self.client: httpx.AsyncClient

    def upload(self, identifier: str = "a", size: int = len(CONTENT), kind: str = "application/pdf", tenant: str = "demo") -> str:
        """A link for an upload."""
        self.owner.files.setdefault(identifier, None)
        return self.links.make("", FileLink(tenant, identifier, Purpose.FILE, NOW + 1000, size, kind))

    def download(self, identifier: str = "a", how: Disposition = Disposition.ATTACHMENT) -> str:
        """A link for downloads."""
        return self.links.make("", FileLink("demo", identifier, Purpose.FILE, NOW + 1000, disposition=how))

    async def put(self, url: str, content: bytes = CONTENT, kind: str = "application/pdf", **more: str) -> httpx.Response:
        return await self.client.put(url, content=content, headers={"Content-Type": kind, **more})

    async def keys(self) -> list[str]:
        """What is in the store."""
        return [each.key for each in await self.store.objects("")]

    async def raw(self, *pieces: bytes, close: bool = False) -> bytes:
        """Send bytes, and read until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if close:
            writer.close()
            return b""
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return answer


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in the form of S3."""
    found = ElementTree.fromstring(answer.content).findtext("Code")
    assert answer.headers["content-type"] == "application/xml"
    assert found is not None
    return answer.status_code, found


@pytest.fixture
def settings() -> ObjectsSettings:
    """The settings; a test may have others."""
    return ObjectsSettings()


@pytest.fixture
async def world(tmp_path: Path, settings: ObjectsSettings) -> AsyncIterator[World]:
    made = World(tmp_path / "objects", settings)
    async with listening(made.endpoint) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        made.port, made.client = port, client
        yield made


async def until(condition: object, what: str) -> None:
    """Wait until something holds."""
    assert callable(condition)
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


async def test_what_is_uploaded_is_downloaded(world: World) -> None:
    answer = await world.put(world.upload())
    etag = f'"{hashlib.md5(CONTENT).hexdigest()}"'
    assert (answer.status_code, answer.headers["etag"], answer.content) == (200, etag, b"")
    got = await world.client.get(world.download())
    assert (got.status_code, got.content, got.headers["etag"]) == (200, CONTENT, etag)
    assert got.headers["content-length"] == str(len(CONTENT))
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-disposition"] == "attachment; filename=\"Bericht _.pdf\"; filename*=UTF-8''Bericht%20%E2%82%AC.pdf"
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["x-content-type-options"] == "nosniff", "once: the server adds it to every answer"
    assert got.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in got.headers
    for each in (answer, got):
        assert each.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in each.headers["content-security-policy"]
    await until(lambda: world.counters.downloaded == 1, "the server has noted that the client has all of it")
    assert world.counters.uploaded == 1
    assert (world.counters.bytes_in, world.counters.bytes_out) == (len(CONTENT), len(CONTENT))
    assert world.endpoint.transfers == 0


async def test_an_empty_file_passes(world: World) -> None:
    assert (await world.put(world.upload(size=0), b"")).status_code == 200
    got = await world.client.get(world.download())
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")
    assert code(await world.client.get(world.download(), headers={"Range": "bytes=0-"})) == (416, "InvalidRange")


async def test_the_same_bytes_again_are_taken_and_others_are_not(world: World) -> None:
    url = world.upload()
    first = await world.put(url)
    again = await world.put(url)
    assert (again.status_code, again.headers["etag"]) == (200, first.headers["etag"])
    assert code(await world.put(url, CONTENT[:-1] + b"x")) == (412, "PreconditionFailed")
    assert await world.keys() == ["incoming/a/1"]


async def test_of_two_uploads_at_once_one_is_kept(world: World) -> None:
    world.owner.hold = asyncio.Event()
    url = world.upload()
    others = CONTENT[:-1] + b"x"
    running = [asyncio.create_task(world.put(url, content)) for content in (CONTENT, others)]
    await until(lambda: world.owner.begun == 2, "both have begun")
    third = await world.put(url)
    assert (code(third), third.headers["retry-after"]) == ((503, "SlowDown"), "2")
    assert "max_uploads_per_link" in third.text
    assert world.counters.refused_link == 1
    world.owner.hold.set()
    assert sorted(answer.status_code for answer in await asyncio.gather(*running)) == [200, 412]
    assert len(await world.keys()) == 1


@pytest.mark.parametrize("off", [-1, 1])
async def test_another_length_is_refused_before_anything_is_written(world: World, off: int) -> None:
    assert code(await world.put(world.upload(size=len(CONTENT) + off))) == (400, "IncompleteBody")
    assert world.owner.begun == 0
    assert await world.keys() == []


async def test_a_body_without_a_length_is_refused(world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield CONTENT

    answer = await world.client.put(world.upload(), content=pieces(), headers={"Content-Type": "application/pdf"})
    assert code(answer) == (411, "MissingContentLength")


@pytest.mark.parametrize("kind", ["text/html", "application/pdf; charset=x", ""])
async def test_another_type_is_refused(world: World, kind: str) -> None:
    assert code(await world.put(world.upload(), kind=kind)) == (403, "SignatureDoesNotMatch")
    assert await world.keys() == []


async def test_a_type_may_be_written_in_capitals(world: World) -> None:
    assert (await world.put(world.upload(), kind="Application/PDF")).status_code == 200


async def test_a_packed_body_is_refused(world: World) -> None:
    assert code(await world.put(world.upload(), **{"Content-Encoding": "gzip"})) == (400, "InvalidRequest")


async def test_a_link_is_good_until_its_millisecond_and_a_slow_upload_may_end_later(world: World) -> None:
    url = world.upload()
    world.clock.wall = NOW + 1000
    assert code(await world.put(url)) == (403, "AccessDenied")
    world.clock.wall = NOW + 999
    head = f"PUT {url} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\nContent-Length: {len(CONTENT)}\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head.encode() + CONTENT[:10])
    await until(lambda: world.owner.begun == 1, "it has begun")
    world.clock.wall = NOW + 10_000
    writer.write(CONTENT[10:])
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("change", [("demo", "acme"), ("/a?", "/b?"), ("s=300000", "s=1"), ("sig=", "sig=0")])
async def test_a_changed_link_is_refused(world: World, change: tuple[str, str]) -> None:
    url = world.upload()
    world.owner.files["b"] = None
    changed = url.replace(*change)
    assert changed != url
    answer = await world.put(changed)
    assert answer.status_code == 403
    assert code(answer)[1] in ("SignatureDoesNotMatch", "AccessDenied")
    assert world.counters.refused == 1
    assert world.owner.begun == 0


async def test_what_is_gone_is_told(world: World) -> None:
    url, link = world.upload(), world.download()
    assert code(await world.client.get(link)) == (404, "NoSuchKey"), "no bytes yet"
    del world.owner.files["a"]
    assert code(await world.put(url)) == (404, "NoSuchKey")
    assert code(await world.client.get(link)) == (404, "NoSuchKey")


async def test_a_file_that_is_deleted_while_it_comes_leaves_nothing(world: World) -> None:
    world.owner.hold = asyncio.Event()
    running = asyncio.create_task(world.put(world.upload()))
    await until(lambda: world.owner.begun == 1, "it has begun")
    del world.owner.files["a"]
    world.owner.hold.set()
    assert code(await running) == (404, "NoSuchKey")
    assert await world.keys() == []


async def test_a_client_that_goes_in_the_middle_leaves_nothing(world: World, tmp_path: Path) -> None:
    head = f"PUT {world.upload()} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
    await world.raw(head.encode() + CONTENT[:-1], close=True)
    await until(lambda: world.counters.broken == 1, "it is noticed")
    assert await world.keys() == []
    assert not any((tmp_path / "objects" / ".parts").glob("*"))
    assert world.endpoint.transfers == 0
    assert (await world.put(world.upload())).status_code == 200, "and the link is good still"


class TestPaused:
    """An upload that stands still."""

    @pytest.fixture
    def settings(self) -> ObjectsSettings:
        return ObjectsSettings(idle_s=0.2, min_bytes_per_s=1_000_000)

    async def test_an_upload_that_stands_still_is_ended(self, world: World, tmp_path: Path) -> None:
        head = f"PUT {world.upload()} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        answer = await world.raw(head.encode() + CONTENT[:-1])
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"<Code>RequestTimeout</Code>" in answer
        assert not any((tmp_path / "objects" / ".parts").glob("*"))

    async def test_an_upload_that_trickles_is_ended(self, world: World, tmp_path: Path) -> None:
        """Each byte comes in time, and all of them would hold a transfer for hours."""
        head = f"PUT {world.upload()} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(head.encode())
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert b"<Code>RequestTimeout</Code>" in answer.result()
        assert not any((tmp_path / "objects" / ".parts").glob("*"))
        assert world.endpoint.transfers == 0
        writer.close()

    async def test_a_download_that_nobody_reads_is_ended(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        large = os.urandom(30_000_000)
        assert (await world.put(world.upload(size=len(large)), large)).status_code == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
        writer.write(f"GET {world.download()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: world.counters.broken == 1, "it is ended")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(len(large))
        writer.close()
        await until(lambda: world.endpoint.transfers == 0, "the server knows it")
        assert [each.getMessage() for each in caplog.records if each.name == "uvicorn.error" and each.levelname == "ERROR"] == []


async def test_an_unfinished_file_that_somebody_removes_is_told(world: World, tmp_path: Path) -> None:
    head = f"PUT {world.upload()} HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head.encode() + CONTENT[:-1])
    await until(lambda: any((tmp_path / "objects" / ".parts").glob("*")), "it is written")
    for each in (tmp_path / "objects" / ".parts").iterdir():
        each.unlink()
    writer.write(CONTENT[-1:])
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"<Code>ServiceUnavailable</Code>" in answer
    assert (world.counters.failed, await world.keys()) == (1, [])
    assert (await world.put(world.upload())).status_code == 200


async def test_another_method_is_refused(world: World) -> None:
    answer = await world.client.post(world.upload())
    assert code(answer) == (405, "MethodNotAllowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, PUT"


async def test_a_page_of_any_origin_may_ask(world: World) -> None:
    answer = await world.client.options(world.upload(), headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "PUT" in answer.headers["access-control-allow-methods"]


async def test_a_link_without_a_size_takes_as_much_as_its_owner_does(world: World) -> None:
    world.owner.files["a"] = None
    url = world.links.make("", FileLink("demo", "a", Purpose.FILE, NOW + 1000))
    assert code(await world.put(url, CONTENT + b"x")) == (400, "EntityTooLarge")
    assert await world.keys() == []
    head = f"PUT {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    assert b" 411 Length Required" in await world.raw(head + b"\r\n")
    assert (await world.put(url, kind="any/thing")).status_code == 200
    assert (await world.client.get(world.download())).content == CONTENT


async def test_a_quota_that_is_used_up_is_told_and_leaves_nothing(world: World) -> None:
    world.owner.fails = NoRoomError("media_storage.max_tenant_bytes: expected at most 5 bytes")
    answer = await world.put(world.upload())
    assert code(answer) == (403, "QuotaExceeded")
    assert "max_tenant_bytes" in answer.text
    assert await world.keys() == []


async def test_the_owner_hears_what_all_uploads_of_the_tenant_bring(world: World) -> None:
    world.owner.hold = asyncio.Event()
    running = [asyncio.create_task(world.put(world.upload()))]
    await until(lambda: world.owner.begun == 1, "the first has begun")
    running.append(asyncio.create_task(world.put(world.upload("b", size=5), b"12345")))
    running.append(asyncio.create_task(world.put(world.upload("c", size=7, tenant="acme"), b"1234567")))
    await until(lambda: world.owner.begun == 3, "the others have begun")
    world.owner.hold.set()
    assert [each.status_code for each in await asyncio.gather(*running)] == [200, 200, 200]
    await world.put(world.upload("d", size=1), b"1")
    assert world.owner.coming[0] == Coming(1, len(CONTENT))
    assert sorted(each.bytes for each in world.owner.coming[1:3]) == [7, len(CONTENT) + 5]
    assert world.owner.coming[3] == Coming(1, 1), "what has ended is not counted"


async def test_a_purpose_that_nobody_has_leads_nowhere(world: World) -> None:
    link = FileLink("demo", "a", Purpose.MEDIA_STORAGE, NOW + 1000, disposition=Disposition.ATTACHMENT)
    assert code(await world.client.get(world.links.make("", link))) == (404, "NoSuchKey")


async def test_an_object_that_is_lost_is_told(world: World) -> None:
    await world.put(world.upload())
    await world.store.delete(await world.keys())
    assert code(await world.client.get(world.download())) == (404, "NoSuchKey")
    assert world.counters.failed == 1


async def test_a_file_that_is_replaced_in_this_moment_is_the_new_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put(world.upload())
    await world.put(world.upload("b", size=3), b"new")
    real = world.store.open_file

    async def replaced(key: str) -> BinaryIO | None:
        world.owner.files["a"] = world.owner.files["b"]
        await world.store.delete(["incoming/a/1"])
        return await real(key)

    monkeypatch.setattr(LocalStore, "open_file", staticmethod(replaced))
    answer = await world.client.get(world.download())
    assert (answer.status_code, answer.content) == (200, b"new")
    assert world.counters.failed == 0


async def test_a_file_that_is_replaced_again_and_again_is_not_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, content in enumerate((b"1", b"2", b"3", b"4", b"5", b"6")):
        await world.put(world.upload(f"{number}", size=1), content)
    real, opened = world.store.open_file, 0
    url = world.download("0")

    async def replaced(key: str) -> BinaryIO | None:
        nonlocal opened
        opened += 1
        if opened < times:
            world.owner.files["0"] = world.owner.files[f"{opened}"]
            raise ObjectNotFoundError("it was replaced")
        return await real(key)

    monkeypatch.setattr(LocalStore, "open_file", staticmethod(replaced))
    times = 4
    answer = await world.client.get(url)
    assert (answer.status_code, answer.content) == (200, b"4")
    times, opened = 6, 0
    assert code(await world.client.get(url)) == (503, "SlowDown")
    assert world.counters.failed == 0


class TestInPieces:
    """Downloads on a connection whose server sends no files by itself, as those with TLS."""

    @pytest.fixture(autouse=True)
    def _offers_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_protocol, "EXTENSIONS", {})

    @pytest.mark.parametrize("asked", [None, "bytes=0-0", "bytes=100-299998"])
    async def test_they_are_the_same(self, world: World, asked: str | None) -> None:
        await world.put(world.upload())
        got = await world.client.get(world.download(), headers={} if asked is None else {"Range": asked})
        start, end = (0, len(CONTENT)) if asked is None else (int(each) for each in asked.removeprefix("bytes=").split("-"))
        assert got.content == CONTENT[start : end + 1]
        await until(lambda: world.counters.bytes_out == len(got.content), "it is counted")

    async def test_one_that_nobody_reads_to_its_end_is_broken(self, world: World) -> None:
        large = os.urandom(30_000_000)
        assert (await world.put(world.upload(size=len(large)), large)).status_code == 200
        await left_amid(world)


async def left_amid(world: World) -> None:
    """A client goes in the middle of a download."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
    writer.write(f"GET {world.download()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readexactly(100_000)
    writer.transport.abort()
    await until(lambda: world.counters.broken == 1, "the server knows it")
    await until(lambda: world.endpoint.transfers == 0, "it is over")
    assert (world.counters.downloaded, world.counters.bytes_out) == (0, 0)


async def test_a_download_whose_client_goes_is_broken(world: World) -> None:
    large = os.urandom(30_000_000)
    assert (await world.put(world.upload(size=len(large)), large)).status_code == 200
    await left_amid(world)


async def test_a_file_that_cannot_be_read_breaks_the_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    await world.put(world.upload())
    monkeypatch.setattr(file_sending, "_send", broken)
    with structlog.testing.capture_logs() as logged, pytest.raises(httpx.RemoteProtocolError):
        await world.client.get(world.download())
    assert [(each["event"], each["error"]) for each in logged if each["log_level"] == "warning"] == [
        ("object_broken_off", "[Errno 5] Input/output error")
    ]
    assert world.counters.broken == 1


async def test_a_request_is_in_the_access_log_without_its_link(world: World) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logged:
        answers = [
            await world.put(world.upload()),
            await world.client.get(world.download()),
            await world.client.get(world.download("none")),
        ]
        await until(lambda: len(logged) >= 3, "the lines are written")
    lines = [each for each in logged if each["event"] == "request"]
    assert [(each["method"], each["path"], each["status"]) for each in lines] == [
        ("PUT", "/files/v1/{tenant}/{id}", 200),
        ("GET", "/files/v1/{tenant}/{id}", 200),
        ("GET", "/files/v1/{tenant}/{id}", 404),
    ]
    assert [each["request_id"] for each in lines] == [each.headers["x-amz-request-id"] for each in answers]
    assert f"<RequestId>{lines[2]['request_id']}</RequestId>" in answers[2].text
    assert "sig" not in repr(logged)


async def test_an_object_that_is_too_short_breaks_the_connection(world: World) -> None:
    await world.put(world.upload())
    found = world.owner.files["a"]
    assert found is not None
    world.owner.files["a"] = (found[0], replace(found[1], size=len(CONTENT) + 1))
    with pytest.raises(httpx.RemoteProtocolError):
        await world.client.get(world.download())


async def test_an_upload_that_the_database_did_not_note_can_be_repeated(world: World) -> None:
    from hub.storage.transactions import StorageError

    world.owner.fails = StorageError("no database")
    answer = await world.put(world.upload())
    assert code(answer) == (503, "ServiceUnavailable")
    assert answer.headers["retry-after"] == "2"
    world.owner.fails = None
    assert (await world.put(world.upload())).status_code == 200


async def test_a_store_without_room_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.objects import local

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local, "append", full)
    assert code(await world.put(world.upload())) == (503, "ServiceUnavailable")
    assert world.counters.failed == 1
    monkeypatch.undo()
    assert (await world.put(world.upload())).status_code == 200


async def test_a_websocket_is_refused(world: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(
        f"GET {world.download()} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
    writer.close()
