"""What a store in a folder promises beside the contract of all stores."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from hub.objects import local
from hub.objects.local import LocalStore
from hub.objects.store import InvalidKeyError, StoreUnavailableError
from tests.hub.objects.test_store import keys, pieces, put, read


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store in a folder that does not exist yet."""
    return LocalStore(tmp_path / "new" / "objects")


async def test_an_object_is_no_folder(store: LocalStore) -> None:
    await put(store, "a/b")
    for key in ("a", "a/b/c"):
        with pytest.raises(InvalidKeyError, match="no folder"):
            await put(store, key)
    assert await keys(store) == ["a/b"]


async def test_the_bytes_and_the_name_are_synced_before_it_counts(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    await put(store, "a/b/c")
    file, *folders = synced
    assert "/.parts/" in file
    top = file.partition("/.parts/")[0]
    assert sorted(folders) == [top, f"{top}/a", f"{top}/a/b"]


async def test_a_full_disk_is_told_and_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local, "append", full)
    with pytest.raises(StoreUnavailableError, match="No space left") as caught:
        await put(store, "a/x")
    assert caught.value.code == "ENOSPC"
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_files_are_for_the_hub_alone(store: LocalStore, tmp_path: Path) -> None:
    await put(store, "a/x")
    found = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert found["new/objects/a/x"] == 0o600
    assert {path: mode for path, mode in found.items() if mode not in (0o600, 0o700)} == {}
    assert found["new/objects/a"] == 0o700


async def test_a_check_removes_what_was_abandoned_and_tells_a_folder_that_is_none(store: LocalStore, tmp_path: Path) -> None:
    assert await store.check() is None
    old, young = (tmp_path / "new" / "objects" / ".parts" / name for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert await store.check() is None
    assert (old.exists(), young.exists()) == (False, True)
    (tmp_path / "file").write_text("no folder")
    assert "Not a directory" in str(await LocalStore(tmp_path / "file").check())


async def test_an_object_that_is_being_read_can_be_deleted(store: LocalStore) -> None:
    content = os.urandom(500_000)
    await put(store, "a/x", content)
    opened = await store.get("a/x")
    first = await anext(opened)
    await store.delete(["a/x"])
    assert first + b"".join([piece async for piece in opened]) == content


async def test_a_download_that_is_broken_off_closes_its_file(store: LocalStore) -> None:
    await put(store, "a/x", os.urandom(500_000))
    before = len(os.listdir("/proc/self/fd"))
    opened = await store.get("a/x")
    await anext(opened)
    assert isinstance(opened, AsyncIterator)
    await opened.aclose()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_messaging_has_written_is_found(store: LocalStore, tmp_path: Path) -> None:
    """Its files lie in folders named by the first two characters of their ids."""
    folder = tmp_path / "new" / "objects" / "ab"
    folder.mkdir(parents=True)
    (folder / "abcd").write_bytes(b"media")
    assert await read(store, "ab/abcd") == b"media"
    await store.put("ab/abce", pieces(b"x"), 1)
    assert await keys(store, "ab/") == ["ab/abcd", "ab/abce"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that takes no more bytes of a file than these: as a full one, it refuses the last of them when the file is closed, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1, 4096, 60_000, 61_000, 399_999])
async def test_a_disk_that_takes_no_more_is_told_and_nothing_is_left(store: LocalStore, tmp_path: Path, size: int) -> None:
    content = b"x" * 400_000
    await put(store, "a/large", content)
    with files_of_at_most(size):
        for ask in (
            store.put("a/y", pieces(content, 60_000), len(content)),
            store.put("a/y", pieces(content), len(content)),
            store.copy("a/large", "a/z"),
        ):
            with pytest.raises(StoreUnavailableError, match="File too large") as caught:
                await ask
            assert caught.value.code == "EFBIG"
        told = await store.check()
    assert not any((tmp_path / "new" / "objects" / ".parts").iterdir())
    assert await keys(store) == ["a/large"]
    assert (told is None) == (size >= 64 * 1024), "a check writes bytes, not a name alone"
    assert await store.check() is None


async def test_an_object_may_be_deleted_the_moment_it_has_its_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The delete removes the folder, too, which is then not there to be synced: the put was before it, and has succeeded."""
    real = local._sync

    def late(folder: Path) -> None:
        if folder.name == "b":
            (folder / "c").unlink()
            folder.rmdir()
        real(folder)

    monkeypatch.setattr(local, "_sync", late)
    await put(store, "a/b/c")
    assert await keys(store) == []
    assert not any((tmp_path / "new" / "objects" / ".parts").iterdir())


@pytest.mark.parametrize("what", ["put", "get"])
async def test_what_a_cancelled_caller_had_opened_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    store = LocalStore(tmp_path)
    await put(store, "a")
    opened: list[BinaryIO] = []
    waits, goes_on = threading.Event(), threading.Event()
    opens = Path.open if what == "get" else open

    def slowly(*given: Any, **more: Any) -> Any:
        waits.set()
        goes_on.wait(30)
        file = opens(*given, **more)
        opened.append(file)
        return file

    if what == "get":
        monkeypatch.setattr(Path, "open", slowly)
        task: asyncio.Future[object] = asyncio.ensure_future(store.get("a"))
    else:
        monkeypatch.setattr(local, "open", slowly, raising=False)
        task = asyncio.ensure_future(store.put("b", pieces(b"hello"), 5))
    await asyncio.to_thread(waits.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()
    async with asyncio.timeout(30):
        while not (opened and opened[0].closed):
            await asyncio.sleep(0.01)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that are read."""
    names: list[str] = []
    real = os.scandir

    def scan(place: Path) -> Any:
        names.append(Path(place).name)
        return real(place)

    monkeypatch.setattr(os, "scandir", scan)
    return names


async def test_a_folder_is_read_once_for_all_pages_of_a_listing(store: LocalStore, opened: list[str]) -> None:
    named = [f"a/{number:02}/x" for number in range(12)]
    for key in named:
        await put(store, key)
    found: list[str] = []
    while page := await keys(store, "a/", found[-1] if found else "", 2):
        found += page
    assert found == named
    assert opened.count("a") == 1
    assert len(opened) == 1 + len(named)


async def test_listings_go_on_beside_each_other_and_deletes_between_pages_are_seen(store: LocalStore) -> None:
    for folder in "abcdef":
        for number in range(4):
            await put(store, f"{folder}/{number}/x")
    after = {folder: (await keys(store, f"{folder}/", "", 1))[-1] for folder in "abcdef"}  # more than are kept
    await store.delete(["a/2/x", "f/2/x"])
    for folder in "abcdef":
        expected = [f"{folder}/{number}/x" for number in (1, 2, 3) if (folder, number) not in {("a", 2), ("f", 2)}]
        assert await keys(store, f"{folder}/", after[folder], 10) == expected


async def test_a_listing_that_nobody_went_on_with_begins_anew(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a/1", "a/3"):
        await put(store, key)
    assert await keys(store, "a/", "", 1) == ["a/1"]
    await put(store, "a/2")
    assert await keys(store, "a/", "a/1", 1) == ["a/3"], "the page that came to the folder has read it"
    assert await keys(store, "a/", "", 1) == ["a/1"]
    late = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: late)
    await put(store, "a/15")
    assert await keys(store, "a/", "a/1", 1) == ["a/15"]


async def test_no_more_folders_are_opened_than_are_wanted(store: LocalStore, opened: list[str]) -> None:
    for number in range(12):
        await put(store, f"a/{number:02}/x/y")
    assert await store.folders("a/", 2) == ["a/00/", "a/01/"]
    assert opened == ["a", "00", "x", "01", "x"]
