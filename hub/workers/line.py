"""The line between a worker and its parent: a pair of Unix sockets that carry whole messages (``SOCK_SEQPACKET``, unix(7)).

The worker sends :class:`Beat`, :class:`Ready` and :class:`Failed`, the parent the words of :class:`hub.transports.orders.Order`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog

from hub.background import BackgroundTask
from hub.transports.orders import Order, Orders

MAX_BYTES: Final = 64 * 1024
"""Bytes of one message; a longer text is cut."""

_MAX_TEXT: Final = 8_000

_log = structlog.get_logger(__name__)


class Beat(msgspec.Struct, tag="beat", frozen=True):
    """The event loop of the worker runs."""


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The worker serves."""

    port: int
    fixed: Mapping[str, str] = {}
    """Fingerprints of the settings that only the parent applies (:func:`hub.workers.fixed.fixed_settings`), as the worker has read them."""


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """The worker cannot start, and ends."""

    reason: str


Message = Beat | Ready | Failed

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Message).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a line: the parent's, and the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class WorkerLine:
    """The worker's end. Make it in the running event loop; it beats from :meth:`start` on."""

    __slots__ = ("_beat_s", "_beats", "_on_order", "_socket")

    def __init__(self, opened: socket.socket, orders: Orders, beat_s: float) -> None:
        """``orders`` get what the parent says. When the parent is gone, they get the order to end at once."""
        self._socket = opened
        self._on_order = orders.give
        self._beat_s = beat_s
        self._beats = BackgroundTask("hub.workers.line")

    def start(self) -> None:
        """Begin to listen to the parent, and to show it that the loop runs."""
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        self._beats.start(self._beat())

    async def stop(self) -> None:
        """Stop both."""
        await self._beats.stop()
        asyncio.get_running_loop().remove_reader(self._socket)

    def ready(self, port: int, fixed: Mapping[str, str]) -> None:
        """Say that this worker serves."""
        self._send(Ready(port, fixed))

    async def _beat(self) -> None:
        while True:
            self._send(Beat())
            await asyncio.sleep(self._beat_s)

    def _send(self, message: Message) -> None:
        say(self._socket, message)

    def _read(self) -> None:
        try:
            word = self._socket.recv(MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if word:
            self._on_order(Order(word.decode()))
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._on_order(Order.QUIT)


def say(line: socket.socket, message: Message) -> None:
    """Send a message to the parent. A parent that does not read loses beats; one that is gone ends this process by other ways."""
    if isinstance(message, Failed):
        message = Failed(message.reason[:_MAX_TEXT])
    try:
        line.send(_encode(message))
    except BlockingIOError:
        _log.warning("parent_does_not_read", message=type(message).__name__)
    except OSError:
        _log.debug("parent_gone", exc_info=True)


class ParentLine:
    """The parent's end of the line to one worker. Make it in the running event loop."""

    __slots__ = ("_closed", "_on_message", "_socket")

    def __init__(self, opened: socket.socket, on_message: Callable[[Message], object]) -> None:
        self._socket = opened
        self._on_message = on_message
        self._closed = False
        asyncio.get_running_loop().add_reader(opened, self._read)

    def order(self, order: Order) -> None:
        """Tell the worker; one that is gone hears nothing."""
        if self._closed:
            return
        try:
            self._socket.send(order.value.encode())
        except OSError as error:
            _log.warning("worker_does_not_listen", order=order.value, error=str(error))

    def close(self) -> None:
        """Close this end, after what the worker said last was read. Idempotent."""
        if not self._closed:
            self._read()
        if not self._closed:
            self._end()

    def _end(self) -> None:
        self._closed = True
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        while not self._closed:
            try:
                message = self._socket.recv(MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._end()
                return
            self._on_message(_decode(message))
