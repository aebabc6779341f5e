"""A store of S3 that fails: each failure has its name, nothing half is there, and everything works again when the store does."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from hub.objects import readiness
from hub.objects.open_store import open_store
from hub.objects.readiness import CHECKED_AGAIN_S, CHECKED_S, StoreReadiness
from hub.objects.remote import PART_BYTES
from hub.objects.settings import ObjectsSettings
from hub.objects.store import ObjectExistsError, ObjectNotFoundError, ObjectStore, StoreUnavailableError
from tests.hub.objects.test_link_endpoint import CONTENT, World, code
from tests.hub.objects.test_store import keys, pieces, put, read
from tests.hub.transports.harness import listening
from tests.support.redis_server import free_port
from tests.support.s3_server import S3Server
from tests.world import ManualClock

QUICK: dict[str, Any] = {"retry_s": 0, "request_s": 60}
"""A request that fails is not repeated."""

LASTING: dict[str, Any] = {"retry_s": 60, "request_s": 60}
"""A request is repeated for longer than a server takes to come back."""


DATA_DIR = Path(tempfile.gettempdir()) / "cx-event-hub-tests"
"""Uploads to a cloud's store wait below it, in files without a name."""

SHORT_S = 2.0
"""Seconds that a request may last where a test outlasts it: a machine that does much else answers within them."""


def opened(server: S3Server, bucket: str, **more: Any) -> ObjectStore:
    return open_store(ObjectsSettings(**{**server.settings(bucket), **QUICK, **more}), DATA_DIR, ManualClock())


@pytest.fixture
def server(s3_process: Callable[..., S3Server]) -> S3Server:
    return s3_process()


async def rest(found: AsyncIterator[bytes], into: list[bytes]) -> bytes:
    """All that is left of an object; what comes before an error is in ``into``, too."""
    async for piece in found:
        into.append(piece)  # noqa: PERF401 - an error may come in the middle
    return b"".join(into)


