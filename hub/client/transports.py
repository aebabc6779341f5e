"""Sends bytes to a Bayeux server and receives its answers, over a WebSocket or HTTP requests (aiohttp). Knows nothing of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final, Protocol

import aiohttp
from yarl import URL

from hub.client.address import PROXY_CREDENTIALS
from hub.client.errors import BayeuxError, ConnectionLostError, HandshakeDeniedError, NotSentError, ProtocolError, RequestTooLargeError
from hub.client.unreachable import why

WEBSOCKET: Final = "websocket"
LONG_POLLING: Final = "long-polling"

Headers = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the headers of a request that is sent now."""
Receive = Callable[[bytes | str], None]
"""Takes a frame or a response; raises ProtocolError if it is not Bayeux."""

_BAD_CREDENTIALS: Final = frozenset({401, 403})
_NOT_HERE: Final = frozenset({404, 405, 410})
_NO_GET: Final = 405
_PROXY_CREDENTIALS: Final = 407
_TOO_LARGE: Final = 413
_NORMAL: Final = 1000
_MESSAGE_TOO_BIG: Final = 1009
_CLOSE_WITHIN_S: Final = 1.0
_CLOSES: Final = {
    1008: "the client sent more than it may",
    _MESSAGE_TOO_BIG: "a message was too large",
    1011: "a fault of the server's",
    1012: "the server restarts",
    1013: "the server cannot look credentials up now",
    4400: "the server could not read a message",
    4401: "the credential was removed, or has run out",
    4408: "the client did not read its messages",
}


class UpgradeRefusedError(ConnectionLostError):
    """The server or a proxy answered the upgrade request without opening a WebSocket. Long-polling may still work."""


class Transport(Protocol):
    """A connection to a server."""

    name: ClassVar[str]
    answers_in_place: ClassVar[bool]
    """Whether :meth:`exchange` returns after the whole answer has come. If not, the answer comes later, on its own."""

    async def open(self) -> None:
        """Connect, if the transport has a lasting connection.

        Raises:
            ConnectionLostError: the server cannot be reached.
            HandshakeDeniedError: the server answered 401 or 403.
        """

    async def exchange(self, body: bytes) -> None:
        """Send a request.

        Raises:
            NotSentError: there is no connection.
            ConnectionLostError: the server went away, or answered with another HTTP error or with a response that is too large.
            HandshakeDeniedError: the server answered 401 or 403.
            RequestTooLargeError: the server answered 413.
            ProtocolError: the response is not Bayeux.
        """

    async def close(self) -> None:
        """Close the connection. After that nothing is received."""


def _check_status(url: URL, status: int) -> None:
    """Raise for the HTTP statuses that another try does not change."""
    if status in _BAD_CREDENTIALS:
        raise HandshakeDeniedError(f"{url} answered HTTP {status}: give a valid token or API key")
    if status == _PROXY_CREDENTIALS:
        raise HandshakeDeniedError(f"{url}: {PROXY_CREDENTIALS}")
    if status in _NOT_HERE:
        raise ProtocolError(f"{url} answered HTTP {status}: is this the address of a Bayeux server?")


