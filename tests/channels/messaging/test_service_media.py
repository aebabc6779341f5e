"""Files: what is taken, by its content; how they are named, fetched, linked and removed."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any
from urllib.parse import quote

import pytest

from channels.messaging.media_store import MediaStore
from hub.objects.claim import CLAIM_KEY
from hub.objects.folder import new_id
from hub.storage.transactions import StorageError
from tests.channels.messaging.support import API, NEXUS, PUBLIC_URL, SECRET, SMS, Exchange, form, signature

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
MEDIA = f"/{SMS}/media"
HOUR_MS = 3_600_000


def archive(*names: str) -> bytes:
    """A ZIP archive with empty members."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return made.getvalue()


async def stored(exchange: Exchange, content: bytes = PNG, filename: str = "a.png", declared: str | None = None) -> Any:
    """``data`` of an upload that is taken."""
    answer = await exchange.upload(content, filename, declared)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def files(exchange: Exchange) -> list[str]:
    """The names of all files of media."""
    return sorted(path.name for path in (exchange.folder / "media").rglob("*") if path.is_file() and path.name != CLAIM_KEY)


# -- what is taken ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "filename", "declared", "expected"),
    [
        (PNG, "a.png", "image/png", "image/png"),
        (PNG, "a.jpg", None, "image/png"),
        (PNG, "MyImage", "application/octet-stream", "image/png"),
        (JPEG, "a.jpg", "image/jpeg", "image/jpeg"),
        (JPEG, "a.jpg", "image/jpg", "image/jpeg"),
        (b"GIF89a\x01\x00\x01\x00", "a.gif", "image/gif", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a.webp", "image/webp", "image/webp"),
        (PDF, "a.pdf", "application/pdf", "application/pdf"),
        (MP4, "a.mp4", "video/mp4", "video/mp4"),
        (b"OggS\x00\x02", "a.ogg", "audio/ogg", "audio/ogg"),
        (b"#!AMR\n", "a.amr", "audio/amr", "audio/amr"),
        (b"ID3\x04\x00", "a.mp3", "audio/mp3", "audio/mpeg"),
        ("Grüße".encode(), "a.txt", "text/plain; charset=utf-8", "text/plain"),
        (b"a,b\n1,2\n", "a.csv", "text/csv", "text/csv"),
        (b"BEGIN:VCARD\nEND:VCARD\n", "a.vcf", "text/vcard", "text/vcard"),
        (
            archive("[Content_Types].xml", "word/document.xml"),
            "a.docx",
            None,
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    ],
)
async def test_what_is_taken(light: Exchange, content: bytes, filename: str, declared: str | None, expected: str) -> None:
    await light.channel()
    resource = await stored(light, content, filename, declared)
    assert (resource["mimetype"], resource["length"], resource["filename"]) == (expected, len(content), filename)


@pytest.mark.parametrize(
    ("content", "filename", "declared", "field"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a", "image/svg+xml", "file.content"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.png", "image/png", "file.contentType"),
        (b"<svg/>", "a.svg", None, "file.filename"),
        (b"<!DOCTYPE html><p>x", "a", "text/html", "file.content"),
        (b"<html><script>alert(1)</script>", "a.txt", "text/plain", "file.contentType"),
        (b"<script>alert(1)</script>", "a", None, "file.content"),
        (b"just text", "a.html", "text/plain", "file.filename"),
        (b"<?xml version='1.0'?><a/>", "a.txt", None, "file.content"),
        (b"#!/bin/sh\nrm\n", "a.txt", None, "file.content"),
        (b"MZ\x90\x00\x03\x00", "a.png", "image/png", "file.contentType"),
        (b"\x7fELF\x02\x01", "a", None, "file.content"),
        (PNG, "a.exe", "image/png", "file.filename"),
        (PNG, "a.png.js", "image/png", "file.filename"),
        (PNG, "a.png", "image/jpeg", "file.contentType"),
        (PDF, "a.png", "image/png", "file.contentType"),
        (archive("a.txt"), "a.zip", "application/zip", "file.content"),
        (archive("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), "a.docx", None, "file.content"),
        (archive("META-INF/MANIFEST.MF"), "a", None, "file.content"),
        (b"\x00\x01\x02\x03", "a.bin", None, "file.content"),
        (b"II*\x00", "a.tiff", "image/tiff", "file.content"),
    ],
)
async def test_what_is_refused(light: Exchange, content: bytes, filename: str, declared: str | None, field: str) -> None:
    await light.channel()
    answer = await light.upload(content, filename, declared)
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (415, field)
    assert files(light) == []


@pytest.mark.parametrize("light", [{"media_types": ["image/*"]}], indirect=True, ids=["pictures"])
async def test_other_types_by_setting(light: Exchange) -> None:
    await light.channel()
    assert (await stored(light, b"II*\x00", "a.tiff"))["mimetype"] == "image/tiff"
    assert (await light.upload(PDF, "a.pdf")).status_code == 415


@pytest.mark.parametrize("light", [{"max_media_bytes": 1024}], indirect=True, ids=["small"])
async def test_more_bytes_than_a_file_may_have(light: Exchange) -> None:
    await light.channel()
    assert (await light.upload(PNG.ljust(1024, b"\0"))).status_code == 200
    one_more = await light.upload(PNG.ljust(1025, b"\0"))
    assert (one_more.status_code, one_more.json()["status"]["message"]) == (413, "file: expected at most 1024 bytes, got 1025")
    whole = await light.upload(PNG.ljust(70_000, b"\0"))
    assert (whole.status_code, whole.json()["status"]["detail"]["field"]) == (413, "body")


# -- forms ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("image/png", 415),
        ("", 415),
        ("multipart/mixed; boundary=edge", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        (f"multipart/form-data; boundary={'x' * 71}", 400),
        ("multipart/form-data; boundary=another", 400),
        ('multipart/form-data; boundary="', 400),
    ],
)
async def test_what_is_no_form(light: Exchange, content_type: str, status: int) -> None:
    await light.channel()
    body, _ = form(PNG)
    answer = await light.third("POST", MEDIA, body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["status"]["detail"]["field"] in {"Content-Type", "body"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"--edge--\r\n", "file"),
        (b"--edge\r\nno header\r\n\r\nx\r\n--edge--\r\n", "body"),
        (b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx', "body"),
        (b'--edge\r\nContent-Disposition: form-data; name="file"; filename="\xff"\r\n\r\nx\r\n--edge--\r\n', "body"),
        (b'--edge\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--edge--\r\n', "file"),
        (form(PNG, field="picture")[0], "file"),
        (form(b"")[0], "file"),
        (form(PNG)[0].removesuffix(b"--edge--\r\n") + form(PNG)[0], "file"),
        (b'--edge\r\nContent-Disposition: form-data; name="x"\r\n\r\nx\r\n' * 17 + form(PNG)[0], "body"),
    ],
    ids=["empty", "no-parts", "no-header", "cut", "no-utf8", "no-filename", "other-field", "empty-file", "two-files", "many-fields"],
)
async def test_a_form_that_is_wrong(light: Exchange, body: bytes, field: str) -> None:
    await light.channel()
    answer = await light.third("POST", MEDIA, body, headers={"Content-Type": "multipart/form-data; boundary=edge"})
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (400, field)


async def test_other_fields_beside_the_file(light: Exchange) -> None:
    await light.channel()
    body = b'--edge\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n' + form(PNG)[0]
    answer = await light.third("POST", MEDIA, body, headers={"Content-Type": "multipart/form-data; boundary=edge"})
    assert answer.json()["data"]["length"] == len(PNG)


# -- fetched and removed ------------------------------------------------------------------------------------------------------


async def test_a_download_is_saved_and_never_shown(exchange: Exchange) -> None:
    await exchange.channel()
    content = PNG + bytes(200_000)
    resource = await stored(exchange, content, "größe.png")
    answer = await exchange.third("GET", f"{MEDIA}/{resource['mediaId']}")
    assert (answer.status_code, answer.content) == (200, content)
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-length"] == str(len(content))
    assert headers["content-disposition"].startswith("attachment; ")
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("header", ["bytes=0-3", "bytes=5-1", "bytes=99999999-", "bytes=-1", "nonsense"])
async def test_ranges_are_not_served(light: Exchange, header: str) -> None:
    """A range is the client's wish (RFC 9110 section 14.2): the whole file, and nothing that says otherwise."""
    await light.channel()
    resource = await stored(light)
    answer = await light.third("GET", f"{MEDIA}/{resource['mediaId']}", headers={"Range": header})
    assert (answer.status_code, answer.content, "content-range" in answer.headers) == (200, PNG, False)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "identifier",
    ["..", "../../hub.db", "..%2f..%2fhub.db", "%00", "a", "BB4A9F86-DBBB-4464-A669-650DA94FBAD6", "bb4a9f86-dbbb-4464-a669-650da94fbad6"],
)
async def test_ids_that_are_none(light: Exchange, method: str, identifier: str) -> None:
    await light.channel()
    answer = await light.third(method, f"{MEDIA}/{quote(identifier, safe='%')}")
    assert answer.status_code == 404
    assert answer.json()["status"]["code"] == 404


