"""Requests that were sent over a transport, and the replies that they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from hub.client.conversation import META_CONNECT, Outgoing, Reply, encode
from hub.client.errors import BayeuxError, ConnectionLostError, ProtocolError, RequestTooLargeError
from hub.client.transports import Transport


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One message that waits for its reply."""

    reply: asyncio.Future[Reply]
    transport: Transport
    channel: str
    request_bytes: int

    def fail(self, error: BayeuxError) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class Requests:
    """The messages that were sent and are not answered yet, by their ids.

    Args:
        url: The server's address, for error texts.
        max_bytes: The largest request that may be sent.
    """

    __slots__ = ("_max_bytes", "_url", "_waiting")

    def __init__(self, url: URL, max_bytes: int) -> None:
        self._url = url
        self._max_bytes = max_bytes
        self._waiting: dict[str, _Waiting] = {}

    async def ask(self, transport: Transport, messages: list[Outgoing], within_s: float) -> list[Reply]:
        """Send messages, and wait for the reply to each.

        Raises:
            NotSentError: the transport had ended before the request was sent.
            ConnectionLostError: the transport ended, or no answer came in time.
            RequestTooLargeError: the request is larger than ``max_bytes``, or than the server accepts.
            ProtocolError: the response does not answer the request.
            BayeuxError: see :meth:`fail` and :meth:`fail_connect`.
        """
        loop = asyncio.get_running_loop()
        body = encode(messages)
        if len(body) > self._max_bytes:  # the server would close a WebSocket, and all requests under way would fail
            raise RequestTooLargeError(f"a request of {len(body):,} bytes is larger than max_request_bytes, {self._max_bytes:,}")
        mine = {message["id"]: _Waiting(loop.create_future(), transport, message["channel"], len(body)) for message in messages}
        self._waiting.update(mine)
        try:
            async with asyncio.timeout(within_s):
                if transport.answers_in_place:
                    await self._exchange(transport, body, mine)
                else:
                    await transport.exchange(body)
                return [await waiting.reply for waiting in mine.values()]
        except TimeoutError:
            raise ConnectionLostError(f"{self._url}: no answer to {messages[0]['channel']} in time") from None
        finally:
            for identifier, waiting in mine.items():
                self._waiting.pop(identifier, None)
                if waiting.reply.done() and not waiting.reply.cancelled():
                    waiting.reply.exception()  # mark the exception as seen: the caller gets the first one

    async def _exchange(self, transport: Transport, body: bytes, mine: Mapping[str, _Waiting]) -> None:
        """Send the body, and wait for the response, or until :meth:`fail` or :meth:`fail_connect` ends the wait: a held response may take
        a minute.
        """
        first = next(iter(mine.values()))
        sending = asyncio.ensure_future(transport.exchange(body))
        try:
            either: list[asyncio.Future[Any]] = [sending, first.reply]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if first.reply.done() and first.reply.exception() is not None:
                return
            await sending
        finally:
            if not sending.done():
                sending.cancel()
            await asyncio.wait({sending})
            if not sending.cancelled():
                sending.exception()  # mark the exception as seen: it was raised above, or is not needed
        if not all(waiting.reply.done() for waiting in mine.values()):
            raise ProtocolError(f"{self._url}: the response does not answer {first.channel}")

    def answer(self, reply: Reply) -> bool:
        """Hand a reply to its caller. False if no caller waits for it: the wait ended, or the server sent it without a request."""
        waiting = self._waiting.get(reply.id)
        if waiting is None:
            return False
        if not waiting.reply.done():
            waiting.reply.set_result(reply)
        return True

    def awaited(self, reply: Reply) -> bool:
        """Whether a caller waits for this reply."""
        return reply.id in self._waiting

    def fail(self, error: BayeuxError) -> None:
        """Fail every message that waits for its reply."""
        for waiting in self._waiting.values():
            waiting.fail(error)

    def fail_connect(self, error: BayeuxError) -> None:
        """Fail the held connect, so that its caller stops waiting."""
        for waiting in self._waiting.values():
            if waiting.channel == META_CONNECT:
                waiting.fail(error)

    def lose(self, transport: Transport, error: BayeuxError) -> None:
        """A transport has ended: fail the messages that were sent over it. A transport that answers in place needs no call: its
        ``exchange`` raises. After a RequestTooLargeError only the largest requests fail with it, the others with ConnectionLostError.
        """
        if transport.answers_in_place:
            return
        lost = [waiting for waiting in self._waiting.values() if waiting.transport is transport]
        if isinstance(error, RequestTooLargeError):
            asked = [waiting for waiting in lost if waiting.channel != META_CONNECT]
            most = max((waiting.request_bytes for waiting in asked), default=0)
            for waiting in asked:
                if waiting.request_bytes == most:
                    waiting.fail(error)
            error = ConnectionLostError(str(error))
        for waiting in lost:
            waiting.fail(error)
