"""What a transfer takes of the hub's memory, whatever the size of the file. The client is another process, which is not measured."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from pathlib import Path

import httpx
import pytest

from hub.objects.hashing import GATHERED_PIECES, Hashed, gathered
from hub.objects.settings import ObjectsSettings
from hub.objects.store import WrongSizeError
from tests.hub.objects.test_link_endpoint import World
from tests.hub.objects.test_store import pieces
from tests.hub.transports.harness import listening

MOST: int = 2 * 1024 * 1024
"""Bytes; half of it is what a transfer takes here, the rest is for another loop, another Python, and what is made once."""

SMALL, LARGE = 2 * 1024 * 1024, 40 * 1024 * 1024

CLIENT = """
import http.client, sys
method, port, path, size = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
body = (b"x" * 65536 for _ in range(size // 65536)) if method == "PUT" else None
headers = {"Content-Type": "application/pdf", "Content-Length": str(size)} if method == "PUT" else {}
connection.request(method, path, body, headers)
answer = connection.getresponse()
got = 0
while piece := answer.read(65536):
    got += len(piece)
assert answer.status == 200, answer.status
assert got == (0 if method == "PUT" else size), got
"""


async def transfer(world: World, method: str, path: str, size: int) -> int:
    """Let another process upload or download a file. Returns the bytes of memory that it took at most."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, method, str(world.port), path, str(size))
        assert await client.wait() == 0
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()


async def test_a_transfer_takes_as_much_memory_for_a_large_file_as_for_a_small_one(tmp_path: Path) -> None:
    world = World(tmp_path / "objects", ObjectsSettings())
    async with listening(world.endpoint) as port, httpx.AsyncClient() as world.client:
        world.port = port
        taken: dict[tuple[str, int], int] = {}
        for _ in range(2):  # the first time, much is made that stays
            for size in (SMALL, LARGE):
                name = f"f{size}"
                world.owner.files[name] = None
                taken["PUT", size] = await transfer(world, "PUT", world.upload(name, size), size)
                taken["GET", size] = await transfer(world, "GET", world.download(name), size)
    assert max(taken.values()) < MOST, taken
    for method in ("PUT", "GET"):
        assert taken[method, LARGE] < taken[method, SMALL] + MOST // 4, taken


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_client_that_sends_a_few_bytes_at_a_time_does_not_fill_the_memory(size: int) -> None:
    """An object of Python needs more room than they do."""
    content = b"abcdefghij" * 1000
    batches = [batch async for batch in gathered(pieces(content, size), Hashed(len(content)))]
    assert max(map(len, batches)) <= GATHERED_PIECES
    assert b"".join(b"".join(batch) for batch in batches) == content


async def test_too_many_bytes_are_refused_before_they_are_kept() -> None:
    with pytest.raises(WrongSizeError):
        await anext(aiter(gathered(pieces(b"x" * 11, 3), Hashed(10))))
