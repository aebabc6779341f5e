"""A relay in front of a server's socket that a test can hold, cut and turn to another server."""

from __future__ import annotations

import asyncio
from pathlib import Path


class Gate:
    """Listens on a Unix socket. What is sent to the server is a line of its own, ``requests``, and so is what comes back, ``answers``."""

    def __init__(self, path: Path, upstream: Path) -> None:
        self.path = path
        self.upstream = upstream
        """New connections go there."""
        self.open = {"requests": asyncio.Event(), "answers": asyncio.Event()}
        for line in self.open.values():
            line.set()
        self.is_cut = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Gate:
        self._server = await asyncio.start_unix_server(self._accept, self.path)
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for _ in range(3):  # until the sockets are closed
            await asyncio.sleep(0)

    def hold(self, *lines: str) -> None:
        """Let nothing through on these lines."""
        for line in lines or self.open:
            self.open[line].clear()

    def release(self, *lines: str) -> None:
        """Let through what was held, and what comes."""
        for line in lines or self.open:
            self.open[line].set()

    def cut(self) -> None:
        """Break all connections, and take no new ones."""
        self.is_cut = True
        self.drop()

    def drop(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def mend(self) -> None:
        """Take connections again."""
        self.is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(str(self.upstream))
        except OSError:
            writer.transport.abort()
            return
        if self.is_cut:  # meanwhile
            writer.transport.abort()
            upstream_writer.transport.abort()
            return
        self._writers |= {writer, upstream_writer}
        for line, source, target in (("requests", reader, upstream_writer), ("answers", upstream_reader, writer)):
            task = asyncio.get_running_loop().create_task(self._pump(line, source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, line: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.open[line].wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()
