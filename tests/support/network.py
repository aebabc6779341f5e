"""A network that a test can break: a TCP relay on loopback between clients and a hub, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

CHUNK_BYTES = 64 * 1024
START_WITHIN_S = 10.0


class Connection:
    """One relayed connection: a socket to the client and one to the hub, and a pump in each direction."""

    def __init__(self, network: Network, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._network = network
        self._client_reader, self.client = client
        self.hub: asyncio.StreamWriter | None = None
        self.hub_closed = False
        self.forgotten = False
        self.withheld = 0
        """Pieces of data that came from the hub while the network was stalled."""
        self._last_byte = asyncio.get_running_loop().time()

    async def run(self, host: str, port: int) -> None:
        """Relay until both directions have ended."""
        try:
            await self._relay(host, port)
        finally:
            self.close()
            for writer in (self.client, self.hub):
                if writer is not None:
                    with contextlib.suppress(OSError):  # how it was lost does not matter any more
                        await writer.wait_closed()

    async def _relay(self, host: str, port: int) -> None:
        await self._network.passing.wait()
        try:
            hub_reader, self.hub = await asyncio.open_connection(host, port)
        except OSError:
            self._reset(self.client)  # nobody listens there: the client is told so, as well as one can who has accepted it already
            return
        async with asyncio.TaskGroup() as tasks:
            pumps = [
                tasks.create_task(self._pump(self._client_reader, self.hub, from_hub=False)),
                tasks.create_task(self._pump(hub_reader, self.client, from_hub=True)),
            ]
            if self._network.idle_s is not None:
                watch = tasks.create_task(self._cut_when_idle(self._network.idle_s))
                await asyncio.wait(pumps)
                watch.cancel()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, from_hub: bool) -> None:
        # a connection that either end, or the test, has reset is no fault of the relay's
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(CHUNK_BYTES):
                self.withheld += from_hub and not self._network.passing.is_set()
                await self._passes()
                if self._network.delay_s:
                    await asyncio.sleep(self._network.delay_s)
                if not self.forgotten:
                    self._last_byte = asyncio.get_running_loop().time()
                    target.write(chunk)
                    await target.drain()
        self.hub_closed |= from_hub
        await self._passes()
        if not self.forgotten and not target.is_closing():
            with contextlib.suppress(OSError):  # the other end is gone already
                target.write_eof()

    async def _passes(self) -> None:
        """Wait until the network passes bytes; on a forgotten connection they go nowhere, at once."""
        if not self.forgotten:
            await self._network.passing.wait()

    async def _cut_when_idle(self, idle_s: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := self._last_byte + idle_s - loop.time()) > 0:
            await asyncio.sleep(left)
        self._network.cuts += 1
        self.close()

    def reset(self) -> None:
        """End both sockets with RST."""
        self._reset(self.client)
        if self.hub is not None:
            self._reset(self.hub)

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # closed already
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def close(self) -> None:
        """End both sockets with FIN."""
        self.client.close()
        if self.hub is not None:
            self.hub.close()


class Network:
    """A relay to one port of this machine. Use it as a context manager; clients go to :attr:`url` instead of the hub's.

    Faults: :meth:`stall` and :meth:`resume`, :meth:`forget`, :meth:`reset`; ``idle_s`` cuts what is idle for so long, ``delay_s`` holds
    each piece of data back for so long.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", idle_s: float | None = None, delay_s: float = 0.0) -> None:
        self._target = (host, port)
        self.idle_s = idle_s
        self.delay_s = delay_s
        self.cuts = 0
        """Connections that were cut because they were idle."""
        self.passing: asyncio.Event = asyncio.Event()
        self.port = 0
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """The base URL of the hub behind this network."""
        return f"http://localhost:{self.port}"

    def __enter__(self) -> Network:
        self._thread.start()
        self._call(self._start)
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._call(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_WITHIN_S)
        self._loop.close()

    async def _start(self) -> None:
        self.passing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        """Reset everything until the last task has ended by itself: one that is cancelled halfway leaves an open socket behind.

        The server is closed last: asyncio drops, open, what it accepted in the tick of the close (``Server._attach`` of Python 3.11).
        """
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        self.passing.set()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in self._connections:  # what was accepted before comes in until now
                connection.reset()
            await asyncio.wait(tasks, timeout=0.02)
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, (reader, writer))
        self._connections.add(connection)
        try:
            await connection.run(*self._target)
        finally:
            self._connections.discard(connection)

    def _call(self, run: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_WITHIN_S)

    def _now(self, run: Callable[[], None]) -> None:
        async def call() -> None:
            run()

        self._call(call)

    def stall(self) -> None:
        """Pass nothing any more, neither bytes nor ends, in no direction; what is sent is taken, as by the buffers of a system asleep."""
        self._now(self.passing.clear)

    def resume(self) -> None:
        """Pass what waits, and everything from now on."""
        self._now(self.passing.set)

    def swallowed(self, *, at_least: int) -> None:
        """While it is stalled: wait until so many pieces of data have come from the hub that pass no further.

        Raises:
            TimeoutError: fewer came.
        """
        end = time.monotonic() + START_WITHIN_S
        while sum(connection.withheld for connection in self._call(self._present)) < at_least:
            if time.monotonic() > end:
                raise TimeoutError(f"expected {at_least} pieces of data from the hub")
            time.sleep(0.01)

    async def _present(self) -> list[Connection]:
        return list(self._connections)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Stall for a while."""
        self.stall()
        try:
            yield
        finally:
            self.resume()

    def forget(self) -> list[Connection]:
        """Lose the present connections without a word to either end, as a router does that was switched off: both stay half open.
        New ones pass, and so do those that have not reached the hub yet. Returns the lost ones.
        """
        lost = []

        def forget() -> None:
            for connection in self._connections:
                if connection.hub is not None:
                    connection.forgotten = True
                    lost.append(connection)

        self._now(forget)
        return lost

    def reset(self) -> None:
        """Reset the present connections at both ends."""

        def reset() -> None:
            for connection in self._connections:
                connection.reset()

        self._now(reset)
