"""What ends by itself: uploads that nobody completes, old files, tokens, and objects without a file."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from channels.files.broken_checks import BrokenChecks
from channels.files.errors import QuotaExceeded, TokenReused, UploadEnded
from channels.files.models import PREFIX, FileRecord
from channels.files.retention import FilesRetention
from channels.files.state_machine import FileStatus
from hub.erasure import Person
from hub.export import ExportCursorError, ExportSelection
from hub.objects.store import Stored
from hub.objects.transfer import LINK_OWNERS, Coming, Outcome
from tests.channels.files.support import CONTACT, PNG, World, once


def retention(world: World) -> FilesRetention:
    """The job of the family."""
    return next(each for each in world.parts.services if isinstance(each, FilesRetention))


def broken_checks(world: World) -> BrokenChecks:
    """The service of the family."""
    return next(each for each in world.parts.services if isinstance(each, BrokenChecks))


async def test_an_upload_that_nobody_completes_fails_an_hour_after_its_link(world: World) -> None:
    empty, link = await world.start(client_token="t")
    full = await world.uploaded()
    world.clock.advance(300 + 3599)
    await retention(world).trim()
    assert await world.now(empty) == empty
    world.clock.advance(1)
    assert await retention(world).trim() == 2
    for file in (empty, full):
        found = await world.now(file)
        assert found is not None
        assert (found.status, found.reason) == (FileStatus.FAILED, "the upload was not completed in time")
        with pytest.raises(UploadEnded):
            await world.complete(file)
    assert await world.keys() == []
    await world.tells(empty, "FAILED")
    await world.tells(full, "UPLOADED", "FAILED")
    assert (await world.put(link)).status_code == 403, "the link is over"
    with pytest.raises(TokenReused, match=f"{empty.id} of this token is FAILED"):
        await world.start(client_token="t")


async def test_an_upload_that_lasts_longer_than_the_hour_is_waited_for(world: World) -> None:
    """20 MiB at ``objects.min_bytes_per_s``, which is 4,096, take 85 minutes."""
    size = 20 * 1024 * 1024
    owner = world.context.one(LINK_OWNERS)
    file, link = await world.start(content=bytes(size))
    small, _ = await world.start("small.txt")
    read = world.links.read("PUT", *urlsplit(link.url)[2:4])
    coming = await owner.begin(read, Coming(1, size))
    assert coming is not None
    world.clock.advance(300 + 3600)
    assert await retention(world).trim() == 1
    assert ((await world.now(small)) or small).status is FileStatus.FAILED
    world.clock.advance(5150 - 3900)
    assert await retention(world).trim() == 0
    await world.store.put(coming.key, once(bytes(size)), size)
    stored = Stored(size, "m", "s")
    assert await owner.finish(read, coming, stored) is Outcome.KEPT
    world.clock.advance(3599)
    assert await retention(world).trim() == 0, "there is time to complete it"
    world.clock.advance(1)
    assert await retention(world).trim() == 1
    assert ((await world.now(file)) or file).status is FileStatus.FAILED


async def test_a_newer_link_gives_more_time(world: World) -> None:
    file, _ = await world.start(client_token="t")
    world.clock.advance(3000)
    await world.start(client_token="t")
    world.clock.advance(300 + 3599)
    await retention(world).trim()
    assert await world.now(file) is not None
    found = await world.now(file)
    assert found is not None
    assert found.status is FileStatus.PROCESSING


async def test_a_check_that_a_hub_left_is_taken_over(world: World) -> None:
    file, other = await world.uploaded(), await world.uploaded()
    for each in (file, other):
        await world.transactions.write(
            lambda tx, each=each: tx.run(  # type: ignore[misc]
                "UPDATE files SET state = 'checking', checking_ms = ? WHERE id = ?", (world.clock.wall_ms(), each.id)
            )
        )
    assert (await world.complete(file)).status is FileStatus.PROCESSING, "somebody looks at it"
    world.clock.advance(300)
    assert (await world.complete(file)).status is FileStatus.APPROVED
    world.clock.advance(24 * 3600)
    await retention(world).trim()
    found = await world.now(other)
    assert found is not None
    assert found.status is FileStatus.PROCESSING, "it was completed, and its bytes are there: it does not fail"
    assert await broken_checks(world).take_over() == 1
    found = await world.now(other)
    assert found is not None
    assert found.status is FileStatus.APPROVED


async def test_old_files_and_tokens_are_forgotten(world: World) -> None:
    file = await world.approved(client_token="t")
    world.clock.advance(24 * 3600)
    assert await retention(world).trim() == 1, "the token"
    assert await world.now(file) is not None
    world.clock.advance(364 * 24 * 3600 + 1)
    assert await retention(world).trim() == 1
    assert await world.now(file) is None
    assert await world.keys() == []
    rows = await world.transactions.read(lambda tx: tx.rows("SELECT files, tokens FROM file_shares"))
    assert rows == [(0, 0)]


async def shares(world: World) -> list[tuple[int, int]]:
    """Files of the tenants, and rejected and failed ones, as they are counted."""
    rows = await world.transactions.read(lambda tx: tx.rows("SELECT files, refused FROM file_shares ORDER BY tenant"))
    return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("light", [{"tenant_files": 3, "tenant_refused": 2, "keep_refused_days": 2}], indirect=True)
async def test_rejected_and_failed_files_use_up_nothing_and_are_forgotten_early(light: World) -> None:
    job = retention(light)
    await job.stop()
    kept = await light.approved()
    rejected = []
    for _ in range(5):
        file = await light.complete(await light.uploaded("a.png"))
        assert file.status is FileStatus.REJECTED
        rejected.append(file)
        light.clock.advance(1)
    late, _ = await light.start()
    assert await shares(light) == [(2, 5)]
    await job.trim()
    assert await shares(light) == [(2, 2)], "beyond files.tenant_refused the oldest are forgotten"
    assert [await light.now(each) is not None for each in rejected] == [False, False, False, True, True]
    light.clock.advance(300 + 3600)
    await job.trim()
    assert await shares(light) == [(1, 2)]
    assert await light.now(rejected[3]) is None
    for _ in range(2):
        await light.start()
    with pytest.raises(QuotaExceeded):
        await light.start()
    await light.files.delete("acme", late.id)
    assert await shares(light) == [(3, 1)], "a refused announcement takes no share"
    light.clock.advance(2 * 24 * 3600)
    await job.trim()
    assert await light.now(rejected[4]) is None
    assert await light.now(kept) == kept
    assert (await shares(light))[0][0] == 1
    light.clock.advance(2 * 24 * 3600 + 1)
    await job.trim()
    assert await shares(light) == [(1, 0)]


async def test_shares_are_what_there_is(world: World) -> None:
    for tenant in ("acme", "other"):
        await world.approved(tenant=tenant)
        refused = [await world.complete(await world.uploaded("a.png", tenant=tenant)) for _ in range(3)]
        await world.files.delete(tenant, refused[0].id)
    await world.start()
    assert await shares(world) == [(2, 2), (1, 2)]
    world.clock.advance(366 * 24 * 3600)
    await retention(world).trim()
    assert await shares(world) == [(0, 1), (0, 0)], "the announced one has failed"
    world.clock.advance(8 * 24 * 3600)
    await retention(world).trim()
    assert await shares(world) == [(0, 0), (0, 0)]


async def test_objects_without_a_file_are_swept_and_others_stay(world: World) -> None:
    world.clock.advance(time.time() - world.clock.wall_ms() / 1000)  # the store has its own clock
    kept = await world.approved()
    orphan = f"{PREFIX}aa/00000000-0000-4000-8000-000000000000/0"
    incoming = "incoming/files/00000000-0000-4000-8000-000000000000"
    foreign = "messaging/aa/0"
    for key in (orphan, incoming, foreign):
        await world.store.put(key, once(b"x"), 1)
    assert await retention(world).sweep() == 0, "an upload may be under way"
    world.clock.advance(3601)
    assert await retention(world).sweep() == 2
    assert await world.keys("files/") == [kept.key]
    assert await world.keys("messaging/") == [foreign]
    assert await world.keys("incoming/") == []
    assert world.counters.swept == 2


def break_object(world: World, key: str) -> Path:
    """Have nobody read an object any more, while the store works. Returns its path."""
    path = world.context.settings.data_dir / "objects" / key
    path.unlink()
    path.symlink_to(path)
    return path


async def test_one_object_that_cannot_be_read_keeps_no_other_file(world: World) -> None:
    bad, good = await world.uploaded(), await world.uploaded()
    key = (await world.files.get(bad.tenant, bad.id)).key
    assert key is not None
    before_ms = world.clock.wall_ms()
    await world.transactions.write(lambda tx: tx.run("UPDATE files SET state = 'checking', checking_ms = ?", (before_ms,)))
    path = break_object(world, key)
    world.clock.advance(1)
    assert await broken_checks(world).take_over(world.clock.wall_ms()) == 2
    states = [found.status for each in (bad, good) if (found := await world.now(each)) is not None]
    assert states == [FileStatus.PROCESSING, FileStatus.APPROVED]
    assert world.counters.checks_failed == 1
    path.unlink()
    path.write_bytes(b"hello")
    world.clock.advance(3600)
    await broken_checks(world).take_over()
    assert (await world.files.get(bad.tenant, bad.id)).status is FileStatus.APPROVED


async def test_one_object_that_cannot_be_removed_keeps_no_other(light: World, monkeypatch: pytest.MonkeyPatch) -> None:
    light.clock.advance(time.time() - light.clock.wall_ms() / 1000)  # the store has its own clock
    orphans = [f"{PREFIX}aa/00000000-0000-4000-8000-00000000000{number}/0" for number in range(3)]
    for key in orphans:
        await light.store.put(key, once(b"x"), 1)
    light.clock.advance(3601)
    remove = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if str(path).endswith(orphans[0]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    await retention(light).sweep()
    assert await light.keys("files/") == [orphans[0]]
    assert light.counters.removals_failed == 1


async def test_the_job_goes_on_by_itself(light: World) -> None:
    file, _ = await light.start()
    light.clock.advance(2 * 3600)
    job = retention(light)
    await job.stop()
    await job.start()
    async with asyncio.timeout(30):
        while True:
            found = await light.now(file)
            assert found is not None
            if found.status is FileStatus.FAILED:
                break
            await asyncio.sleep(0.01)


async def test_the_files_of_a_person_are_erased(world: World) -> None:
    eraser = cast("Any", world.parts.eraser)
    by_ana = await world.approved(creator="ana")
    by_an_agent = await world.approved(created_by='{"ConnectUserArn":"arn:aws:connect:us-east-1:0:instance/i/agent/ana"}', creator="ana")
    in_a_chat = await world.approved(call="participant", created_by="p-1", resource=CONTACT, interaction_id="4712")
    others = [
        await world.approved(creator="dana"),
        await world.approved(creator="Ana"),
        await world.approved(created_by='{"ConnectUserArn":"arn:aws:connect:us-east-1:0:instance/i/agent-hierarchy/ana"}'),
        await world.approved(tenant="other", creator="ana"),
        await world.approved("a.png", PNG, creator="a%a"),
    ]
    assert await eraser.erase(Person("acme", id="a_a")) == {"files": 0, "participants": 0}
    assert await eraser.erase(Person("acme", address="ana")) == {"files": 0, "participants": 0}
    assert await eraser.erase(Person("acme", id="ana")) == {"files": 2, "participants": 0}
    assert await eraser.erase(Person("acme", id="ana")) == {"files": 0, "participants": 0}
    assert await eraser.erase(Person("acme", id="p-1")) == {"files": 1, "participants": 0}
    for file in (by_ana, by_an_agent, in_a_chat):
        assert await world.now(file) is None
    for file in others:
        assert await world.now(file) is not None
    assert len(await world.keys()) == len(others)
    await world.tells(by_ana, "UPLOADED", "APPROVED", "DELETED")
    last = world.heard.on("/hub/operations")[-1]
    assert "ana" not in str(last), "the event that it is gone says nothing of the person"


@pytest.mark.parametrize("name", ["Jürgen", "中", 'a"b', "a\\b", "a/b", "😀", "anna", "ANNA"])
async def test_exactly_the_named_person_is_erased(world: World, name: str) -> None:
    by_name = {each: await world.approved(creator=each) for each in ("Jürgen", "中", 'a"b', "a\\b", "a/b", "😀", "anna", "ANNA", "b")}
    erased = await cast("Any", world.parts.eraser).erase(Person("acme", id=name))
    assert erased == {"files": 1, "participants": 0}
    assert [each for each, file in by_name.items() if await world.now(file) is None] == [name]


async def test_erasing_takes_what_still_lies_where_it_was_uploaded(light: World) -> None:
    file, _ = await light.start(creator="ana")
    key = f"incoming/files/{file.id}"
    await light.store.put(key, once(b"hello"), 5)
    await cast("Any", light.parts.eraser).erase(Person("acme", id="ana"))
    assert await light.keys() == []


async def test_files_are_exported_in_pages(world: World) -> None:
    source = cast("Any", world.parts.export_source)
    made = []
    for _ in range(5):
        made.append(await world.approved())
        world.clock.advance(1)
    await world.approved(tenant="other")
    start = made[0].created_ms
    selection = ExportSelection("acme", frozenset({"file"}), start, made[-1].created_ms, page_records=2)
    got: list[str] = []
    cursors = []
    async for page in source.pages(selection):
        got += [each.id for each in page.records]
        cursors.append(page.cursor)
        assert all(b'"sha256"' in each.body for each in page.records)
    assert got == [each.id for each in made[:4]], "without the one at the end of the time"
    rest = ExportSelection("acme", frozenset({"file"}), start, made[-1].created_ms, cursor=cursors[0], page_records=2)
    assert [each.id async for page in source.pages(rest) for each in page.records] == got[2:]
    with pytest.raises(ExportCursorError):
        [page async for page in source.pages(ExportSelection("acme", frozenset({"file"}), 0, 1, cursor="x"))]
    with pytest.raises(ValueError, match="file"):
        [page async for page in source.pages(ExportSelection("acme", frozenset({"mail"}), 0, 1))]
    assert [page async for page in source.pages(ExportSelection("acme", frozenset(), 0, 1))] == []


async def test_what_a_killed_hub_was_checking_is_decided_by_the_next(world: World) -> None:
    await world.had_the_store_before()
    good, bad, gone = await world.uploaded(), await world.uploaded("a.png"), await world.uploaded()
    before_ms = world.clock.wall_ms()
    await world.transactions.write(lambda tx: tx.run("UPDATE files SET state = 'checking', checking_ms = ?", (before_ms,)))
    lost = await world.now(gone)
    assert lost is not None
    assert lost.key is not None
    await world.store.delete([lost.key])
    job = broken_checks(world)
    await job.stop()
    world.clock.advance(1)
    await job.start()
    await world.until(lambda: (world.counters.approved, world.counters.rejected, world.counters.failed) == (1, 1, 1))
    found = [await world.now(each) for each in (good, bad, gone)]
    assert [each.status for each in found if each is not None] == [FileStatus.APPROVED, FileStatus.REJECTED, FileStatus.FAILED]
    await world.tells(gone, "UPLOADED", "FAILED")


async def test_a_check_of_another_hub_is_left_to_it_for_a_while(world: World) -> None:
    await left_for(world, 60)


@pytest.mark.parametrize("light", [{"check_lease_s": 2}], indirect=True)
async def test_the_lease_of_a_check_is_a_setting(light: World) -> None:
    await left_for(light, 2)


async def test_a_check_that_began_by_a_clock_that_was_ahead_is_taken_over(world: World) -> None:
    by_job, by_call, young = await world.uploaded(), await world.uploaded(), await world.uploaded()
    now_ms = world.clock.wall_ms()

    async def began(file: FileRecord, at_ms: int) -> None:
        query = "UPDATE files SET state = 'checking', checking_ms = ? WHERE id = ?"
        await world.transactions.write(lambda tx: tx.run(query, (at_ms, file.id)))

    await began(by_call, now_ms + 86_400_000)
    assert (await world.complete(by_call)).status is FileStatus.APPROVED
    await began(by_job, now_ms + 86_400_000)
    await began(young, now_ms + 1000)  # clocks of nodes differ by so much
    assert await broken_checks(world).take_over() == 1
    assert [((await world.now(each)) or each).status for each in (by_job, young)] == [FileStatus.APPROVED, FileStatus.PROCESSING]


async def left_for(world: World, lease_s: float) -> None:
    """A check of another hub is taken over as soon as its lease is over."""
    file = await world.uploaded()
    await world.transactions.write(lambda tx: tx.run("UPDATE files SET state = 'checking', checking_ms = ?", (world.clock.wall_ms(),)))
    world.clock.advance(lease_s)
    assert await broken_checks(world).take_over() == 0
    found = await world.now(file)
    assert found is not None
    assert found.status is FileStatus.PROCESSING
    world.clock.advance(0.001)
    assert await broken_checks(world).take_over() == 1
    found = await world.now(file)
    assert found is not None
    assert found.status is FileStatus.APPROVED


async def test_a_clock_that_is_set_ends_no_upload_and_removes_no_file(light: World) -> None:
    kept = await light.approved()
    waiting = await light.uploaded("b.txt")
    lost = f"{PREFIX}ab/lost/1"
    await light.store.put(lost, once(b"x"), 1)
    year_ms = 1000 * 86_400_000
    light.clock.wall = light.clock.wall_ms() + year_ms
    os.utime(light.folder / "objects" / lost, (light.clock.wall_ms() / 1000 - year_ms / 1000,) * 2)
    job = retention(light)
    assert await job.trim() == 0
    light.clock.advance(60)
    assert (await job.trim(), await job.sweep()) == (0, 0)
    assert (await light.now(kept), await light.now(waiting)) == (kept, await light.now(waiting))
    assert lost in await light.keys()
    light.clock.advance(2 * 86_400)
    assert await job.trim() >= 2, "a day later the clock is believed"
