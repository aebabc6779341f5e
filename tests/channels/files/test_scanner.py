"""A scanner on a real server: what it says, what it does not say, and what a restart changes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from channels.files.models import FileRecord
from channels.files.state_machine import FileStatus, State
from hub.storage.backends import backend_of
from hub.storage.transactions import Transactions
from tests.channels.files.conftest import PACKAGES
from tests.channels.files.support import CONTACT, NOW, TENANTS, World
from tests.hub.storage.backends import migrated_url, opened
from tests.world import ManualClock

Answer = tuple[int, bytes] | None

APPROVED: Answer = (200, b'{"Status":"APPROVED"}')
REJECTED: Answer = (200, b'{"Status":"REJECTED"}')


class Server:
    """Stands for the scanner. It gives the prepared answers, the last one again and again; None: it says nothing."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.got: list[Any] = []
        self.read: list[httpx.Response] = []
        self.url = ""
        self.most = 0
        self._now = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.headers: dict[str, str] = {}

    async def _handle(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.got.append(body)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            async with httpx.AsyncClient() as client:
                self.read.append(await client.get(body["File"]["FileLocation"]["DownloadUrl"]))
            await self.hold.wait()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await asyncio.sleep(3600)
                raise AssertionError("nobody waits for an hour")
            return web.Response(status=answer[0], body=answer[1], headers=self.headers)
        finally:
            self._now -= 1

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/scan"
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
async def transactions(request: pytest.FixtureRequest) -> AsyncIterator[Transactions]:
    """A database with tenants."""
    async with opened(await migrated_url(request, PACKAGES)) as database:
        made = Transactions(backend_of(database))
        await made.start()
        for tenant in TENANTS:
            await made.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
        yield made
        await made.stop()


@asynccontextmanager
async def scanned(transactions: Transactions, folder: Path, server: Server, **settings: Any) -> AsyncIterator[World]:
    """The family with a scanner."""
    given = {"scanner_url": server.url, "scanner_networks": ["127.0.0.0/8"], **settings}
    async with World(transactions, folder, ManualClock(wall=NOW), given).running() as world:
        yield world


async def decided(world: World, file: FileRecord) -> FileRecord:
    """The file, once it is decided."""
    async with asyncio.timeout(30):
        while True:
            found = await world.files.get(file.tenant, file.id)
            if found.state.decided:
                return found
            await asyncio.sleep(0.01)


async def test_what_the_scanner_approves_may_be_read(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(APPROVED).listening() as server, scanned(transactions, tmp_path, server) as world:
        server.hold.clear()
        file = await world.uploaded(interaction_id="4712", resource=CONTACT)
        assert (await world.complete(file, "t")).status is FileStatus.PROCESSING
        await world.until(lambda: bool(server.read))
        assert (await world.complete(file, "t")).state is State.SCANNING, "it is under way"
        link = server.got[0]["File"]["FileLocation"]["DownloadUrl"]
        assert server.read[0].content == b"hello", "the scanner reads what nobody else may read yet"
        server.hold.set()
        done = await decided(world, file)
        assert (done.status, done.reason) == (FileStatus.APPROVED, None)
        assert (await world.read(done)).content == b"hello"
        async with httpx.AsyncClient() as client:
            assert (await client.get(link)).status_code == 404, "the scanner's link ends with its verdict"
        await world.tells(file, "UPLOADED", "APPROVED")
        (asked,) = server.got
        told = asked["File"]
        assert (asked["Version"], told["FileId"], told["FileName"], told["FileSizeInBytes"]) == ("1.0", file.id, "note.txt", 5)
        assert (told["FileCreationTime"], asked["InstanceId"]) == (file.created_ms, world.arns.instance("acme").rpartition("/")[2])


@pytest.mark.parametrize(
    ("answers", "settings", "asked", "reason"),
    [
        ([REJECTED], {}, 1, "the scanner rejected it"),
        ([(500, b"no")], {}, 3, "HTTP 500"),
        ([(200, b"{}")], {}, 3, "without APPROVED or REJECTED"),
        ([(200, b'{"Status":"MAYBE"}')], {"scanner_attempts": 2}, 2, "without APPROVED or REJECTED"),
        ([(302, b""), (500, b""), REJECTED], {}, 3, "the scanner rejected it"),
        ([None], {"scanner_timeout_s": 0.3}, 1, "no answer within 0.3 s"),
    ],
)
async def test_without_an_approval_a_file_is_rejected_and_its_bytes_go(
    transactions: Transactions, tmp_path: Path, answers: list[Answer], settings: dict[str, Any], asked: int, reason: str
) -> None:
    async with Server(*answers).listening() as server, scanned(transactions, tmp_path, server, **settings) as world:
        file = await world.uploaded()
        await world.complete(file)
        done = await decided(world, file)
        assert done.status is FileStatus.REJECTED
        assert reason in (done.reason or "")
        assert len(server.got) == asked
        await world.tells(file, "UPLOADED", "REJECTED")
        async with asyncio.timeout(30):
            while await world.keys():
                await asyncio.sleep(0.01)


async def test_nobody_learns_the_scanners_address_or_key(
    transactions: Transactions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are the operator's; who reads the file may be of any tenant."""
    async with Server((200, b"x")).listening() as server:
        server.headers = {"X-Long": "geheim" * 4_000}  # more than the client takes, which tells the whole URL
        address = server.url.replace("/scan", "/scan?key=geheim")
        async with scanned(transactions, tmp_path, server, scanner_url=address, scanner_attempts=1) as world:
            file = await world.uploaded()
            await world.complete(file)
            done = await decided(world, file)
            assert done.reason == "the scanner gave no verdict: its answer was no proper HTTP"
            await world.tells(file, "UPLOADED", "REJECTED")
            assert "geheim" not in str(world.heard.events)
    nobody = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{nobody.getsockname()[1]}/scan?key=geheim"
    nobody.close()
    async with scanned(transactions, tmp_path, server, scanner_url=address, scanner_attempts=1) as world:
        file = await world.uploaded()
        await world.complete(file)
        assert (await decided(world, file)).reason == "the scanner gave no verdict: it could not be reached, or broke off"
    said = capsys.readouterr()
    assert "geheim" not in said.out + said.err
    assert "scanner_gave_no_verdict" in said.out + said.err


async def test_an_error_in_between_does_not_count(transactions: Transactions, tmp_path: Path) -> None:
    async with Server((500, b""), (503, b""), APPROVED).listening() as server, scanned(transactions, tmp_path, server) as world:
        file = await world.uploaded()
        await world.complete(file)
        assert (await decided(world, file)).status is FileStatus.APPROVED
        assert world.counters.scans_failed == 2


async def test_a_restart_asks_again(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(None).listening() as server:
        async with scanned(transactions, tmp_path, server) as world:
            file = await world.uploaded()
            await world.complete(file)
            await world.until(lambda: bool(server.got))
        server.answers = [APPROVED]
        async with scanned(transactions, tmp_path, server) as again:
            assert (await decided(again, file)).status is FileStatus.APPROVED
            assert len(server.got) == 2


async def test_what_waits_is_decided_where_the_scanner_was_switched_off(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(None).listening() as server:
        async with scanned(transactions, tmp_path, server) as world:
            files = [await world.uploaded(), await world.uploaded(tenant="other")]
            for file in files:
                await world.complete(file)
            await world.until(lambda: len(server.got) == 2)
        async with World(transactions, tmp_path, ManualClock(wall=NOW), {}).running() as world:
            for file in files:
                done = await decided(world, file)
                assert (done.status, done.reason) == (FileStatus.APPROVED, None)
                assert (await world.read(done)).content == b"hello"
            await world.tells(files[0], "APPROVED")


async def test_what_the_scanner_of_another_hub_looks_at_is_left_to_it(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(APPROVED).listening() as server, scanned(transactions, tmp_path / "a", server) as world:
        server.hold.clear()
        file = await world.uploaded()
        await world.complete(file)
        await world.until(lambda: bool(server.got))
        async with World(transactions, tmp_path / "b", world.clock, {}).running(jobs=False) as other:
            assert await other.files.decide_unscanned() == 0
            world.clock.advance(60 + 31)
            assert await other.files.decide_unscanned() == 1, "nobody looks at it any more"
        server.hold.set()
        await world.until(lambda: world.counters.scans_approved == 1)
        assert (await decided(world, file)).status is FileStatus.APPROVED


async def test_the_scanner_is_asked_only_about_so_many_at_once(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(APPROVED).listening() as server, scanned(transactions, tmp_path, server, scans=4) as world:
        server.hold.clear()
        files = [await world.uploaded() for _ in range(5)]
        for file in files:
            await world.complete(file)
        await world.until(lambda: len(server.got) == 2)
        other = await world.uploaded(tenant="other")
        await world.complete(other)
        await world.until(lambda: len(server.got) == 3)
        server.hold.set()
        for file in (*files, other):
            assert (await decided(world, file)).status is FileStatus.APPROVED
        assert server.most <= 3, "one tenant has half"
        await world.until(lambda: len(server.got) == 6)


async def test_an_address_that_is_not_public_must_be_named(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(APPROVED).listening() as server:
        server.url = server.url.replace("127.0.0.1", "localhost")
        async with scanned(transactions, tmp_path, server, scanner_networks=[]) as world:
            file = await world.uploaded()
            await world.complete(file)
            done = await decided(world, file)
            assert done.status is FileStatus.REJECTED
            assert "files.scanner_networks" in (done.reason or "")
            assert server.got == []


async def test_a_file_that_is_deleted_meanwhile_stays_away(transactions: Transactions, tmp_path: Path) -> None:
    async with Server(APPROVED).listening() as server, scanned(transactions, tmp_path, server) as world:
        server.hold.clear()
        file = await world.uploaded()
        await world.complete(file)
        await world.until(lambda: bool(server.read))
        await world.files.delete("acme", file.id)
        server.hold.set()
        await world.until(lambda: world.counters.scans_approved == 1)
        assert await world.now(file) is None
        assert await world.keys() == []
        await world.tells(file, "UPLOADED", "DELETED")
