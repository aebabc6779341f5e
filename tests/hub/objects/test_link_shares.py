"""Links on a real server where more transfers are wanted than there may be."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from hub.objects.settings import ObjectsSettings
from hub.transports import http_protocol
from tests.hub.objects.test_link_endpoint import CONTENT, World, code, settings, until, world
from tests.hub.objects.test_store import pieces
from tests.hub.transports.harness import listening

__all__ = ["settings", "world"]


class TestSlowReaders:
    """Downloads that are read slowly, of a tenant that may have two transfers."""

    @pytest.fixture
    def settings(self) -> ObjectsSettings:
        return ObjectsSettings(max_transfers=4, max_transfers_per_address=4, idle_s=3.0, min_bytes_per_s=1_000_000_000)

    @pytest.mark.parametrize("in_pieces", [False, True])
    async def test_they_are_ended_where_they_keep_others_out(self, world: World, in_pieces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if in_pieces:
            monkeypatch.setattr(http_protocol, "EXTENSIONS", {})
        size = 60_000_000
        world.owner.files["a"] = ("a", await world.store.put("a", pieces(bytes(size)), size))
        alone = asyncio.create_task(self.read(world))
        await until(lambda: world.endpoint.transfers == 1, "it has begun")
        await asyncio.sleep(4)  # several looks: there is nobody to whom it could be in the way
        assert (world.endpoint.transfers, world.counters.too_slow) == (1, 0)
        other = asyncio.create_task(self.read(world))
        await until(lambda: world.counters.too_slow == 1, "one of them is ended")
        assert world.counters.broken == 1
        for each in (alone, other):
            each.cancel()
        await asyncio.gather(alone, other, return_exceptions=True)
        await until(lambda: world.endpoint.transfers == 0, "the server knows it")

    async def read(self, world: World) -> None:
        """Read all the time, and not much at a time: 3 MB a second, and on a machine with much else to do enough to be seen to go on."""
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        loop = asyncio.get_running_loop()
        with connection:
            await loop.sock_connect(connection, ("127.0.0.1", world.port))
            await loop.sock_sendall(connection, f"GET {world.download()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while await loop.sock_recv(connection, 32768):
                await asyncio.sleep(0.01)


async def test_one_address_has_its_share(tmp_path: Path) -> None:
    world = World(tmp_path / "objects", ObjectsSettings(max_transfers_per_address=1))
    world.owner.hold = asyncio.Event()
    from_elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with listening(world.endpoint) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as world.client:
        running = asyncio.create_task(world.put(world.upload()))
        await until(lambda: world.owner.begun == 1, "it has begun")
        refused = await world.put(world.upload("b"))
        assert (code(refused), "max_transfers_per_address" in refused.text) == ((503, "SlowDown"), True)
        assert world.counters.refused_address == 1
        world.owner.hold.set()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=from_elsewhere) as other:
            answer = await other.put(world.upload("b"), content=CONTENT, headers={"Content-Type": "application/pdf"})
        assert (answer.status_code, (await running).status_code) == (200, 200)


class TestBusy:
    """As many transfers as there may be."""

    @pytest.fixture
    def settings(self) -> ObjectsSettings:
        return ObjectsSettings(max_transfers=2, max_transfers_per_address=2)

    async def test_one_tenant_has_its_share_alone(self, world: World) -> None:
        world.owner.hold = asyncio.Event()
        running = [asyncio.create_task(world.put(world.upload()))]
        await until(lambda: world.owner.begun == 1, "it has begun")
        answer = await world.put(world.upload("b"))
        assert code(answer) == (503, "SlowDown")
        assert answer.headers["retry-after"] == "2"
        assert world.counters.refused_busy == 1
        running.append(asyncio.create_task(world.put(world.upload("c", tenant="acme"))))
        await until(lambda: world.owner.begun == 2, "another tenant's begins")
        assert code(await world.put(world.upload("d", tenant="third"))) == (503, "SlowDown")
        world.owner.hold.set()
        assert [each.status_code for each in await asyncio.gather(*running)] == [200, 200]
        assert world.endpoint.transfers == 0
        assert (await world.put(world.upload("b"))).status_code == 200
