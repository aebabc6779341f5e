"""Which addresses a webhook may go to: a hub that POSTs to any URL that it is given must not be a way into its own network (SSRF).

Names are checked when they are resolved, and every address once more when its socket is made: what is checked is what is connected to, so
a name that means another address the second time (DNS rebinding) gets nowhere.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from hub.outbox.addresses import Address, Network, NotAnAddressError, as_ipv4, is_public, parse_host, parse_socket_address


class ForbiddenAddressError(OSError):
    """An address must not be called. ``what`` names it as the endpoint's URL does: the address that a name has in this network
    must not be shown to the tenant.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not public, and outbox.allowed_networks does not name it")


class Guard:
    """Decides by the settings ``outbox.allowed_networks`` and ``outbox.https_only``."""

    __slots__ = ("_allowed", "_https_only")

    def __init__(self, allowed_networks: Iterable[Network] = (), https_only: bool = False) -> None:
        self._allowed = tuple(allowed_networks)
        self._https_only = https_only

    def check_url(self, url: str) -> None:
        """Check the URL of an endpoint, as far as that can be done without asking for addresses.

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
            raise _wrong("a host whose address is public, or within outbox.allowed_networks", url)

    def allows(self, address: Address) -> bool:
        """Whether an address may be called: it is public, or within an allowed network, in whichever form it comes."""
        meant = as_ipv4(address) or address
        return is_public(address) or any(meant in network for network in self._allowed if meant.version == network.version)

    def check_address(self, text: str) -> None:
        """Check an address as a socket has it.

        Raises:
            ForbiddenAddressError: it must not be called.
        """
        if not self.allows(parse_socket_address(text)):
            raise ForbiddenAddressError("the address")

    def socket_factory(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one address (``socket_factory`` of aiohttp's connector): the last look before it is connected.

        Raises:
            ForbiddenAddressError: it must not be called.
        """
        family, kind, protocol, _, address = info
        self.check_address(address[0])
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def resolver(self, inner: AbstractResolver) -> AbstractResolver:
        """A resolver that gives out only what may be called of what ``inner`` finds."""
        return _Resolver(self, inner)


class _Resolver(AbstractResolver):
    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        good = [each for each in found if self._guard.allows(parse_socket_address(each["host"]))]
        if found and not good:
            raise ForbiddenAddressError(f"the address of {host}")
        return good

    async def close(self) -> None:
        await self._inner.close()


def _wrong(expected: str, got: object) -> ValueError:
    return ValueError(f"url: expected {expected}, got {got!r}")
