"""Nodes of a hub in one process whose links are real, over Unix sockets with a relay in between that a test may cut."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from hub.cluster.cluster import Cluster
from hub.cluster.link.address import LinkAddress
from hub.cluster.link.tuning import Tuning
from hub.cluster.links import Links
from hub.cluster.ports import NodeRecord
from tests.support.cluster import MemoryNodes

SECRET = b"a secret of sixteen characters"


class Way:
    """A relay on a Unix socket before another: what goes ``forth`` (from whoever connects) or ``back`` may be swallowed, or take time."""

    def __init__(self, path: Path, upstream: Path) -> None:
        self.path = path
        self.swallows: set[str] = set()
        self.delay_s = {"forth": 0.0, "back": 0.0}
        self.bytes = {"forth": bytearray(), "back": bytearray()}
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> Way:
        self._server = await asyncio.start_unix_server(self._accept, self.path)
        return self

    async def close(self) -> None:
        """Nobody gets through any more, and whoever is through is thrown out."""
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Break every connection; the next one gets through."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, other_writer}
        pumps = [
            asyncio.create_task(self._pump("forth", reader, other_writer)),
            asyncio.create_task(self._pump("back", other_reader, writer)),
        ]
        self._tasks |= set(pumps)
        await asyncio.wait(pumps)
        self._tasks -= set(pumps)
        for each in (writer, other_writer):
            each.close()
        self._writers -= {writer, other_writer}

    async def _pump(self, line: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if self.delay_s[line]:
                    await asyncio.sleep(self.delay_s[line])
                if line in self.swallows:
                    continue
                self.bytes[line] += data
                target.write(data)
                await target.drain()
        except OSError:
            return
        finally:
            if line not in self.swallows:  # a network that is cut does not bring the end of a connection either
                target.close()


class SocketNode(Cluster):
    """One node: what it is told of the others, and its links."""

    nodes: Any
    links: Any

    @property
    def incarnation(self) -> str:
        return str(self.nodes.me.incarnation)


class SocketCluster:
    """The face of :class:`tests.support.cluster.MemoryCluster` over sockets. Make it with :meth:`start`."""

    def __init__(self, tuning: Tuning) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hub-links-"))
        self.tuning = tuning
        self.ways: dict[tuple[str, str], Way] = {}
        """By who connects to whom."""
        self.all: list[SocketNode] = []
        self.dead: set[str] = set()

    @classmethod
    async def start(cls, count: int, tuning: Tuning) -> SocketCluster:
        cluster = cls(tuning)
        for _ in range(count):
            await cluster.add()
        return cluster

    @property
    def nodes(self) -> list[SocketNode]:
        return [node for node in self.all if node.incarnation not in self.dead]

    async def add(self, secret: bytes = SECRET) -> SocketNode:
        name = f"{len(self.all) + 1:012x}"
        path = self.folder / f"{name}.sock"
        view = MemoryNodes(NodeRecord(incarnation=name, version="test", link=f"unix:{path}", machine="here"))
        node = SocketNode(view, Links(view, secret, listen=LinkAddress(path=str(path)), tuning=self.tuning))
        await node.links.start()
        for other in self.nodes:
            await self._introduce(other, node)
            await self._introduce(node, other)
        self.all.append(node)
        return node

    async def _introduce(self, seer: SocketNode, seen: SocketNode) -> None:
        path = self.folder / f"{seer.incarnation[-3:]}-{seen.incarnation[-3:]}.sock"
        way = Way(path, self.folder / f"{seen.incarnation}.sock")
        self.ways[seer.incarnation, seen.incarnation] = await way.start()
        seer.nodes.see(msgspec.structs.replace(seen.nodes.me, link=f"unix:{path}"))

    def change(self, node: SocketNode, **fields: Any) -> None:
        node.nodes.see(msgspec.structs.replace(node.nodes.me, **fields))
        for each in self.nodes:
            if each is not node:
                each.nodes.see(msgspec.structs.replace(each.nodes.find(node.incarnation), **fields))

    def delay(self, source: SocketNode, target: SocketNode, seconds: float) -> None:
        self.ways[source.incarnation, target.incarnation].delay_s["forth"] = seconds
        self.ways[target.incarnation, source.incarnation].delay_s["back"] = seconds

    def cut(self, source: SocketNode, target: SocketNode, *, both: bool = True) -> None:
        there, back = self._between(source, target)
        there.swallows.add("forth")
        back.swallows.add("back")
        if both:
            there.swallows.add("back")
            back.swallows.add("forth")

    def mend(self, source: SocketNode, target: SocketNode) -> None:
        for way in self._between(source, target):
            way.swallows.clear()

    def drop(self, source: SocketNode, target: SocketNode) -> None:
        for way in self._between(source, target):
            way.drop()

    def kill(self, node: SocketNode, *, lapse: bool = True) -> None:
        """As ``kill -9`` looks from outside: its connections end, and nobody listens any more."""
        self.dead.add(node.incarnation)
        node.links.on_broken.clear()
        node.links._server.close()
        (self.folder / f"{node.incarnation}.sock").unlink()
        for other in self.all:
            if other is not node:
                self.drop(node, other)
        if lapse:
            self.lapse(node)

    def lapse(self, node: SocketNode) -> None:
        for other in self.nodes:
            other.nodes.lose(node.incarnation)

    def _between(self, one: SocketNode, other: SocketNode) -> tuple[Way, Way]:
        return self.ways[one.incarnation, other.incarnation], self.ways[other.incarnation, one.incarnation]

    async def close(self) -> None:
        for node in self.all:
            await node.links.stop()
        for way in self.ways.values():
            await way.close()
        shutil.rmtree(self.folder, ignore_errors=True)
