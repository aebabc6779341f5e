"""The connection on which Redis pushes published messages. It uses no client library: the bus must know which messages came before an
answer, and when the connection breaks, and client libraries hide both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
import structlog

from hub.redis.endpoint import Address
from hub.redis.server import ServerInfo

_log = structlog.get_logger(__name__)

_MORE: Final = object()
"""What the reader returns when it needs more bytes."""

Answered = Callable[[Any], None]


class ConnectionLostError(Exception):
    """The connection has ended, or could not be made."""


class SubscriberConnection(asyncio.Protocol):
    """One connection (RESP3). Redis answers in the order of the commands, and sends published messages between the answers."""

    __slots__ = ("_answers", "_on_lost", "_on_message", "_reader", "_transport", "lost", "server")

    def __init__(self, on_message: Callable[[bytes, bytes], None], on_lost: Callable[[SubscriberConnection], None]) -> None:
        """``on_message`` gets channel and payload of each published message; ``on_lost`` is called once, when the connection ends."""
        self._on_message = on_message
        self._on_lost = on_lost
        self._answers: deque[Answered] = deque()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self.server = ServerInfo("")
        self.lost: str | None = None
        """Why the connection ended; None while it is open."""

    # -- asyncio ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is not a subclass of it

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _MORE and self.lost is None:
                if type(reply) is not hiredis.PushNotification:
                    self._answer(reply)
                elif reply[0] == b"message" or reply[0] == b"smessage":
                    self._on_message(reply[1], reply[2])
                elif reply[0] == b"sunsubscribe" and self._transport is not None:
                    self.abort("a slot of the cluster has moved")
        except hiredis.ProtocolError as error:
            self.abort(f"expected the protocol of Redis: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._end(str(exc) if exc else "Redis closed the connection")

    # -- for the subscriptions --------------------------------------------------------------------------------------

    def send(self, commands: Sequence[tuple[bytes | str | int, ...]], answered: Answered | None = None, *, answers: int = 1) -> None:
        """Send commands in one write. ``answered`` gets the last of ``answers`` answers; None if the connection ends before it comes.
        Confirmations of subscriptions do not count as answers.

        If Redis answers with an error, the connection is closed, because it is unknown which subscriptions are in force.
        """
        if self.lost is not None or self._transport is None:
            if answered is not None:
                answered(None)
            return
        for _ in range(answers - 1):
            self._answers.append(_ignore)
        if answers:
            self._answers.append(answered or _ignore)
        self._transport.write(b"".join(hiredis.pack_command(command) for command in commands))  # type: ignore[arg-type]

    async def ask(self, *commands: tuple[bytes | str | int, ...]) -> Any:
        """Send commands that each have an answer, and return the last answer.

        Raises:
            ConnectionLostError: the connection ended before the answer came.
        """
        if self.lost is not None:
            raise ConnectionLostError(self.lost)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(reply: Any) -> None:
            if not future.done():
                if reply is None and self.lost is not None:
                    future.set_exception(ConnectionLostError(self.lost))
                else:
                    future.set_result(reply)

        self.send(commands, answered, answers=len(commands))
        return await future

    def abort(self, reason: str) -> None:
        """Close the connection at once."""
        transport = self._transport
        self._end(reason)
        if transport is not None:
            transport.abort()

    def _answer(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self.abort(f"Redis refused a command: {reply}")
            return
        if self._answers:
            self._answers.popleft()(reply)

    def _end(self, reason: str) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        self._transport = None
        answers, self._answers = self._answers, deque()
        for answered in answers:
            answered(None)
        self._on_lost(self)


def _ignore(_: Any) -> None:
    pass


async def connect(
    address: Address,
    on_message: Callable[[bytes, bytes], None],
    on_lost: Callable[[SubscriberConnection], None],
    timeout_s: float,
) -> SubscriberConnection:
    """Connect to a Redis master: authenticate, name the connection, and read what server it is.

    Raises:
        ConnectionLostError: the server does not answer, or is not a master.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> SubscriberConnection:
        return SubscriberConnection(on_message, on_lost)

    connection: SubscriberConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            if address.path:
                _, connection = await loop.create_unix_connection(protocol, address.path)
            else:
                _, connection = await loop.create_connection(
                    protocol, address.host, address.port, ssl=address.tls, server_hostname=address.host if address.tls else None
                )
            credentials = (b"AUTH", address.username or "default", address.password) if address.password else ()
            text = await connection.ask((b"HELLO", 3, *credentials), (b"CLIENT", b"SETNAME", b"hub-subscriber"), (b"INFO",))
            connection.server = ServerInfo.of(text)
    except (TimeoutError, OSError) as error:
        if connection is not None:
            connection.abort("no answer")
        raise ConnectionLostError(f"{address}: {error or 'no answer'}") from error
    except BaseException:
        if connection is not None:
            connection.abort("given up")
        raise
    if connection.server.role != "master":
        connection.abort(f"it is a {connection.server.role}")
        raise ConnectionLostError(f"{address}: expected a master, got a {connection.server.role}")
    return connection
