"""The life of a file, on both databases, with real uploads."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from channels.files.errors import (
    BeingCompleted,
    FileNotFound,
    InvalidFile,
    NotApproved,
    NotUploaded,
    QuotaExceeded,
    TokenReused,
)
from channels.files.state_machine import FileStatus
from hub.objects.links import Disposition
from hub.objects.local import LocalStore
from hub.objects.store import Span
from tests.channels.files.support import CASE, CONTACT, PNG, World, new_file
from tests.hub.http.test_filetypes import OLE
from tests.hub.objects.test_sniffing import WORD


async def test_a_file_from_its_announcement_to_its_end(world: World) -> None:
    file, link = await world.start("Rechnung 日.txt", interaction_id="4712", resource=CONTACT)
    assert (file.status, file.name, file.size, file.content_type) == (FileStatus.PROCESSING, "Rechnung 日.txt", 5, "text/plain")
    assert link.headers == {"Content-Type": "text/plain", "Content-Length": "5"}
    assert link.expires_ms == world.clock.wall_ms() + 300_000
    with pytest.raises(NotUploaded):
        await world.complete(file)
    with pytest.raises(NotApproved):
        await world.files.download_link(file, world.base, expiry_s=60)
    assert (await world.put(link)).status_code == 200
    done = await world.complete(file)
    assert (done.status, done.reason) == (FileStatus.APPROVED, None)
    url, ends_ms = await world.files.download_link(done, world.base, expiry_s=60, disposition=Disposition.INLINE)
    assert ends_ms == world.clock.wall_ms() + 60_000
    answer = await world.client.get(url)
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert "inline" in answer.headers["content-disposition"]
    await world.files.delete("acme", file.id, resource=CONTACT)
    assert (await world.client.get(url)).status_code == 404
    assert await world.keys() == []
    with pytest.raises(FileNotFound):
        await world.files.delete("acme", file.id, resource=CONTACT)
    told = ("UPLOADED", "APPROVED", "DELETED")
    await world.tells(file, *told)
    await world.tells(file, *told, channel="/nexus/v3/interactions/4712/files")
    assert "files/v1" not in str(world.heard.events), "events are kept: no link is in one"


@pytest.mark.parametrize(
    ("declared", "served"),
    [
        ("", "text/plain"),
        ("text/plain; charset=UTF-8", "text/plain;charset=utf-8"),
        ('text/plain;charset="utf-8";format=flowed', "text/plain;charset=utf-8"),
        ("text/plain;charset=iso-2022-jp", "text/plain"),
        ('TEXT/PLAIN;x="text/html"', "text/plain"),
    ],
)
async def test_others_get_the_type_that_was_found_and_not_what_was_declared(light: World, declared: str, served: str) -> None:
    """Of ``text/plain;x,text/html`` browsers take the last part."""
    done = await light.complete(await light.uploaded(content_type=declared))
    assert (done.status, done.content_type) == (FileStatus.APPROVED, served)
    url, _ = await light.files.download_link(done, light.base, expiry_s=60, disposition=Disposition.INLINE)
    assert (await light.client.get(url)).headers["content-type"] == served


async def test_content_that_is_not_what_the_name_says_is_rejected(world: World) -> None:
    file = await world.uploaded("a.txt", PNG)
    done = await world.complete(file)
    assert done.status is FileStatus.REJECTED
    assert done.reason is not None
    assert "image/png" in done.reason
    assert await world.keys() == [], "refused bytes are not kept"
    assert await world.complete(file) == done
    await world.tells(file, "UPLOADED", "REJECTED")


async def test_no_link_changes_a_file_that_is_complete(world: World) -> None:
    file, link = await world.start()
    assert (await world.put(link)).status_code == 200
    assert (await world.put(link)).status_code == 200, "browsers repeat requests"
    assert (await world.put(link, b"other")).status_code == 412
    await world.complete(file)
    for content, status in ((b"hello", 200), (b"other", 412)):
        assert (await world.put(link, content)).status_code == status
    assert (await world.read(await world.files.get("acme", file.id))).content == b"hello"


async def test_a_file_that_was_refused_takes_no_bytes(world: World) -> None:
    file, link = await world.start(name="a.txt", content=PNG)
    assert (await world.put(link, PNG)).status_code == 200
    assert (await world.complete(file)).status is FileStatus.REJECTED
    for content in (PNG, bytes(len(PNG))):
        refused = await world.put(link, content)
        assert refused.status_code == 412
        assert "<Code>PreconditionFailed</Code>" in refused.text
        assert "REJECTED" in refused.text
    assert await world.keys() == []


async def test_a_deleted_file_takes_no_bytes(world: World) -> None:
    file, link = await world.start()
    await world.files.delete("acme", file.id)
    assert (await world.put(link)).status_code == 404
    assert await world.keys() == []


async def test_two_uploads_at_once_leave_one(world: World) -> None:
    file, link = await world.start()
    answers = await asyncio.gather(*(world.put(link, content) for content in (b"hello", b"other", b"hello", b"other")))
    assert {each.status_code for each in answers} <= {200, 412}
    kept = {b"hello", b"other"} & {each.request.content for each in answers if each.status_code == 200}
    assert len(kept) == 1
    assert len(await world.keys()) == 1
    assert (await world.read(await world.complete(file))).content == kept.pop()


async def test_the_same_token_is_the_same_file(world: World) -> None:
    first, link = await world.start(client_token="t1")
    world.clock.advance(10)
    again, other = await world.start(client_token="t1")
    assert (again.id, again.created_ms) == (first.id, first.created_ms)
    assert other.url != link.url
    assert (await world.put(other)).status_code == 200
    with pytest.raises(TokenReused):
        await world.start("other.txt", client_token="t1")
    for different in ({"call": "participant"}, {"resource": CONTACT}, {"tenant": "other"}, {"client_token": "t2"}):
        assert (await world.start(**{"client_token": "t1", **different}))[0].id != first.id
    world.clock.advance(24 * 3600)
    assert (await world.start("other.txt", client_token="t1"))[0].id != first.id, "a token is good for 24 hours"


async def test_of_announcements_at_once_one_wins(world: World) -> None:
    made = await asyncio.gather(*(world.start(client_token="t") for _ in range(8)))
    assert len({file.id for file, _ in made}) == 1
    assert world.counters.started == 1
    assert world.counters.repeated == 7


async def test_the_token_of_a_deleted_file_is_not_taken(world: World) -> None:
    file, _ = await world.start(client_token="t")
    await world.files.delete("acme", file.id)
    with pytest.raises(TokenReused):
        await world.start(client_token="t")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"name": ""}, "INVALID_FILE_NAME"),
        ({"name": "a" * 253 + ".txt"}, "INVALID_FILE_NAME"),
        ({"name": "a\x07.txt"}, "INVALID_FILE_NAME"),
        ({"name": "a\u202etxt.exe.txt"}, "INVALID_FILE_NAME"),
        ({"name": "a\ud800.txt"}, "INVALID_FILE_NAME"),
        ({"name": "../a.txt"}, "INVALID_FILE_NAME"),
        ({"name": "a\\b.txt"}, "INVALID_FILE_NAME"),
        ({"name": "a.exe"}, "INVALID_FILE_TYPE"),
        ({"name": "txt"}, "INVALID_FILE_TYPE"),
        ({"name": ".txt"}, "INVALID_FILE_TYPE"),
        ({"size": 0}, "INVALID_FILE_SIZE"),
        ({"size": 20 * 1024 * 1024 + 1}, "INVALID_FILE_SIZE"),
        ({"content_type": "text plain"}, "INVALID_FILE_TYPE"),
        ({"content_type": "text/plain\n"}, "INVALID_FILE_TYPE"),
        ({"content_type": "text/plain;x"}, "INVALID_FILE_TYPE"),
        ({"content_type": "text/plain;x,text/html"}, "INVALID_FILE_TYPE"),
        ({"content_type": "text/plain;x=a,text/html"}, "INVALID_FILE_TYPE"),
        ({"content_type": 'text/plain;x=",text/html"'}, "INVALID_FILE_TYPE"),
        ({"url_expiry_s": 4}, None),
        ({"url_expiry_s": 301}, None),
        ({"tags": {str(each): "" for each in range(51)}}, None),
    ],
)
async def test_what_is_refused_says_why(light: World, more: dict[str, Any], reason: str | None) -> None:
    with pytest.raises(InvalidFile) as refused:
        await light.files.start(new_file(**{"size": 5, **more} if "size" in more else more), light.base)
    assert refused.value.reason == reason
    assert "expected" in str(refused.value)
    assert light.counters.refused_invalid == 1


@pytest.mark.parametrize(
    "more",
    [
        {"name": "a" * 252 + ".txt"},
        {"name": "見積書 (最終).txt"},
        {"size": 1},
        {"size": 20 * 1024 * 1024},
        {"url_expiry_s": 5},
        {"tags": {str(each): "" for each in range(50)}},
        {"content_type": "text/plain; charset=utf-8"},
    ],
)
async def test_what_is_just_within_its_bounds_is_taken(light: World, more: dict[str, Any]) -> None:
    file, link = await light.files.start(new_file(**more), light.base)
    assert " " not in link.headers["Content-Type"]
    assert file.status is FileStatus.PROCESSING


async def test_a_resource_has_so_many_files(world: World) -> None:
    for call, kind, most in (("participant", {"resource": CONTACT, "interaction_id": "4712"}, 35), ("attached", {"resource": CASE}, 100)):
        made = [await world.start(call=call, **kind) for _ in range(most)]
        with pytest.raises(QuotaExceeded) as refused:
            await world.start(call=call, client_token="t", **kind)
        assert refused.value.reason == "TOTAL_FILE_COUNT_EXCEEDED"
        await world.files.delete("acme", made[0][0].id)
        assert await world.start(call=call, client_token="t", **kind), "what is refused does not use the token up"
    mail = "arn:aws:connect:us-east-1:000000000000:instance/i/email/1"
    for _ in range(10):
        await world.start(resource=mail)
    with pytest.raises(QuotaExceeded, match="email_files"):
        await world.start(resource=mail)


@pytest.mark.parametrize("light", [{"chat_files": 4}], indirect=True)
async def test_a_contact_has_its_bounds_however_its_arn_is_written(light: World) -> None:
    arns = [f"arn:aws:connect:us-east-1:{account:012}:instance/{instance}/contact/4712" for account in range(3) for instance in "iI"]
    for index in range(4):
        await light.start(resource=arns[index], interaction_id="4712")
    for arn in arns:
        with pytest.raises(QuotaExceeded, match="chat_files"):
            await light.start(resource=arn, interaction_id="4712")
    assert await light.start(resource=arns[0], interaction_id="4713")


@pytest.mark.parametrize("light", [{"tenant_files": 1}], indirect=True)
async def test_too_many_tokens_are_told_from_too_many_files(light: World) -> None:
    for token in ("1", "2"):
        file, _ = await light.start(client_token=token)
        await light.files.delete("acme", file.id)
    with pytest.raises(QuotaExceeded, match="expected at most 2 tokens"):
        await light.start(client_token="3")
    assert await light.start(), "without a token"


async def test_the_token_of_a_file_that_takes_no_bytes_says_what_it_is(world: World) -> None:
    file = await world.uploaded(client_token="t")
    assert (await world.start(client_token="t"))[0].id == file.id, "its link is good until it is complete"
    await world.complete(file)
    with pytest.raises(TokenReused, match=f"{file.id} of this token is APPROVED"):
        await world.start(client_token="t")
    assert await world.start(client_token="t2")


@pytest.mark.parametrize("light", [{"resource_bytes": 12, "tenant_files": 4}], indirect=True)
async def test_bytes_of_a_resource_and_files_of_a_tenant_are_bounded(light: World) -> None:
    await light.start()
    await light.start()
    with pytest.raises(QuotaExceeded) as refused:
        await light.start()
    assert refused.value.reason == "TOTAL_FILE_SIZE_EXCEEDED"
    await light.start(resource=CONTACT)
    last, _ = await light.start(resource=CONTACT)
    with pytest.raises(QuotaExceeded, match="tenant_files"):
        await light.start(resource="arn:x:x:x:x:other")
    assert await light.start(tenant="other"), "another tenant has its own"
    await light.files.delete("acme", last.id)
    assert await light.start(resource="arn:x:x:x:x:other")
    assert light.counters.refused_quota == 2


async def test_what_is_rejected_does_not_count(light: World) -> None:
    for _ in range(101):
        assert (await light.complete(await light.uploaded("a.png"))).status is FileStatus.REJECTED


async def test_another_resource_and_another_tenant_have_no_such_file(world: World) -> None:
    file = await world.approved()
    for tenant, resource in (("acme", CONTACT), ("other", CASE)):
        with pytest.raises(FileNotFound):
            await world.files.get(tenant, file.id, resource=resource)
        with pytest.raises(FileNotFound):
            await world.files.complete(tenant, file.id, call="attached", resource=resource, client_token=None)
        with pytest.raises(FileNotFound):
            await world.files.delete(tenant, file.id, resource=resource)
        assert await world.files.batch(tenant, resource, [file.id]) == ([], [file.id])
    assert await world.files.batch("acme", CASE, [file.id, "nope", file.id]) == ([file], ["nope"])


async def test_files_of_an_interaction_come_in_pages(world: World) -> None:
    made = [(await world.start(resource=CONTACT, interaction_id="4712"))[0].id for _ in range(5)]
    await world.start(resource=CONTACT, interaction_id="4713")
    await world.start(tenant="other", resource=CONTACT, interaction_id="4712")
    got: list[str] = []
    cursor = None
    while True:
        page = await world.files.of_interaction("acme", "4712", cursor, 2)
        got += [each.id for each in page.files]
        cursor = page.cursor
        if cursor is None:
            break
    assert got == made[::-1]


async def test_a_second_token_waits_for_the_first(light: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await light.uploaded()
    reached, go_on = asyncio.Event(), asyncio.Event()
    get = LocalStore.get

    async def slow(store: LocalStore, key: str, span: Span | None = None) -> AsyncIterator[bytes]:
        reached.set()
        await go_on.wait()
        return await get(store, key, span)

    monkeypatch.setattr(LocalStore, "get", slow)
    first = asyncio.create_task(light.complete(file, "one"))
    await reached.wait()
    with pytest.raises(BeingCompleted):
        await light.complete(file, "two")
    assert (await light.complete(file, "one")).status is FileStatus.PROCESSING
    go_on.set()
    assert (await first).status is FileStatus.APPROVED
    assert (await light.complete(file, "two")).status is FileStatus.APPROVED, "it is done"


@pytest.mark.parametrize(("name", "begin"), [("a.txt", b"x"), ("a.png", PNG), ("a.doc", OLE + WORD), ("a.docx", b"PK\x03\x04")])
async def test_a_large_file_is_checked_without_the_whole_of_it_in_memory(light: World, name: str, begin: bytes) -> None:
    content = begin.ljust(20 * 1024 * 1024, b"x")
    file = await light.uploaded(name, content)
    del content
    tracemalloc.start()
    done = await light.complete(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.status is (FileStatus.REJECTED if name == "a.docx" else FileStatus.APPROVED), done.reason
    assert peak < 2 * 1024 * 1024
