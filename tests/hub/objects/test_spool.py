"""Uploads to a cloud's store: how much of them is in memory, and how many are passed on at once."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from hub.objects.remote import PART_BYTES, RemoteStore
from hub.objects.sends import Sends
from hub.objects.spool import MEMORY_BYTES, Spool
from hub.objects.store import StoreUnavailableError
from tests.hub.objects.test_store import keys, pieces

UPLOADS = 8


class Slow:
    """A client that sends nearly all of an upload, and then nothing for a while."""

    def __init__(self) -> None:
        self.stands = asyncio.Event()
        self.go_on = asyncio.Event()

    async def send(self, size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 65_536 - 1):
            yield bytes(65_536)
        self.stands.set()
        await self.go_on.wait()
        yield bytes(size - (size // 65_536 - 1) * 65_536)


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 65_536])
async def test_uploads_that_stand_still_are_not_in_memory(tmp_path: Path, size: int) -> None:
    store = RemoteStore(MemoryStore(), Spool(tmp_path, Sends(2)))
    clients = [Slow() for _ in range(UPLOADS)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        running = [asyncio.create_task(store.put(f"a/{number}", each.send(size), size)) for number, each in enumerate(clients)]
        for each in clients:
            await each.stands.wait()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < UPLOADS * 2 * MEMORY_BYTES
    assert await keys(store) == [], "the store knows nothing of them yet"
    for each in clients:
        each.go_on.set()
    assert [each.size for each in await asyncio.gather(*running)] == [size] * UPLOADS
    assert [(await store.head(f"a/{number}")).size for number in range(UPLOADS)] == [size] * UPLOADS
    assert list(tmp_path.iterdir()) == []


async def test_few_are_passed_on_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RemoteStore(MemoryStore(), Spool(tmp_path, Sends(2)))
    now = most = 0
    ask = obstore.put_async

    async def put(*arguments: Any, **more: Any) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        await ask(*arguments, **more)
        now -= 1

    monkeypatch.setattr(obstore, "put_async", put)
    size = MEMORY_BYTES + 1
    await asyncio.gather(*(store.put(f"a/{number}", pieces(bytes(size), 65_536), size) for number in range(UPLOADS)))
    assert most == 2
    assert len(await keys(store)) == UPLOADS


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = RemoteStore(MemoryStore(), Spool(tmp_path / "file" / "uploads", Sends(2)))
    size = MEMORY_BYTES + 1
    with pytest.raises(StoreUnavailableError, match="the folder of uploads: Not a directory"):
        await store.put("a/x", pieces(bytes(size), 65_536), size)
    assert "uploads" in str(await store.check())
    assert await keys(store, "a/") == []
