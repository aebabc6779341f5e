"""How an exchange is answered over HTTP, at once or when its held connect has ended; the two polling transports differ in the body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from starlette.types import Receive, Send

from hub.bayeux.exchange import Exchange
from hub.bayeux.held_connect import HeldConnect
from hub.transports.plain_http import envelope, respond

Headers = list[tuple[bytes, bytes]]


class Answering:
    """The answer of one request. ``render`` makes its body of encoded messages."""

    __slots__ = ("_duplicate_status", "_headers", "_render", "_send")

    def __init__(self, send: Send, headers: Headers, render: Callable[[Iterable[bytes]], bytes], duplicate_status: int) -> None:
        self._send = send
        self._headers = headers
        self._render = render
        self._duplicate_status = duplicate_status

    async def answer(self, exchange: Exchange, receive: Receive) -> None:
        """Send the exchange's parts, or wait for the end of its held connect; the exchange is told what became of it."""
        if exchange.held is not None:
            await self._hold(exchange.held, receive)
            return
        delivered = False
        try:
            delivered = await respond(self._send, 200, self._headers, self._render(exchange.parts()))
        finally:
            if delivered:
                exchange.written()
            else:
                exchange.lost()

    async def _hold(self, held: HeldConnect, receive: Receive) -> None:
        """Wait for the end of a held connect, or for the client to go.

        Nothing runs for a request that waits but the task that the server gave it, and that one listens for the client: ``receive`` says
        ``http.disconnect`` when the client goes, and also when the response is complete (ASGI HTTP specification, "Disconnect"). So the
        response is sent by a task that lives for that long.
        """
        responding: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        held.on_done(lambda _: responding.append(loop.create_task(self._respond(held))))
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            if not responding:
                held.session.abandon(held)
        for task in responding:
            await task

    async def _respond(self, held: HeldConnect) -> None:
        if held.superseded:
            status = self._duplicate_status
            body = envelope(status, "a newer /meta/connect of this session took the place of this one")
            await respond(self._send, status, self._headers, body)
            return
        delivered = False
        try:
            delivered = await respond(self._send, 200, self._headers, self._render(held.parts()))
        finally:
            if delivered:
                held.written()
            else:
                held.lost()
