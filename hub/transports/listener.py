"""Sockets that a server listens on. It imports no server, so that the parent of several workers, which serves nothing, can make them."""

from __future__ import annotations

import errno
import socket
from typing import Final

BACKLOG: Final = 4096
"""Connections that the operating system may queue: after a restart all clients reconnect at once. The system's own limit applies too."""


class StartError(RuntimeError):
    """The server could not start; the text says why."""


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Bind a TCP socket to a name or an IPv4 or IPv6 address. Port 0 takes any free one. With ``reuse_port`` further sockets of this
    user may be bound to the same port, and the kernel spreads the connections over those that listen (``SO_REUSEPORT``, socket(7)).

    Raises:
        StartError: the name is not known, or the address cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on host {host!r}, port {port}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        advice = "; stop what listens there, or choose another port (--port, HUB_PORT)" if error.errno == errno.EADDRINUSE else ""
        raise StartError(f"cannot listen on host {host!r}, port {port}: {error.strerror or error}{advice}") from error
    return listener


def bind_each(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind ``count`` sockets to one port, each with a queue of its own. None listens yet.

    Raises:
        StartError: see :func:`bind`; or another process listens on the port, be it with ``SO_REUSEPORT`` too: it would get a part of the
            connections.
    """
    if port:
        bind(host, port).close()
    sockets = [bind(host, port, reuse_port=True)]
    try:
        taken = sockets[0].getsockname()[1]
        while len(sockets) < count:
            sockets.append(bind(host, taken, reuse_port=True))
    except StartError:
        for each in sockets:
            each.close()
        raise
    return sockets
