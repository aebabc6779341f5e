"""The connections that send commands to Redis, by redis-py: TLS, credentials and discovery are its work.

Each call takes a connection for itself, and each connection knows which server it reached: a script is told the run of the very server that
executes it, also while another connection still speaks with the one before.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from hub.redis.endpoint import Address, Endpoint
from hub.redis.scripts import Script
from hub.redis.server import ServerInfo

MAX_CONNECTIONS: Final = 16
"""Calls of one process that are under way at a time; further ones wait."""

_OTHER_SLOT: Final = (AskError, TryAgainError)  # MovedError is an AskError

_LATER: Final = ("NOREPLICAS", "MISCONF", "BUSY ")
"""Errors that say that a later moment is the right one, beside those that redis-py knows."""

Argument: TypeAlias = bytes | str | int
Durability: TypeAlias = Literal["auto", "yes", "no"]
"""Whether what Redis acknowledged survives its end: ``auto`` asks it."""

Answer = TypeVar("Answer")


class RedisUnavailableError(Exception):
    """No answer of a Redis that could do it: what was asked may have been done, or not."""


class RedisRefusedError(Exception):
    """Redis answered with an error; nothing was done."""


class RedisElsewhereError(RedisUnavailableError):
    """The server did nothing, because another server, or a later moment, is the right one."""

    def __init__(self, error: ResponseError) -> None:
        super().__init__(f"Redis refuses for now: {error}")
        self.error = error
        """What it answered; of a Cluster, it may name the server that has the key."""


class Link:
    """A connection, and the server that it reached."""

    __slots__ = ("_asked", "address", "asking", "connection", "server")

    def __init__(self, connection: AbstractConnection, server: ServerInfo, address: Address) -> None:
        self.connection = connection
        self.server = server
        self.address = address
        self.asking = False
        """Whether each command is for a slot of a Cluster that is still coming to this server (``ASKING``)."""
        # answers to ASKING that come before the next answer, each for one command
        self._asked: deque[bool] = deque()

    async def send(self, commands: Sequence[Sequence[Argument]]) -> None:
        """Send commands in one write."""
        packed = []
        for command in commands:
            # between MULTI and EXEC it holds for all
            asks = self.asking and (commands[0][0] != b"MULTI" or command is commands[0])
            if asks:
                packed.append(hiredis.pack_command(("ASKING",)))
            if self.asking:
                self._asked.append(asks)
            packed.append(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # its stub names one item
        await self.connection.send_packed_command(packed, check_health=False)

    async def receive(self) -> Any:
        """The next answer. Raises what redis-py makes of an error."""
        if self._asked and self._asked.popleft():
            await self.connection.read_response(disable_decoding=True)
        return await self.connection.read_response(disable_decoding=True)

    async def ask(self, *command: Argument) -> Any:
        """Send one command and return its answer."""
        await self.send([command])
        return await self.receive()


Work: TypeAlias = Callable[[Link], Awaitable[Answer]]


class Commands(ABC):
    """Commands to the Redis that has some keys. What is asked may be done although no answer came: it is repeated only where that does no
    harm.
    """

    __slots__ = ()

    @abstractmethod
    async def do(self, work: Work[Answer], timeout_s: float | None = None) -> Answer:
        """Do some work on a connection that nobody else uses meanwhile. ``timeout_s``: seconds, where that is less than of all calls.

        Raises:
            RedisUnavailableError, RedisRefusedError: see there.
        """

    async def call(self, *command: Argument) -> Any:
        """Send one command that may be repeated; returns what Redis answers: bytes, numbers, lists of them.

        Raises:
            RedisUnavailableError, RedisRefusedError: see there.
        """
        return await self.do(lambda link: link.ask(*command))

    async def transaction(self, *commands: Sequence[Argument]) -> tuple[ServerInfo, list[Any]]:
        """Send several commands that only read, which Redis runs as one step; returns who answered, and all answers. An error is in its
        place.

        Raises:
            RedisUnavailableError, RedisRefusedError: see there.
        """

        async def work(link: Link) -> tuple[ServerInfo, list[Any]]:
            await link.send([(b"MULTI",), *commands, (b"EXEC",)])
            for _ in range(len(commands) + 1):
                await link.receive()
            return link.server, await link.receive()

        return await self.do(work)

    async def pipeline(self, *commands: Sequence[Argument]) -> list[Any]:
        """Send several commands that may be repeated, in one write; returns all answers.

        Raises:
            RedisUnavailableError: see there.
            RedisRefusedError: one of the answers is an error, the first of which this is; the others were done.
        """

        async def work(link: Link) -> list[Any]:
            await link.send(commands)
            answers: list[Any] = []
            refused: ResponseError | None = None
            for _ in commands:
                try:
                    answers.append(await link.receive())
                except ResponseError as error:
                    refused = refused or error
            if refused is not None:
                raise refused
            return answers

        return await self.do(work)

    async def run(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Callable[[ServerInfo], Sequence[Argument]],
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """Run a script; ``arguments`` makes its ARGV for the server that executes it, again for each time that it may be executed.
        ``timeout_s``, where it is less than that of all calls, is this one's.

        Raises:
            RedisUnavailableError, RedisRefusedError: see there.
        """

        async def work(link: Link) -> Any:
            rest = (len(keys), *keys, *arguments(link.server))
            try:
                return await link.ask(b"EVALSHA", script.sha, *rest)
            except NoScriptError:  # normal after a restart or a failover; EVAL loads it as well
                return await link.ask(b"EVAL", script.text, *rest)

        return await self.do(work, timeout_s)


class ServerCommands(Commands):
    """Commands to one server, wherever its endpoint says that it is. It is a :class:`hub.redis.servers.Servers` of one."""

    __slots__ = ("_closed", "_durability", "_idle", "_permits", "_timeout_s", "connects", "endpoint", "on_changed", "server")

    def __init__(
        self, endpoint: Endpoint, *, durability: Durability = "auto", timeout_s: float = 2.0, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        """``timeout_s``: seconds after which a call that waits for a connection or an answer fails. ``durability`` counts only for an
        endpoint that always names the same server.
        """
        self.endpoint = endpoint
        self._durability: Durability = durability if endpoint.fixed else "no"
        self._timeout_s = timeout_s
        self._idle: list[Link] = []
        self._permits = asyncio.Semaphore(max_connections)
        self._closed = False
        self.on_changed: list[Callable[[], object]] = []
        """Never called: all keys stay here."""
        self.connects = 0
        """Connections made since the start."""
        self.server: ServerInfo | None = None
        """What the newest connection reached."""

    def of(self, key: bytes) -> Commands:
        """See :meth:`hub.redis.servers.Servers.of`."""
        return self

    def home(self, key: bytes) -> ServerCommands:
        """See :meth:`hub.redis.servers.Servers.home`."""
        return self

    def all(self) -> Sequence[ServerCommands]:
        """See :meth:`hub.redis.servers.Servers.all`."""
        return (self,)

    def is_stray(self, key: bytes, server: ServerCommands) -> bool:
        """See :meth:`hub.redis.servers.Servers.is_stray`."""
        return False

    async def refresh(self) -> None:
        """See :meth:`hub.redis.servers.Servers.refresh`."""

    async def look(self) -> ServerInfo:
        """What the server says of itself now.

        Raises:
            RedisUnavailableError, RedisRefusedError: see there.
        """
        self.server = await self.do(self._look)
        return self.server

    async def _look(self, link: Link) -> ServerInfo:
        await link.send([(b"INFO",), (b"CONFIG", b"GET", b"appendfsync")])
        text = await link.receive()
        try:
            appendfsync = (await link.receive())[1].decode()
        except (ResponseError, IndexError):  # who rents a Redis may not ask
            appendfsync = ""
        server = ServerInfo.of(text, appendfsync)
        return server if self._durability == "auto" else server._replace(durable=self._durability == "yes")

    async def close(self) -> None:
        """Close the connections; no call is made after this."""
        self._closed = True
        await self.forget()
        await asyncio.sleep(0)  # until their sockets are closed

    async def forget(self) -> None:
        """Close the connections that nobody uses: the endpoint may name another server now."""
        idle, self._idle = self._idle, []
        for link in idle:
            await link.connection.disconnect(nowait=True)

    async def do(self, work: Work[Answer], timeout_s: float | None = None, *, asking: bool = False) -> Answer:
        """See :meth:`Commands.do`. ``asking``: for a slot of a Cluster that is still coming to this server."""
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            async with asyncio.timeout(limit), self._permits:
                while True:
                    link = self._idle.pop() if self._idle else None
                    reused = link is not None
                    if link is None:
                        link = await self._connect()
                    usable = False
                    try:
                        link.asking = asking
                        answer = await work(link)
                        usable = True
                        return answer
                    except ResponseError as error:
                        # a server that has not got a slot is the right one for others
                        usable = not _is_elsewhere(error) or isinstance(error, _OTHER_SLOT)
                        raise
                    except (RedisError, OSError):
                        if not reused:
                            raise
                    finally:
                        if usable and not self._closed:
                            self._idle.append(link)
                        else:
                            await link.connection.disconnect(nowait=True)
                    # it was closed while nobody used it, and so were the others
                    await self.forget()
        except ResponseError as error:
            if _is_elsewhere(error):
                raise RedisElsewhereError(error) from error
            raise RedisRefusedError(str(error)) from error
        except TimeoutError as error:
            raise RedisUnavailableError(f"Redis did not answer within {limit:g} s") from error
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(f"no connection to Redis: {error}") from error

    async def _connect(self) -> Link:
        if self._closed:
            raise RedisUnavailableError("the connections are closed")
        address = await self.endpoint.address(self._timeout_s)
        connection = self.endpoint.connection(address, self._timeout_s)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            link = Link(connection, ServerInfo(""), address)
            link.server = await self._look(link)
            if link.server.loading:  # whether it is durable is known afterwards, under the same run
                raise RedisUnavailableError("Redis reads what it kept")
            if link.server.role != "master":
                raise RedisUnavailableError(f"expected a master, got a {link.server.role}: it takes no writes")
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self.connects += 1
        self.server = link.server
        return link


def _is_elsewhere(error: ResponseError) -> bool:
    """Whether another server, or a later moment, is the right one."""
    elsewhere = (ReadOnlyError, MasterDownError, ClusterDownError, *_OTHER_SLOT)
    return isinstance(error, elsewhere) or str(error).startswith(_LATER)
