"""The contract of object stores, for every backend."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from hub.objects.claim import CLAIM_KEY
from hub.objects.local import LocalStore
from hub.objects.open_store import open_store
from hub.objects.remote import PART_BYTES, RemoteStore
from hub.objects.sends import Sends
from hub.objects.settings import ObjectsSettings
from hub.objects.spool import Spool
from hub.objects.store import (
    MAX_SEGMENT_BYTES,
    MOST_FAILED,
    PIECE_BYTES,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    ObjectStore,
    Span,
    StoreUnavailableError,
    WrongSizeError,
)
from tests.support.s3_server import S3Server
from tests.world import ManualClock


@pytest.fixture(scope="module")
def bucket(request: pytest.FixtureRequest) -> str:
    """A bucket of the real server of S3's protocol; each test has a folder of its own in it."""
    server: S3Server = request.getfixturevalue("s3_server")
    return server.bucket("contract")


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Each backend. That the server of ``s3`` checks what it should is shown by ``test_s3_links.py``."""
    if request.param == "local":
        return LocalStore(tmp_path / "objects")
    if request.param == "memory":
        return RemoteStore(MemoryStore(), Spool(tmp_path / "uploads", Sends(4)))
    server: S3Server = request.getfixturevalue("s3_server")
    settings = ObjectsSettings(**server.settings(request.getfixturevalue("bucket"), uuid.uuid4().hex))
    return open_store(settings, tmp_path, ManualClock())


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """Content in pieces, as a request brings it."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def put(store: ObjectStore, key: str, content: bytes = b"hello", **more: bool) -> None:
    """Write an object."""
    stored = await store.put(key, pieces(content), len(content), **more)
    assert (stored.size, stored.md5, stored.sha256) == (
        len(content),
        hashlib.md5(content).hexdigest(),
        hashlib.sha256(content).hexdigest(),
    )


async def read(store: ObjectStore, key: str, span: Span | None = None) -> bytes:
    """Read an object, or a part of it."""
    found = []
    async for piece in await store.get(key, span):
        assert 0 < len(piece) <= PIECE_BYTES
        found.append(piece)
    return b"".join(found)


async def keys(store: ObjectStore, prefix: str = "", after: str = "", limit: int = 1000) -> list[str]:
    """The keys of a listing, without that of the object which says whose the store is."""
    return [each.key for each in await store.objects(prefix, after, limit) if each.key != CLAIM_KEY]


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 1_000_000, PART_BYTES + 1])
async def test_what_is_written_is_read(store: ObjectStore, size: int) -> None:
    content = random.Random(size).randbytes(size)
    await put(store, "a/b", content)
    assert await read(store, "a/b") == content
    info = await store.head("a/b")
    assert (info.key, info.size) == ("a/b", size)
    assert info.modified_ms > 1_700_000_000_000


@pytest.mark.parametrize("span", [(0, 1), (0, 10), (3, 4), (9, 10), (5, 50), (10, 20), (70_000, 70_001), (4, 4)])
async def test_a_part_is_read(store: ObjectStore, span: tuple[int, int]) -> None:
    content = b"0123456789"
    await put(store, "x", content)
    assert await read(store, "x", Span(*span)) == content[slice(*span)]


async def test_a_large_part_comes_in_pieces(store: ObjectStore) -> None:
    content = os.urandom(300_000)
    await put(store, "x", content)
    assert await read(store, "x", Span(100, 299_000)) == content[100:299_000]


async def test_an_object_takes_the_place_of_another(store: ObjectStore) -> None:
    await put(store, "x", b"old")
    await put(store, "x", b"new one")
    assert await read(store, "x") == b"new one"


async def test_a_taken_key_can_be_refused(store: ObjectStore) -> None:
    await put(store, "a/x", b"first", create_only=True)
    with pytest.raises(ObjectExistsError):
        await put(store, "a/x", b"second", create_only=True)
    assert await read(store, "a/x") == b"first"


