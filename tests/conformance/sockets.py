"""The client that speaks over a WebSocket: frames in the order of the wire, and whose reply is whose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conformance.clients import Client, Message, Pending, decode, is_reply
from tests.conformance.rules import WEBSOCKET
from tests.conformance.wire import PATIENCE_S, Endpoint


class _Awaited:
    """Messages that were sent in one frame, and what has come since."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.open = [(message.get("channel"), message.get("id")) for message in messages]
        self.came: list[Message] = []
        self.future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()

    def take(self, message: Message) -> bool:
        """Whether ``message`` is a reply to one of the messages."""
        key = (message.get("channel"), message.get("id"))
        if not is_reply(message) or key not in self.open:
            return False
        self.open.remove(key)
        self.came.append(message)
        if not self.open and not self.future.done():
            self.future.set_result(list(self.came))
        return True


class SocketClient(Client):
    """Bayeux over a WebSocket (docs/protocol/bayeux.md#websocket)."""

    transport = WEBSOCKET

    def __init__(self, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(endpoint, **options)
        self.frames: list[list[Message]] = []
        """Every frame that came."""
        self.strays: list[Message] = []
        """Replies that nobody asked for, such as a /meta/disconnect of the server's own."""
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._awaited: list[_Awaited] = []
        self._news = asyncio.Condition()

    @property
    def connection(self) -> ClientConnection:
        """The open WebSocket."""
        assert self._connection is not None, "the WebSocket is not open"
        return self._connection

    async def open(self) -> None:
        """Open the WebSocket, if it is not. Every other method does so by itself."""
        if self._connection is None:
            url = self.endpoint.websocket_url + self.suffix
            self._connection = await connect(
                url, additional_headers=self.headers, compression=None, max_size=None, max_queue=None, ping_interval=None, proxy=None
            )
            self._reader = asyncio.create_task(self._read(self._connection))

    async def send(self, *messages: Message) -> Pending:
        await self.open()
        awaited = _Awaited(messages)
        self._awaited.append(awaited)
        await self.connection.send(json.dumps(messages))
        return self._sent(messages, self._answer(awaited))

    async def send_text(self, text: str) -> list[Message]:
        await self.open()
        messages = json.loads(text)
        awaited = _Awaited([messages] if isinstance(messages, dict) else messages)
        self._awaited.append(awaited)
        await self.connection.send(text)
        return await self._sent([], self._answer(awaited)).result()

    async def _answer(self, awaited: _Awaited) -> list[Message]:
        try:
            return await awaited.future
        finally:
            if awaited in self._awaited:
                self._awaited.remove(awaited)

    async def settle(self) -> None:
        """Frames are read in their order, and the first that asks for nothing is the ping's (RFC 6455 section 5.5.2)."""
        await asyncio.wait_for(await self.connection.ping(), PATIENCE_S)

    async def closed(self) -> tuple[int, str]:
        """Wait for the server to close; returns code and reason.

        Raises:
            TimeoutError: it did not.
        """
        await asyncio.wait_for(self.connection.wait_closed(), PATIENCE_S)
        assert self.connection.close_code is not None
        return self.connection.close_code, self.connection.close_reason or ""

    async def close(self) -> None:
        await super().close()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def _read(self, connection: ClientConnection) -> None:
        fault: BaseException = AssertionError("the WebSocket was closed")
        try:
            while True:
                frame = decode(await connection.recv())
                self.frames.append(frame)
                for message in frame:
                    self._take(message)
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed as closed:
            fault = AssertionError(f"the WebSocket was closed: {closed}")
        except AssertionError as wrong:
            fault = wrong
        for awaited in self._awaited:
            if not awaited.future.done():
                awaited.future.set_exception(fault)
        async with self._news:
            self._news.notify_all()

    def _take(self, message: Message) -> None:
        if is_reply(message):
            if not any(awaited.take(message) for awaited in self._awaited):
                self.strays.append(message)
            return
        self._arrived([message])
        for awaited in self._awaited:
            awaited.came.append(message)

    async def _more_events(self) -> None:
        if self.delivers_on_connect:
            await super()._more_events()
            return
        assert self._reader is not None, "the WebSocket is not open"
        assert not self._reader.done(), "the WebSocket was closed"
        async with self._news:
            await self._news.wait()