def everything(store: ObjectStore) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each call of a store, on an object that may not be there."""
    return {
        "put": lambda: store.put("a/x", pieces(b"hello"), 5),
        "put of what is new": lambda: store.put("a/x", pieces(b"hello"), 5, create_only=True),
        "put in parts": lambda: store.put("a/x", pieces(b"x" * (PART_BYTES + 1), 100_000), PART_BYTES + 1),
        "get": lambda: store.get("a/x"),
        "head": lambda: store.head("a/x"),
        "objects": lambda: store.objects("a/"),
        "folders": lambda: store.folders("a/"),
        "copy": lambda: store.copy("a/x", "a/y"),
        "delete": lambda: store.delete(["a/x"]),
    }


async def test_a_wrong_secret_is_told_as_such(s3_server: S3Server) -> None:
    """Never as an object that does not exist: whoever sweeps or reads would believe that."""
    bucket = s3_server.bucket()
    await put(opened(s3_server, bucket), "a/x")
    store = opened(s3_server, bucket, secret_access_key="another one")
    for name, call in everything(store).items():
        with pytest.raises(StoreUnavailableError) as caught:
            await call()
        assert caught.value.code in ("SignatureDoesNotMatch", "AccessDenied"), name
    assert "SignatureDoesNotMatch" in str(await store.check())
    assert await read(opened(s3_server, bucket), "a/x") == b"hello"


async def test_a_key_that_the_store_does_not_know_is_told_as_such(s3_server: S3Server) -> None:
    store = opened(s3_server, s3_server.bucket(), access_key_id="AKIANOBODY")
    for name, call in everything(store).items():
        with pytest.raises(StoreUnavailableError) as caught:
            await call()
        assert caught.value.code == "XAdminUserNotFound", name
    assert "XAdminUserNotFound" in str(await store.check())


async def test_a_bucket_that_does_not_exist_is_told_as_such(s3_server: S3Server) -> None:
    store = opened(s3_server, "no-such-bucket")
    for name, call in everything(store).items():
        with pytest.raises(StoreUnavailableError) as caught:
            await call()
        assert caught.value.code == "NoSuchBucket", name
    assert "NoSuchBucket" in str(await store.check())


async def test_a_server_that_is_down_is_told_and_works_again_when_it_is_back(server: S3Server) -> None:
    store = opened(server, server.bucket())
    await put(store, "a/x", b"before")
    server.kill()
    for call in everything(store).values():
        with pytest.raises(StoreUnavailableError):
            await call()
    assert await store.check() is not None
    server.start()
    assert await store.check() is None
    assert await keys(store, "a/") == ["a/x"]
    assert await read(store, "a/x") == b"before"
    for name, call in everything(store).items():
        if name != "put of what is new":  # there is one
            await call()


@pytest.mark.parametrize("size", [300_000, PART_BYTES + 300_000])
async def test_a_server_that_dies_during_an_upload_leaves_the_old_object(server: S3Server, size: int) -> None:
    async def dying() -> AsyncIterator[bytes]:
        yield b"x" * (size - 1)
        server.kill()
        yield b"x"

    store = opened(server, server.bucket())
    await put(store, "a/x", b"before")
    with pytest.raises(StoreUnavailableError):
        await store.put("a/x", dying(), size)
    server.start()
    assert await read(store, "a/x") == b"before"
    assert [each.size for each in await store.objects("")] == [6]


@pytest.mark.parametrize("size", [300_000, PART_BYTES + 300_000])
async def test_an_upload_goes_on_when_a_server_comes_back_in_time(server: S3Server, size: int) -> None:
    async def back_soon() -> AsyncIterator[bytes]:
        yield b"x" * (size - 1)
        server.kill()
        loop.call_later(0.3, server.start)
        yield b"x"

    loop = asyncio.get_running_loop()
    store = opened(server, server.bucket(), **LASTING)
    await store.put("a/x", back_soon(), size)
    assert await read(store, "a/x") == b"x" * size


async def test_a_server_that_dies_during_a_download_is_told(server: S3Server) -> None:
    store = opened(server, server.bucket())
    content = os.urandom(30_000_000)  # more than lies in buffers between
    await store.put("a/x", pieces(content, 1_000_000), len(content))
    found = await store.get("a/x")
    got = [await anext(found)]
    server.kill()
    with pytest.raises(StoreUnavailableError):
        await rest(found, got)
    assert content.startswith(b"".join(got)), "what came is what was there"


async def test_a_download_goes_on_when_the_server_is_back(server: S3Server) -> None:
    store = opened(server, server.bucket(), **LASTING)
    content = os.urandom(30_000_000)
    await store.put("a/x", pieces(content, 1_000_000), len(content))
    found = await store.get("a/x")
    got = [await anext(found)]
    server.kill()
    server.start()
    assert await rest(found, got) == content


async def test_a_client_may_be_slower_than_a_request_may_last(s3_server: S3Server) -> None:
    """The rest is asked for again, as often as it takes."""
    bucket = s3_server.bucket()
    content = os.urandom(30_000_000)
    await opened(s3_server, bucket).put("a/x", pieces(content, 1_000_000), len(content))
    got = []
    async for piece in await opened(s3_server, bucket, request_s=SHORT_S).get("a/x"):
        got.append(piece)
        if len(got) in (10, 100):
            await asyncio.sleep(1.2 * SHORT_S)
    assert b"".join(got) == content


async def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new_one(s3_server: S3Server) -> None:
    bucket = s3_server.bucket()
    store = opened(s3_server, bucket)
    old, new = os.urandom(30_000_000), os.urandom(30_000_000)
    await store.put("a/x", pieces(old, 1_000_000), len(old))
    found = await opened(s3_server, bucket, request_s=SHORT_S).get("a/x")
    got = [await anext(found)]
    await store.put("a/x", pieces(new, 1_000_000), len(new))
    await asyncio.sleep(1.2 * SHORT_S)
    with pytest.raises(StoreUnavailableError, match="replaced or deleted") as caught:
        await rest(found, got)
    assert caught.value.code == "PreconditionFailed"
    assert old.startswith(b"".join(got))


async def test_a_server_that_says_nothing_is_given_up(server: S3Server) -> None:
    bucket = server.bucket()
    store = opened(server, bucket, request_s=0.2)
    server.stall()
    for call in everything(store).values():
        with pytest.raises(StoreUnavailableError):
            await call()
    server.wake()
    assert await opened(server, bucket).check() is None


# -- a store that is busy ---------------------------------------------------------------------------------------------


class Busy:
    """A server that is busy for some requests, then takes each."""

    def __init__(self, times: int, status: int = 503, code: str = "SlowDown") -> None:
        self.times = times
        self.asked = 0
        self._status = status
        self._text = f"<Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>"

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked += 1
        if self.asked <= self.times:
            return web.Response(status=self._status, text=self._text, content_type="application/xml")
        return web.Response(headers={"ETag": '"5d41402abc4b2a76b9719d911017c592"'})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


def at(endpoint: str, **more: Any) -> ObjectStore:
    settings = ObjectsSettings(url="s3://files", endpoint=endpoint, access_key_id="AK", secret_access_key="secret", **more)
    return open_store(settings, DATA_DIR, ManualClock())


async def test_a_conflict_is_no_object_that_exists_where_nobody_asked_whether_one_does() -> None:
    """As S3 answers to two requests for one key at once."""
    busy = Busy(1_000, 409, "OperationAborted")
    async with busy.listening() as endpoint:
        store = at(endpoint, retry_s=0)
        with pytest.raises(StoreUnavailableError) as caught:
            await put(store, "a/x")
        assert caught.value.code == "OperationAborted"
        with pytest.raises(ObjectExistsError):
            await put(store, "a/x", create_only=True)


@pytest.mark.parametrize("create_only", [False, True])
async def test_a_store_that_is_busy_is_asked_again(create_only: bool) -> None:
    busy = Busy(3)
    async with busy.listening() as endpoint:
        await put(at(endpoint, retry_s=60), "a/x", b"hello", create_only=create_only)
    assert busy.asked == 4


async def test_a_store_that_stays_busy_is_told_by_its_own_word() -> None:
    busy = Busy(1_000)
    async with busy.listening() as endpoint:
        with pytest.raises(StoreUnavailableError) as caught:
            await put(at(endpoint, retry_s=1), "a/x")
        assert caught.value.code == "SlowDown"
        assert busy.asked > 1
        before = busy.asked
        with pytest.raises(StoreUnavailableError):
            await put(at(endpoint, retry_s=0), "a/x")
        assert busy.asked == before + 1


# -- what callers and operators see -----------------------------------------------------------------------------------


@asynccontextmanager
async def linked(store: ObjectStore, folder: Path) -> AsyncIterator[World]:
    """The endpoint of links over a store."""
    world = World(folder, ObjectsSettings(), store)
    async with listening(world.endpoint) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        world.port, world.client = port, client
        yield world


async def test_links_tell_a_store_that_is_down_and_work_again(server: S3Server, tmp_path: Path) -> None:
    async with linked(opened(server, server.bucket()), tmp_path) as world:
        server.kill()
        answer = await world.put(world.upload())
        assert code(answer) == (503, "ServiceUnavailable")
        assert answer.headers["retry-after"]
        server.start()
        assert (await world.put(world.upload())).status_code == 200
        server.kill()
        assert code(await world.client.get(world.download())) == (503, "ServiceUnavailable")
        server.start()
        assert (await world.client.get(world.download())).content == CONTENT
        assert world.counters.failed == 2
        assert len(await world.keys()) == 1


async def test_a_download_that_the_store_breaks_off_is_seen_to_be_incomplete(server: S3Server, tmp_path: Path) -> None:
    content = os.urandom(30_000_000)
    async with linked(opened(server, server.bucket()), tmp_path) as world:
        assert (await world.put(world.upload(size=len(content)), content)).status_code == 200
        async with world.client.stream("GET", world.download()) as answer:
            pieces_of_it = answer.aiter_raw(65_536)
            got = [await anext(pieces_of_it)]
            server.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                await rest(pieces_of_it, got)
        assert content.startswith(b"".join(got))
        assert world.counters.broken == 1


async def test_readiness_tells_and_forgets(server: S3Server) -> None:
    clock = ManualClock()
    check = StoreReadiness(opened(server, server.bucket()), clock)
    assert await check.trouble() is None
    server.kill()
    assert await check.trouble() is None, "each check costs a request"
    clock.advance(CHECKED_S)
    assert "does not answer" in str(await check.trouble())
    server.start()
    assert await check.trouble() is not None
    clock.advance(CHECKED_AGAIN_S)
    assert await check.trouble() is None


async def test_readiness_does_not_wait_for_a_store_that_says_nothing(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ANSWERS_S", 0.05)
    clock = ManualClock()
    check = StoreReadiness(opened(server, server.bucket()), clock)
    server.stall()
    assert "has not answered" in str(await check.trouble())
    assert "has not answered" in str(await check.trouble()), "the same check is still under way"
    server.wake()
    monkeypatch.setattr(readiness, "ANSWERS_S", 60)
    assert await asyncio.gather(*(check.trouble() for _ in range(3))) == [None] * 3


async def test_an_object_that_is_missing_is_told_apart(s3_server: S3Server) -> None:
    store = opened(s3_server, s3_server.bucket())
    for name in ("get", "head", "copy"):
        with pytest.raises(ObjectNotFoundError):
            await everything(store)[name]()
