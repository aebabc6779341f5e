"""Sends a batch of Bayeux responses as one HTTP response: at once, or when its held connect has ended.

Long-polling and callback-polling differ only in how the body is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from starlette.types import Receive, Send

from hub.bayeux.response_batch import ResponseBatch
from hub.core.limits import Limits
from hub.transports.plain_http import envelope, respond
from hub.transports.relaying import RelayedAnswer
from hub.transports.single_write import single_write

Headers = Sequence[tuple[bytes, bytes]]


class HttpResponse:
    """The answer to one request. ``render`` makes the body from encoded messages."""

    __slots__ = ("_headers", "_limits", "_render", "_send")

    def __init__(self, send: Send, headers: Headers, render: Callable[[Iterable[bytes]], bytes], limits: Limits) -> None:
        self._send = send
        self._headers = headers
        self._render = render
        self._limits = limits

    async def answer(self, batch: ResponseBatch, receive: Receive) -> None:
        """Send the batch's parts, after its held connect, if any, has ended. Then report to the batch whether they were written or lost."""
        if batch.held is not None:
            await self._hold(batch, receive)
            return
        delivered = False
        try:
            delivered = await self.respond(200, self._render(batch.parts()))
        finally:
            if delivered:
                batch.written()
            else:
                batch.lost()

    async def _hold(self, batch: ResponseBatch, receive: Receive) -> None:
        """Wait for the end of a held connect, or for the client's disconnect.

        A held request uses only the task that the server made for it. That task waits in ``receive``, which returns ``http.disconnect``
        when the client has gone and also when the response is complete (ASGI HTTP specification, "Disconnect"). So a callback at the end
        of the connect writes the response; if one write is not enough, the callback starts a task for the rest.
        """
        ending = _Ending(self, batch)
        batch.on_ready(ending.end)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            if not ending.ended:
                batch.abandon()
        if ending.task is not None:
            await ending.task

    def response(self, batch: ResponseBatch) -> tuple[int, bytes]:
        """The HTTP status and the body of the response to a connect that has ended."""
        if batch.superseded:
            status = self._limits.duplicate_connect_status
            return status, envelope(status, "a newer /meta/connect of this session took the place of this one")
        return 200, self._render(batch.parts())

    def single_write(self, status: int, body: bytes) -> bool | None:
        """See :func:`hub.transports.single_write.single_write`."""
        return single_write(self._send, status, self._headers, body)

    def pass_on(self, status: int, body: bytes, told: Callable[[bool], object]) -> bool:
        """See :meth:`hub.transports.relaying.RelayedAnswer.respond`. False for a request that no node has relayed."""
        exchange = getattr(self._send, "__self__", None)
        return isinstance(exchange, RelayedAnswer) and exchange.respond(status, self._headers, body, told)

    async def respond(self, status: int, body: bytes) -> bool:
        """See :func:`hub.transports.plain_http.respond`."""
        return await respond(self._send, status, self._headers, body, timeout_s=self._limits.response_timeout_ms / 1000)


class _Ending:
    """How a held connect ends: with one write, or with a task."""

    __slots__ = ("_batch", "_loop", "_response", "ended", "task")

    def __init__(self, response: HttpResponse, batch: ResponseBatch) -> None:
        self._response = response
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self.ended = False
        self.task: asyncio.Task[None] | None = None

    def end(self, _: ResponseBatch) -> None:
        """Answer the ended connect in the next tick of the loop: until then a disconnect of the client may become known."""
        self.ended = True
        self._loop.call_soon(self._write)

    def _write(self) -> None:
        delivered: bool | None = False
        try:
            status, body = self._response.response(self._batch)
            delivered = self._response.single_write(status, body)
            if delivered is None and not self._response.pass_on(status, body, self._settle):
                self.task = self._loop.create_task(self._respond(status, body))
        finally:
            if delivered is not None:
                self._settle(delivered)

    async def _respond(self, status: int, body: bytes) -> None:
        delivered = False
        try:
            delivered = await self._response.respond(status, body)
        finally:
            self._settle(delivered)

    def _settle(self, delivered: bool) -> None:
        if self._batch.superseded:
            return
        if delivered:
            self._batch.written()
        else:
            self._batch.lost()
