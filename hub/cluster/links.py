"""Links to other nodes over sockets: a listener of their own, and one connection for each pair of nodes, made when it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import stat
from collections import OrderedDict
from contextvars import Context
from pathlib import Path
from typing import Any, Final

import structlog
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import CloseCode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from hub.cluster.link.address import LinkAddress, LinkListenError, parse_url
from hub.cluster.link.base import BaseLinks
from hub.cluster.link.certificates import Certificates
from hub.cluster.link.connection import LinkConnection
from hub.cluster.link.hello import MAX_HELLO_BYTES, Handshake, Me, Refusal
from hub.cluster.link.multiplexer import Multiplexer
from hub.cluster.link.tuning import Tuning
from hub.cluster.ports import NodeGoneError, NodeRecord, Nodes, UnreachableError
from hub.storage.private_folder import make_private

_HELLO_MESSAGE_BYTES: Final = 2 * MAX_HELLO_BYTES
_BACKLOG: Final = 256

_log = structlog.get_logger(__name__)
_websocket_log = logging.getLogger("hub.cluster.websocket")
_websocket_log.setLevel(logging.WARNING)  # the library tells of each connection that is opened


class Links(BaseLinks):
    """:class:`hub.cluster.ports.Links` over sockets. It is a :class:`hub.family.Service`, which starts before others call, and stops after
    them.
    """

    def __init__(
        self,
        nodes: Nodes,
        secret: bytes,
        *,
        listen: LinkAddress | None = None,
        certificates: Certificates | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        """``nodes``: who lives, and where; ``listen``: where this node takes links.

        Raises:
            OSError, ssl.SSLError: a certificate cannot be used.
        """
        super().__init__(tuning or Tuning())
        self._nodes = nodes
        self._me = Me(nodes.me.incarnation, secret)
        self._listen = listen
        certificates = certificates or Certificates()
        self._listener_tls = certificates.of_listener()
        self._certificates = certificates
        self._server: asyncio.Server | None = None
        self._links: dict[str, LinkConnection] = {}
        self._strangers: OrderedDict[LinkConnection, None] = OrderedDict()
        """Connections to the listener that are no links yet, the oldest first."""
        self._dials: dict[str, asyncio.Task[Multiplexer]] = {}
        self._dialled: set[LinkConnection] = set()
        self._arrivals: dict[str, asyncio.Event] = {}
        self._back_off: dict[str, tuple[float, float, str]] = {}
        """By node: until when no connection is tried, how long that is, and why the last one failed."""
        self._left: list[Multiplexer] = []
        """Links that have ended, some handlers of which still run."""
        self._stopped = False

    # -- as a service -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the listener, and look whether ``link_url`` leads to it.

        Raises:
            LinkListenError: it cannot be opened, or ``link_url`` leads elsewhere.
        """
        if self._listen is None:
            return
        loop = asyncio.get_running_loop()
        tls = self._listener_tls
        how: dict[str, Any] = {"backlog": _BACKLOG, "ssl": tls, "ssl_handshake_timeout": None if tls is None else self.tuning.dial_s}
        try:
            if self._listen.path:
                opened = _bind_path(Path(self._listen.path))
                self._server = await loop.create_unix_server(self._accepted, sock=opened, **how)
            else:
                self._server = await loop.create_server(self._accepted, self._listen.host, self._listen.port, **how)
        except OSError as error:
            where = self._listen.path or f"{self._listen.host}:{self._listen.port}"
            reason = error.strerror or error
            raise LinkListenError(f"link_listen: cannot listen on {where} ({reason}): end what listens there, or choose another") from error
        try:
            await self._call_itself()
        except BaseException:
            self._server.close()
            raise

    async def _call_itself(self) -> None:
        """Find what else would be found at the first call of another node only."""
        me = self._nodes.me
        if not me.link:
            return
        try:
            async with asyncio.timeout(self.tuning.dial_s):
                await self._connect(me)
        except (_RefusedError, ssl.SSLError) as error:
            another = isinstance(error, _RefusedError) and error.refusal is Refusal.NODE
            found = "another node answers" if another else f"this was found: {error}"
            raise LinkListenError(
                f"link_url: expected a URL that leads to link_listen of this node, got {me.link}, where {found}"
            ) from error
        except (OSError, TimeoutError) as error:  # such as a name that is known when the node is ready
            _log.warning("link_url_not_reached", link_url=me.link, error=str(error) or "no answer")

    async def stop(self) -> None:
        """Close the listener and every link; the handlers that still run are cancelled."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
            if self._listen is not None and self._listen.path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._listen.path)
        for dial in list(self._dials.values()):
            dial.cancel()
        await asyncio.gather(*self._dials.values(), return_exceptions=True)
        links = list(self._links.values())
        for connection in [*self._strangers, *self._dialled, *links]:
            connection.close(CloseCode.GOING_AWAY, "the node stops")
        for calls in self._left:
            await calls.close()

    @property
    def port(self) -> int:
        """The port that the listener has; 0 for a Unix socket, or without one."""
        if self._server is None or not self._server.sockets or (self._listen is not None and self._listen.path):
            return 0
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    # -- what others ask ----------------------------------------------------------------------------------------------

    async def link(self, node: str) -> Multiplexer:
        """See :meth:`BaseLinks.link`. Callers who come while a connection is made wait for the same one; after one that failed, no other is
        tried for a moment.
        """
        connection = self._links.get(node)
        if connection is not None and connection.calls is not None:
            return connection.calls
        if node == self._me.incarnation:
            raise ValueError("a node does not call itself")
        record = self._nodes.find(node) or await self._nodes.look_for(node)
        if self._stopped:  # perhaps while it was looked for
            raise UnreachableError("this node stops")
        if record is None:
            raise NodeGoneError(f"no live node has the incarnation {node}")
        if not record.link:
            raise NodeGoneError(f"node {node} takes no links (link_listen): what it has is out of reach")
        dial = self._dials.get(node)
        if dial is None:
            until, _, reason = self._back_off.get(node, (0.0, 0.0, ""))
            if asyncio.get_running_loop().time() < until:
                raise UnreachableError(reason)
            # without the context of the request that needs the link first: the link outlives it, and its records would have that one's id
            dial = asyncio.get_running_loop().create_task(self._dial(record), name=f"hub.cluster.dial.{node}", context=Context())
            self._dials[node] = dial
            dial.add_done_callback(lambda done: self._dial_ended(node, done))
        return await asyncio.shield(dial)

    def linked(self, node: str) -> bool:
        """Whether there is a link to a node: then it lives, whatever others say."""
        return node in self._links

    @property
    def open_links(self) -> int:
        """Links that there are now."""
        return len(self._links)

    @property
    def open_calls(self) -> int:
        """Calls that are open over all links, in both directions."""
        return sum(link.calls.calls for link in self._links.values() if link.calls is not None)

    @property
    def unread_bytes(self) -> int:
        """Bytes that came over all links and were not read."""
        return sum(link.calls.unread for link in self._links.values() if link.calls is not None)

    @property
    def strangers(self) -> int:
        """Connections to the listener that have not shown that they know the secret."""
        return len(self._strangers)

    # -- connections that this node opens -----------------------------------------------------------------------------

    async def _dial(self, record: NodeRecord) -> Multiplexer:
        node = record.incarnation
        failed: str
        try:
            async with asyncio.timeout(self.tuning.dial_s):
                while True:
                    await self._connect(record)
                    # else the other node opened a connection at the same time, which counts, or does not know yet that the last one broke
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.tuning.back_off_s[0]):
                            return await self._arrival(node)
        except TimeoutError:
            failed = f"node {node} at {record.link} did not answer within {self.tuning.dial_s:g} s"
        except (ConnectionRefusedError, FileNotFoundError) as error:
            if record.link.startswith("unix:"):
                self.counters.dials_failed += 1
                raise NodeGoneError(f"nobody listens on {record.link}: node {node} has ended") from error
            failed = f"node {node} at {record.link} refused the connection"
        except (OSError, ValueError, InvalidURI) as error:
            failed = f"no connection to node {node} at {record.link}: {error}"
        except _RefusedError as error:
            failed = f"no link to node {node} at {record.link}: {error}"
        self.counters.dials_failed += 1
        self._wait_longer(node, failed)
        raise UnreachableError(failed)

    async def _connect(self, record: NodeRecord) -> None:
        """Make a connection that becomes a link, or that is refused because the other node has one.

        Raises:
            _RefusedError: it was refused for another reason.
        """
        address = parse_url(record.link)
        websocket = ClientProtocol(parse_uri(address.websocket_url), max_size=_HELLO_MESSAGE_BYTES, logger=_websocket_log)
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_link(connection: LinkConnection) -> None:
            if self._established(connection) and not settled.done():
                settled.set_result(None)

        def on_end(connection: LinkConnection) -> None:
            self._dialled.discard(connection)
            self._count_refusal(connection)
            self._ended(connection)
            if not settled.done():
                settled.set_result(None)

        handshake = Handshake(self._me, wanted=record.incarnation)
        connection = LinkConnection(websocket, handshake, self._multiplexer, self.tuning, self.counters, on_link=on_link, on_end=on_end)
        self._dialled.add(connection)
        loop = asyncio.get_running_loop()
        try:
            if address.path:
                await loop.create_unix_connection(lambda: connection, address.path)
            else:
                await loop.create_connection(
                    lambda: connection, address.host, address.port, ssl=self._certificates.of_dialler() if address.tls else None
                )
            await settled
        except BaseException:
            connection.abort("the connection was given up")
            raise
        finally:
            self._dialled.discard(connection)
        if connection.ended is not None and connection.refusal not in (Refusal.CROSSED, Refusal.DUPLICATE):
            raise _RefusedError(connection.ended, connection.refusal)

    async def _arrival(self, node: str) -> Multiplexer:
        while True:
            connection = self._links.get(node)
            if connection is not None and connection.calls is not None:
                return connection.calls
            await self._arrivals.setdefault(node, asyncio.Event()).wait()

    def _dial_ended(self, node: str, dial: asyncio.Task[Multiplexer]) -> None:
        self._dials.pop(node, None)
        self._arrivals.pop(node, None)
        if not dial.cancelled():
            dial.exception()  # whoever waited for it has it; if nobody did any more, it is no news

    def _wait_longer(self, node: str, reason: str) -> None:
        first, longest = self.tuning.back_off_s
        _, before, _ = self._back_off.get(node, (0.0, 0.0, ""))
        wait_s = min(max(first, 2 * before), longest)
        if not before:
            _log.warning("link_failed", node=node, reason=reason)
        for other in [other for other in self._back_off if self._nodes.find(other) is None]:
            del self._back_off[other]
        self._back_off[node] = (asyncio.get_running_loop().time() + wait_s, wait_s, reason)

    # -- connections that others open ---------------------------------------------------------------------------------

    def _accepted(self) -> LinkConnection:
        websocket = ServerProtocol(max_size=_HELLO_MESSAGE_BYTES, logger=_websocket_log)

        def on_link(connection: LinkConnection) -> None:
            self._strangers.pop(connection, None)
            self._established(connection)

        def on_end(connection: LinkConnection) -> None:
            self._strangers.pop(connection, None)
            self._count_refusal(connection)
            self._ended(connection)

        handshake = Handshake(self._me, on_proven=self._objection)
        connection = LinkConnection(websocket, handshake, self._multiplexer, self.tuning, self.counters, on_link=on_link, on_end=on_end)
        self._strangers[connection] = None
        if len(self._strangers) > self.tuning.max_strangers:
            # the oldest: who means it is through in a few milliseconds
            next(iter(self._strangers)).refuse(Refusal.CROWDED, "too many connections have not shown that they know the secret")
        return connection

    def _objection(self, node: str) -> Refusal | None:
        """Why a node that has opened a connection, and knows the secret, gets no link by it."""
        if node == self._me.incarnation:
            return Refusal.DUPLICATE
        if node in self._links:
            return Refusal.DUPLICATE
        if node in self._dials and self._me.incarnation < node:
            return Refusal.CROSSED
        return None

    # -- links --------------------------------------------------------------------------------------------------------

    def _multiplexer(self, connection: LinkConnection) -> Multiplexer:
        return Multiplexer(
            connection.handshake.peer, connection.write, self.handlers, self.tuning, self.counters, dialled=connection.dialled
        )

    def _established(self, connection: LinkConnection) -> bool:
        node = connection.handshake.peer
        if node in self._links or self._stopped:
            connection.refuse(Refusal.DUPLICATE, "there is a link already")
            return False
        self._links[node] = connection
        self._back_off.pop(node, None)
        if connection.dialled:
            self.counters.dialled += 1
        else:
            self.counters.accepted += 1
        _log.info("link_made", node=node, dialled=connection.dialled)
        arrival = self._arrivals.pop(node, None)
        if arrival is not None:
            arrival.set()
        return True

    def _count_refusal(self, connection: LinkConnection) -> None:
        refusal = connection.refusal
        if refusal is None or (refusal is Refusal.DUPLICATE and connection.handshake.with_itself):
            return
        name = f"refused_{Refusal.DUPLICATE if refusal is Refusal.CROSSED else refusal}"
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        if refusal in (Refusal.SECRET, Refusal.VERSION, Refusal.NODE):
            _log.warning("link_refused", reason=refusal, dialled=connection.dialled, text=connection.ended)

    def _ended(self, connection: LinkConnection) -> None:
        node = connection.handshake.peer
        if self._links.get(node) is not connection:
            return
        del self._links[node]
        self._left = [calls for calls in self._left if calls.answering]
        if connection.calls is not None:
            self._left.append(connection.calls)
        if self._stopped:
            return
        self.counters.broken += 1
        _log.info("link_broken", node=node, reason=connection.ended)
        for broken in self.on_broken:
            broken(node)


class _RefusedError(Exception):
    """The connection did not become a link."""

    def __init__(self, text: str, refusal: Refusal | None) -> None:
        super().__init__(text)
        self.refusal = refusal


def _bind_path(path: Path) -> socket.socket:
    """A Unix socket that nobody else listens on. One that a killed process left is replaced.

    Raises:
        OSError: another process listens on it, or it cannot be made.
    """
    make_private(path.parent)
    made = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(1)
                    with contextlib.suppress(ConnectionRefusedError):
                        probe.connect(str(path))
                        raise FileExistsError(17, "another process listens there")
                path.unlink()
        made.bind(str(path))
        path.chmod(0o600)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