class LongPolling:
    """Each request is a POST, and its response has the replies.

    Args:
        max_bytes: The largest response that is accepted.
    """

    name: ClassVar[str] = LONG_POLLING
    answers_in_place: ClassVar[bool] = True

    __slots__ = ("_headers", "_http", "_max_bytes", "_receive", "_url")

    def __init__(self, http: aiohttp.ClientSession, url: URL, headers: Headers, receive: Receive, *, max_bytes: int) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._receive = receive
        self._max_bytes = max_bytes

    async def open(self) -> None:
        """Do nothing: aiohttp opens connections when they are needed, and keeps them."""

    async def exchange(self, body: bytes) -> None:
        """See :meth:`Transport.exchange`."""
        headers = {"Content-Type": "application/json"} | dict(await self._headers())
        try:
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                answer = await self._read(response)
        except aiohttp.ClientHttpProxyError as error:
            _check_status(self._url, error.status)
            raise NotSentError(f"{self._url}: the HTTP proxy answered {error.status}") from error
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"{self._url}: {why(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"{self._url}: {why(error)}") from error
        _check_status(self._url, response.status)
        if response.status == _TOO_LARGE:
            raise RequestTooLargeError(f"{self._url} answered HTTP 413: a request of {len(body):,} bytes is too large for it")
        if response.status != 200:
            where = response.headers.get("Location")
            hint = f" to {where}; give that address" if where else ""
            raise ConnectionLostError(f"{self._url} answered HTTP {response.status}{hint}")
        self._receive(answer)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        answer = bytearray()
        async for chunk in response.content.iter_any():  # decompressed pieces: Content-Length does not tell their size
            answer += chunk
            if len(answer) > self._max_bytes:
                response.close()
                raise ConnectionLostError(f"{self._url}: the response has more than max_message_bytes, {self._max_bytes:,}")
        return bytes(answer)

    async def close(self) -> None:
        """Do nothing: the HTTP connections belong to the client's :class:`aiohttp.ClientSession`."""


class WebSocket:
    """Each request is a text frame. Replies come later, in frames of their own.

    Args:
        lost: Called once, with the reason, when the connection ended without :meth:`close`.
        max_bytes: The largest frame that is accepted.
    """

    name: ClassVar[str] = WEBSOCKET
    answers_in_place: ClassVar[bool] = False

    __slots__ = ("_headers", "_http", "_http_url", "_lost", "_max_bytes", "_reader", "_receive", "_socket", "_url")

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: URL,
        headers: Headers,
        receive: Receive,
        *,
        lost: Callable[[BayeuxError], None],
        max_bytes: int,
    ) -> None:
        self._http = http
        self._http_url = url
        """The URL of the upgrade request, with ``http`` or ``https``: an HTTP proxy does not know ``ws`` and ``wss``."""
        self._url = url.with_scheme("wss" if url.scheme == "https" else "ws")
        self._headers = headers
        self._receive = receive
        self._lost = lost
        self._max_bytes = max_bytes
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See :meth:`Transport.open`.

        Raises:
            UpgradeRefusedError: the server or a proxy answered without opening a WebSocket.
        """
        try:
            self._socket = await self._http.ws_connect(
                self._http_url,
                headers=dict(await self._headers()),
                max_msg_size=self._max_bytes,
                autoping=True,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_WITHIN_S),
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status != _NO_GET:  # 405: a Bayeux server's answer to a GET whose Upgrade header a proxy removed
                _check_status(self._url, error.status)
            raise UpgradeRefusedError(
                f"{self._url} answered HTTP {error.status}, and opened no WebSocket: something on the way may not let WebSockets through, "
                f"then {LONG_POLLING} is the transport that passes"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"{self._url}: {why(error)}") from error
        self._reader = asyncio.create_task(self._read(self._socket))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        reason: BayeuxError
        try:
            async for frame in socket:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                self._receive(frame.data)
            code = socket.close_code
            error = socket.exception()
            text = why(error) if error is not None else _CLOSES.get(code or 0, "the connection ended")
            kind = RequestTooLargeError if code == _MESSAGE_TOO_BIG and error is None else ConnectionLostError  # an error is from this side
            reason = kind(f"{self._url}: {text}" + (f" (close code {code})" if code else ""))
        except ProtocolError as not_bayeux:
            reason = not_bayeux
        except Exception as error:  # of the function that receives messages: the client must not wait for frames that are not read
            reason = ProtocolError(f"the client failed: {error!r}")
            reason.__cause__ = error
        await socket.close()
        self._lost(reason)

    async def exchange(self, body: bytes) -> None:
        """See :meth:`Transport.exchange`."""
        if self._socket is None or self._socket.closed:
            raise NotSentError(f"{self._url}: the connection has ended")
        try:
            await self._socket.send_str(body.decode())
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"{self._url}: {why(error)}") from error

    async def close(self) -> None:
        """See :meth:`Transport.close`."""
        try:
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.wait([self._reader])
        finally:  # also if this wait is cancelled: the socket must not stay open
            if self._socket is not None:
                await self._socket.close(code=_NORMAL)