async def test_what_was_removed_is_gone_everywhere(exchange: Exchange) -> None:
    await exchange.channel()
    resource = await stored(exchange)
    path = f"{MEDIA}/{resource['mediaId']}"
    assert files(exchange) == [resource["mediaId"]]
    removed = await exchange.third("DELETE", path)
    assert (removed.status_code, removed.json()) == (200, {"status": {"code": 0}, "data": resource})
    assert [(await exchange.third(each, path)).status_code for each in ("GET", "DELETE")] == [404, 404]
    assert files(exchange) == []
    assert (exchange.counters.media_stored, exchange.counters.media_removed) == (1, 1)


async def test_media_belong_to_their_channel(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.channel("999", secret="another secret")
    await exchange.channel(caller="foreign", secret="a third secret")
    path = f"media/{(await stored(exchange))['mediaId']}"
    for method in ("GET", "DELETE"):
        assert (await exchange.third(method, f"/999/{path}", secret="another secret")).status_code == 404
        assert (await exchange.third(method, f"/{SMS}/{path}", ccid="other", secret="a third secret")).status_code == 404
        answer = await exchange.send(method, f"{API}/{SMS}/{path}", headers={"Authorization": "Bearer foreign"})
        assert answer.status_code == 404
    assert (await exchange.third("GET", f"/{SMS}/{path}")).status_code == 200


async def test_desks_fetch_what_came_and_send_what_they_have(exchange: Exchange) -> None:
    await exchange.channel()
    resource = await stored(exchange)
    desk = {"Authorization": "Bearer desk"}
    fetched = await exchange.send("GET", f"{API}{MEDIA}/{resource['mediaId']}", headers=desk)
    assert (fetched.status_code, fetched.content) == (200, PNG)
    body, headers = form(JPEG, "b.jpg")
    own = (await exchange.send("POST", f"{API}{MEDIA}", content=body, headers=headers | desk)).json()["data"]
    assert own["mimetype"] == "image/jpeg"
    assert (await exchange.third("GET", f"{MEDIA}/{own['mediaId']}")).content == JPEG
    removed = await exchange.send("DELETE", f"{API}{MEDIA}/{own['mediaId']}", headers=desk)
    assert removed.json()["data"] == own
    assert (await exchange.third("GET", f"{MEDIA}/{own['mediaId']}")).status_code == 404


async def test_a_message_that_names_a_file(exchange: Exchange) -> None:
    await exchange.channel()
    resource = await stored(exchange)
    message = {
        "channel": {"from": {"id": "1"}, "to": {"id": SMS}},
        "type": "RichMedia",
        "content": [{"type": "image", "url": resource["url"]}],
    }
    (identifier,) = await exchange.come(message)
    assert (await exchange.rest("GET", f"/{SMS}/messages/{identifier}"))["message"] == message


# -- links ------------------------------------------------------------------------------------------------------------------


async def link_to(exchange: Exchange) -> str:
    """The link to a file that an outgoing message has, without the hub's URL."""
    await exchange.channel()
    url = (await stored(exchange))["url"]
    await exchange.go({"channel": {"to": {"id": "1"}}, "type": "RichMedia", "content": [{"type": "image", "url": url}]})
    await exchange.until(lambda: len(exchange.receiver.got) == 1)
    link: str = exchange.receiver.bodies()[0]["content"][0]["url"]
    return link.removeprefix(PUBLIC_URL)


async def test_a_link_needs_nothing_else_and_runs_out(light: Exchange) -> None:
    link = await link_to(light)
    light.clock.now_ms += 24 * 7 * HOUR_MS - 1
    assert (await light.send("GET", link)).content == PNG
    light.clock.now_ms += 1
    answer = await light.send("GET", link)
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (403, "signature")


@pytest.mark.parametrize(
    ("pattern", "replacement", "status"),
    [
        (r"expires=\d+", "expires=99999999999999", 403),
        (r"expires=\d+", "expires=", 403),
        (r"expires=\d+", "expires=%D9%A1", 403),
        (r"expires=\d+", f"expires={'9' * 17}", 403),
        (r"signature=.{4}", "signature=0000", 403),
        (r"signature=.*", "signature=%C3%BC", 403),
        (r"signature=.*", "", 401),
        (SMS, "999", 403),
        (r"media/[^?]*", f"media/{new_id()}", 403),
        (r"media/[^?]*", "media/..%2Fx", 404),
    ],
    ids=["later", "no-time", "other-digits", "long", "forged", "no-ascii", "unsigned", "other-channel", "other-file", "traversal"],
)
async def test_a_link_that_is_not_the_hubs(light: Exchange, pattern: str, replacement: str, status: int) -> None:
    link = await link_to(light)
    forged = re.sub(pattern, replacement, link, count=1)
    assert forged != link
    assert (await light.send("GET", forged)).status_code == status


async def test_a_link_ends_with_its_file(light: Exchange) -> None:
    link = await link_to(light)
    identifier = re.findall(r"media/([^?]*)", link)[0]
    assert (await light.third("DELETE", f"{MEDIA}/{identifier}")).status_code == 200
    assert (await light.send("GET", link)).status_code == 404


async def test_a_link_is_for_reading_alone(light: Exchange) -> None:
    link = await link_to(light)
    assert (await light.send("DELETE", link)).status_code == 401


# -- when something breaks ----------------------------------------------------------------------------------------------------


async def test_a_file_that_is_gone_is_not_there(light: Exchange) -> None:
    await light.channel()
    resource = await stored(light)
    next((light.folder / "media").rglob(resource["mediaId"])).unlink()
    assert (await light.third("GET", f"{MEDIA}/{resource['mediaId']}")).status_code == 404
    assert (await light.third("DELETE", f"{MEDIA}/{resource['mediaId']}")).status_code == 200


async def test_a_disk_that_takes_nothing(light: Exchange) -> None:
    await light.channel()
    (light.folder / "media").write_text("a file where a folder has to be")
    answer = await light.upload(PNG)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_database_whose_answer_is_lost_takes_no_bytes_away(light: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    await light.channel()
    write = light.transactions.write

    async def lost(operation: Any) -> None:
        await write(operation)
        raise StorageError("the connection broke off after the commit")

    with monkeypatch.context() as patched:
        patched.setattr(light.transactions, "write", lost)
        assert (await light.upload(PNG)).status_code == 503
    (row,) = await light.transactions.read(lambda tx: tx.rows("SELECT id FROM messaging_media"))
    answer = await light.third("GET", f"{MEDIA}/{row[0]}")
    assert (answer.status_code, answer.content) == (200, PNG)


async def test_a_channel_that_goes_while_a_file_comes(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    await exchange.channel()
    write = MediaStore.write

    async def removed_then(store: MediaStore, identifier: str, content: bytes) -> None:
        await write(store, identifier, content)
        await exchange.transactions.write(lambda tx: tx.run("DELETE FROM messaging_channels"))

    monkeypatch.setattr(MediaStore, "write", removed_then)
    answer = await exchange.upload(PNG)
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (404, "channelId")
    assert files(exchange) == []


async def test_the_signature_is_over_the_whole_form(light: Exchange) -> None:
    await light.channel()
    body, headers = form(PNG)
    answer = await light.send(
        "POST", f"{NEXUS}{MEDIA}", content=body, headers=headers | {"x-ccid": "acme", "X-Hub-Signature": signature(PNG, SECRET)}
    )
    assert answer.status_code == 403
    assert files(light) == []
