"""Where a node takes links, and where others reach it: the settings ``link_listen`` and ``link_url``."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

PATH: Final = "/link"
"""Of the opening handshake of a link's WebSocket."""

_UNIX: Final = "unix:"
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7))."""


class LinkListenError(Exception):
    """The listener of links cannot be opened: the text says why, and what to do."""


class LinkAddress(NamedTuple):
    """A port, or a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""
    """Of a Unix socket; then host and port say nothing."""
    tls: bool = False

    @property
    def everywhere(self) -> bool:
        """Whether it is every address of the machine, which is none by which others reach it."""
        if self.path:
            return False
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """As ``link_url``."""
        if self.path:
            return f"{_UNIX}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.tls else 'ws'}://{host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """What the opening handshake of a WebSocket names."""
        return f"ws://localhost{PATH}" if self.path else f"{self.url}{PATH}"


def parse_listen(text: str) -> LinkAddress:
    """Read ``link_listen``: ``host:port``, ``[address]:port`` or ``unix:/path``. An IPv6 address may lack its brackets.

    Raises:
        ValueError: it is neither.
    """
    if text.startswith(_UNIX):
        return _unix(text)
    netloc = _bracketed(text)
    parts = urlsplit(f"//{netloc}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None or parts.netloc != netloc or parts.username is not None:
        raise ValueError("expected a host and a port such as 10.0.0.5:9080, or a Unix socket such as unix:/run/hub/link.sock")
    return LinkAddress(parts.hostname, port)


def parse_url(text: str) -> LinkAddress:
    """Read ``link_url``: ``ws://host:port``, ``wss://host:port`` or ``unix:/path``. An IPv6 address may lack its brackets.

    Raises:
        ValueError: it is neither.
    """
    if text.startswith(_UNIX):
        return _unix(text)
    scheme, separator, rest = text.partition("://")
    parts = urlsplit(f"{scheme}{separator}{_bracketed(rest.rstrip('/'))}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if (
        parts.scheme not in {"ws", "wss"}
        or not parts.hostname
        or not port
        or parts.username is not None
        or parts.path
        or parts.query
        or parts.fragment
    ):
        raise ValueError("expected a URL such as ws://10.0.0.5:9080, wss://node-1.example.com:9080 or unix:/run/hub/link.sock")
    return LinkAddress(parts.hostname, port, tls=parts.scheme == "wss")


def _bracketed(netloc: str) -> str:
    """``[fd00::1]:9080`` for ``fd00::1:9080``, which a template such as ``$(POD_IP):9080`` makes of an IPv6 address. A port is always
    there.
    """
    host, _, port = netloc.rpartition(":")
    try:
        return f"[{ipaddress.IPv6Address(host)}]:{port}"
    except ValueError:
        return netloc


def _unix(text: str) -> LinkAddress:
    path = text.removeprefix(_UNIX)
    if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"expected the whole path of a Unix socket in at most {MAX_SOCKET_PATH} bytes, such as unix:/run/hub/link.sock")
    return LinkAddress(path=path)
