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

FENCE: Final = b"hub-fence"
"""What the server echoes behind each group of commands on a connection to a master of a Cluster."""

_ELSEWHERE: Final = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
"""Errors of a master of a Cluster that has not got a slot."""


class ConnectionLostError(Exception):
    """The connection has ended, or could not be made."""


class _Group:
    """Commands that were sent together to a master of a Cluster, and what came of them. Any of them may be refused because its slot is
    elsewhere, and a subscription that is not refused has no answer: so the group ends with a fence, which shows that nothing more comes.
    """

    __slots__ = ("answered", "answers", "done", "error")

    def __init__(self, answered: Answered, answers: int) -> None:
        self.answered = answered
        self.answers = answers
        self.error: hiredis.ReplyError | None = None
        self.done = False


class SubscriberConnection(asyncio.Protocol):
    """One connection (RESP3). Redis answers in the order of the commands, and sends published messages between the answers."""

    __slots__ = ("_answers", "_groups", "_on_lost", "_on_message", "_on_unsubscribed", "_reader", "_transport", "lost", "server", "sharded")

    def __init__(
        self,
        on_message: Callable[[bytes, bytes], None],
        on_lost: Callable[[SubscriberConnection], None],
        on_unsubscribed: Callable[[bytes], None] | None = None,
    ) -> None:
        """``on_message`` gets channel and payload of each published message; ``on_lost`` is called once, when the connection ends.
        ``on_unsubscribed``, which makes it a connection to a master of a Cluster, gets each channel that the server ended.
        """
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_unsubscribed = on_unsubscribed
        self.sharded = False
        """Whether commands are sent in groups with a fence: set once the connection is made."""
        self._answers: deque[Answered] = deque()
        self._groups: deque[_Group] = deque()
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
                elif reply[0] == b"sunsubscribe" and self._on_unsubscribed is not None:
                    self._on_unsubscribed(reply[1])
        except hiredis.ProtocolError as error:
            self.abort(f"expected the protocol of Redis: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._end(str(exc) if exc else "Redis closed the connection")

    # -- for the subscriptions --------------------------------------------------------------------------------------

    def send(self, commands: Sequence[tuple[bytes | str | int, ...]], answered: Answered | None = None, *, answers: int = 1) -> None:
        """Send commands in one write. ``answered`` gets the last of ``answers`` answers; None if the connection ends before it comes.
        Confirmations of subscriptions do not count as answers.

        If Redis answers with an error, the connection is closed, because it is unknown which subscriptions are in force. On a connection to
        a master of a Cluster, ``answered`` gets an error that says that a slot is elsewhere (:class:`hiredis.ReplyError`); with no
        ``answers`` it gets that or None when all is done.
        """
        if self.lost is not None or self._transport is None:
            if answered is not None:
                answered(None)
            return
        if self.sharded:
            self._groups.append(_Group(answered or _ignore, answers))
            commands = [*commands, (b"ECHO", FENCE)]
            self._transport.write(b"".join(hiredis.pack_command(command) for command in commands))  # type: ignore[arg-type]
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
                elif isinstance(reply, hiredis.ReplyError):
                    future.set_exception(ConnectionLostError(f"Redis refused a command: {reply}"))
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
        if self._groups:
            self._answer_group(self._groups[0], reply)
            return
        if isinstance(reply, hiredis.ReplyError):
            self.abort(f"Redis refused a command: {reply}")
            return
        if self._answers:
            self._answers.popleft()(reply)

    def _answer_group(self, group: _Group, reply: Any) -> None:
        if reply == FENCE:
            self._groups.popleft()
            if not group.done:
                group.answered(group.error)
        elif isinstance(reply, hiredis.ReplyError):
            if not str(reply).startswith(_ELSEWHERE):
                self.abort(f"Redis refused a command: {reply}")
            group.error = group.error or reply
        else:
            group.answers -= 1
            if group.answers == 0 and group.error is None:  # now, since messages may come before the fence
                group.done = True
                group.answered(reply)

    def _end(self, reason: str) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        self._transport = None
        answers = [*self._answers, *(group.answered for group in self._groups if not group.done)]
        self._answers.clear()
        self._groups.clear()
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
    on_unsubscribed: Callable[[bytes], None] | None = None,
) -> SubscriberConnection:
    """Connect to a Redis master: authenticate, name the connection, and read what server it is. With ``on_unsubscribed`` it is a master of
    a Cluster.

    Raises:
        ConnectionLostError: the server does not answer, or is not a master.
    """
    loop = asyncio.get_running_loop()

    def protocol() -> SubscriberConnection:
        return SubscriberConnection(on_message, on_lost, on_unsubscribed)

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
            connection.sharded = on_unsubscribed is not None
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
