"""Decides which addresses webhooks may be sent to. A hub POSTs to URLs that tenants choose; these must not give access to the hub's own
network (server-side request forgery, SSRF).

The addresses of a name are checked when it is resolved, and each address again when its socket is made. So the hub connects only to an
address that was checked, also if a name resolves to another address the second time (DNS rebinding).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from hub.core.secret_names import url_without_secrets
from hub.outbox.addresses import Address, Network, NotAnAddressError, as_ipv4, is_public, parse_host, parse_socket_address


class ForbiddenAddressError(OSError):
    """The hub must not connect to an address. ``what`` names it as the endpoint's URL does: the text must not show the tenant which address
    a name has in the hub's network.
    """

    def __init__(self, what: str, setting: str = "outbox.allowed_networks") -> None:
        super().__init__(f"{what} is not public, and {setting} does not name it")


class Guard:
    """Checks URLs and addresses by the settings ``outbox.allowed_networks`` and ``outbox.https_only``, or by others of this kind."""

    __slots__ = ("_allowed", "_https_only", "setting")

    def __init__(
        self, allowed_networks: Iterable[Network] = (), https_only: bool = False, setting: str = "outbox.allowed_networks"
    ) -> None:
        self.setting = setting
        """The name of the setting with the allowed networks, for errors."""
        self._allowed = tuple(allowed_networks)
        self._https_only = https_only

    def check_url(self, url: str) -> None:
        """Check the URL of an endpoint, as far as possible without resolving its host.

        Raises:
            ValueError: ``url: expected ..., got ...``.
        """
        schemes = ("https",) if self._https_only else ("http", "https")
        if not url.isascii() or not url.isprintable() or any(mark in url for mark in ' "<>\\^`{|}'):
            raise _wrong("printable ASCII without blanks, other characters percent-encoded", url)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _wrong(f"a URL ({error})", url) from None
        if parts.scheme not in schemes:
            raise _wrong(f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}", url)
        if not parts.hostname:
            raise _wrong("a URL with a host", url)
        if parts.username is not None or parts.password is not None:
            raise _wrong("a URL without a user name: send credentials in a header of the endpoint's own", url)
        if "#" in url:
            raise _wrong("a URL without a fragment", url)
        if port == 0:
            raise _wrong("a port from 1 to 65535", url)
        if "%" in parts.hostname and ":" not in parts.hostname:
            raise _wrong("a host that is not percent-encoded", url)
        try:
            literal = parse_host(parts.hostname)
        except NotAnAddressError:
            raise _wrong("a host that is a name or an address", url) from None
        if literal is not None and not self.allows(literal):
            raise _wrong(f"a host whose address is public, or within {self.setting}", url)

    def allows(self, address: Address) -> bool:
        """Whether the hub may connect to an address: it is public, or within an allowed network. An IPv6 address that leads to an IPv4
        address counts as that one for the allowed networks.
        """
        meant = as_ipv4(address) or address
        return is_public(address) or any(meant in network for network in self._allowed if meant.version == network.version)

    def check_address(self, text: str) -> None:
        """Check the address of a socket.

        Raises:
            ForbiddenAddressError: the hub must not connect to it.
        """
        if not self.allows(parse_socket_address(text)):
            raise ForbiddenAddressError("the address", self.setting)

    def socket_factory(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one address (``socket_factory`` of aiohttp's connector): the last check before it is connected.

        Raises:
            ForbiddenAddressError: the hub must not connect to the address.
        """
        family, kind, protocol, _, address = info
        self.check_address(address[0])
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def _wrong(expected: str, got: str) -> ValueError:
    return ValueError(f"url: expected {expected}, got {url_without_secrets(got)!r}")