async def test_of_two_that_make_a_key_at_once_one_does(store: ObjectStore) -> None:
    done = await asyncio.gather(*(put(store, "a/x", b"%d" % number, create_only=True) for number in range(8)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["NoneType", *["ObjectExistsError"] * 7]
    assert await keys(store) == ["a/x"]


@pytest.mark.parametrize("size", [100, 400_000, PART_BYTES + 100])
@pytest.mark.parametrize("off", [-1, 1])
async def test_another_size_than_declared_is_refused(store: ObjectStore, size: int, off: int) -> None:
    with pytest.raises(WrongSizeError):
        await store.put("a/x", pieces(b"x" * size), size + off)
    with pytest.raises(ObjectNotFoundError):
        await store.head("a/x")
    assert await keys(store) == []


@pytest.mark.parametrize("size", [100, PART_BYTES + 100])
async def test_an_upload_that_breaks_leaves_nothing_and_the_old_stays(store: ObjectStore, size: int, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (size - 1)
        raise ConnectionResetError("the client has gone")

    await put(store, "a/x", b"old")
    with pytest.raises(ConnectionResetError):
        await store.put("a/x", broken(), size)
    assert await read(store, "a/x") == b"old"
    assert not any((tmp_path / "objects" / ".parts").glob("*"))


async def test_an_upload_that_is_cancelled_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.put("a/x", endless(), 1_000_000))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await keys(store) == []
    assert not any((tmp_path / "objects" / ".parts").glob("*"))


async def test_what_is_missing_is_told(store: ObjectStore) -> None:
    for ask in (store.get("no"), store.head("no"), store.copy("no", "yes")):
        with pytest.raises(ObjectNotFoundError):
            await ask
    await put(store, "folder/x")
    with pytest.raises(ObjectNotFoundError):
        await store.head("folder")
    with pytest.raises(ObjectNotFoundError):
        await store.get("folder")
    with pytest.raises(ObjectNotFoundError):
        await store.head("folder/x/y")


async def test_deleting_what_is_missing_is_no_error(store: ObjectStore) -> None:
    await put(store, "a/b/c")
    await put(store, "a/d")
    await store.delete(["a/b/c", "a/b/c", "never", "a", "a/d/e"])
    assert await keys(store) == ["a/d"]
    assert await store.folders("a/") == []
    await store.delete([])


@pytest.fixture
def undeletable(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of an object, ``a/bad``, that no store can delete, nor those whose keys begin so."""
    remove, ask = Path.unlink, obstore.delete_async

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("bad"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        remove(path, missing_ok)

    async def delete(backend: Any, key: str) -> None:
        if "/bad" in key:
            raise GenericError("no")
        await ask(backend, key)

    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(obstore, "delete_async", delete)
    return "a/bad"


async def test_one_that_cannot_be_deleted_keeps_no_other(store: ObjectStore, undeletable: str) -> None:
    for key in ("a/1", undeletable, "a/2"):
        await put(store, key)
    with pytest.raises(StoreUnavailableError):
        await store.delete(["a/1", undeletable, "a/2"])
    assert await keys(store) == [undeletable]


async def test_where_many_cannot_be_deleted_the_others_are_left_alone(store: ObjectStore, undeletable: str) -> None:
    many = [f"{undeletable}{number}" for number in range(MOST_FAILED)]
    await put(store, "a/1")
    with pytest.raises(StoreUnavailableError):
        await store.delete([*many, "a/1"])
    assert await keys(store) == ["a/1"]


async def test_an_object_is_copied(store: ObjectStore) -> None:
    await put(store, "incoming/x", b"content")
    await put(store, "files/x", b"old")
    await store.copy("incoming/x", "files/x")
    await store.copy("incoming/x", "new/folder/x")
    assert await read(store, "files/x") == await read(store, "new/folder/x") == await read(store, "incoming/x") == b"content"


ODD = ["a", "a b", "grün", "日本.txt", "'()*!", "%7E%2F~", "+&=#?", ".hidden", "..x", "x" * MAX_SEGMENT_BYTES, "A", "ａ"]


async def test_odd_keys_are_kept_and_sorted(store: ObjectStore) -> None:
    named = [*ODD, *(f"f/{each}" for each in ODD), ".dot/x", ".parts/x"]
    for key in named:
        await put(store, key, key.encode())
    assert await keys(store) == sorted(named, key=str.encode)
    assert await keys(store, "f/") == sorted((each for each in named if each.startswith("f/")), key=str.encode)
    for key in named:
        assert await read(store, key) == key.encode()
    await store.delete(named)
    assert await keys(store) == []


@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\x00", "a\nb", "a\\b", "x" * 256, "x/" * 600 + "x", "\ud800", "a\x7f"],
)
async def test_keys_that_no_backend_takes_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidKeyError):
        await store.put(key, pieces(b""), 0)
    for ask in (store.get(key), store.head(key), store.delete([key]), store.copy(key, "x"), store.copy("x", key)):
        with pytest.raises(InvalidKeyError):
            await ask


async def test_a_listing_comes_in_pages(store: ObjectStore) -> None:
    """A folder ``a`` stands where ``a/`` would, behind ``a-b`` and before ``a0``."""
    named = sorted(["a-b", "a/1", "a/2/x", "a/2-", "a0", "b/c/d/e", "b/c/f", "c"], key=str.encode)
    for key in named:
        await put(store, key)
    assert await keys(store) == named
    for limit in (1, 2, 3):
        found: list[str] = []
        while page := await keys(store, "", found[-1] if found else "", limit):
            assert len(page) <= limit
            found += page
        assert found == named
    assert await keys(store, "b/c/") == ["b/c/d/e", "b/c/f"]
    assert await keys(store, "b/c/", "b/c/d/e") == ["b/c/f"]
    assert await keys(store, "b/c/", "b/c/e") == ["b/c/f"], "a page may begin behind a key that is gone"
    assert await keys(store, "none/") == []
    assert await keys(store, "a/2/x/") == []


async def test_a_prefix_is_a_folder(store: ObjectStore) -> None:
    await put(store, "ab/c")
    for ask in (store.objects("a"), store.folders("a"), store.objects("/"), store.objects("a//")):
        with pytest.raises(InvalidKeyError):
            await ask
    assert await keys(store, "a/") == []


async def test_folders_are_listed(store: ObjectStore) -> None:
    for key in ("x", "b/x", "a/x/y", "a/z/y", "ä/x", ".d/x"):
        await put(store, key)
    assert [each for each in await store.folders("") if not each.startswith(".")] == ["a/", "b/", "ä/"]
    assert await store.folders("a/") == ["a/x/", "a/z/"]
    assert await store.folders("a/", 1) == ["a/x/"]
    assert await store.folders("none/") == []


async def test_a_store_that_works_has_no_trouble(store: ObjectStore) -> None:
    assert await store.check() is None
    await store.close()


@pytest.mark.parametrize("store", ["local", "memory"], indirect=True)
async def test_many_write_and_delete_in_one_folder_at_once(store: ObjectStore) -> None:
    """A folder goes with its last object, and comes again with the next. S3 has none, but its server of the tests does."""

    async def turn(number: int) -> None:
        for each in range(10):
            await put(store, f"a/b/{number}", b"%d" % each)
            assert await read(store, f"a/b/{number}") == b"%d" % each
            await store.delete([f"a/b/{number}"])

    await asyncio.gather(*(turn(number) for number in range(6)))
    assert await keys(store) == []
