"""Which addresses a webhook may go to: a hub that POSTs to wherever it is told must not be a way into its own network (SSRF).

Names are checked when they are resolved, and every address once more when its socket is made: what is checked is what is connected to, so
a name that means another address the second time (DNS rebinding) gets nowhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address in its last four bytes (RFC 6052)."""

_NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        "64:ff9b:1::/48",  # NAT64 of a network of one's own (RFC 8215)
        "fec0::/10",  # what was site-local (RFC 3879)
        "5f00::/16",  # SRv6 segments (RFC 9602)
    )
)
"""Not for the public internet, though Python's lists do not say so."""


class ForbiddenAddressError(OSError):
    """An address that must not be called."""

    def __init__(self, address: object) -> None:
        super().__init__(f"the address {address} is not public, and outbox.allowed_networks does not name it")


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
        except ValueError as fault:
            raise _wrong(f"a URL ({fault})", url) from None
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
        if (literal := _literal(parts.hostname)) is not None and not self.allows(literal):
            raise _wrong("a host whose address is public, or within outbox.allowed_networks", url)

    def allows(self, address: Address) -> bool:
        """Whether an address may be called: it is public, or within an allowed network, in whichever form it comes."""
        forms = _forms(address)
        return any(form in network for form in forms for network in self._allowed if form.version == network.version) or all(
            _is_public(form) for form in forms
        )

    def check_address(self, text: str) -> None:
        """Check an address as a socket has it.

        Raises:
            ForbiddenAddressError: it must not be called.
        """
        address = ipaddress.ip_address(text.partition("%")[0])
        if not self.allows(address):
            raise ForbiddenAddressError(address)

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

    def resolver(self, inner: AbstractResolver | None = None) -> AbstractResolver:
        """A resolver that gives out only what may be called; make it where the loop runs."""
        return _Resolver(self, inner or ThreadedResolver())


class _Resolver(AbstractResolver):
    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        good = [each for each in found if self._guard.allows(ipaddress.ip_address(each["host"].partition("%")[0]))]
        if found and not good:
            raise ForbiddenAddressError(f"{found[0]['host']} of {host}")
        return good

    async def close(self) -> None:
        await self._inner.close()


def _literal(host: str) -> Address | None:
    """The address that a host is, in whatever spelling the system understands (127.1, 0x7f.1, 2130706433); None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _forms(address: Address) -> tuple[Address, ...]:
    """An address, and those that are packed into it: an IPv4 address can be reached by several of IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    packed: list[Address] = [address]
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)  # the same address, written otherwise
    if address.sixtofour is not None:
        packed.append(address.sixtofour)
    if address.teredo is not None:
        packed.extend(address.teredo)
    if address in _NAT64:
        return (ipaddress.IPv4Address(address.packed[12:]),)
    if address.packed[:12] == bytes(12):  # IPv4-compatible (RFC 4291 section 2.5.5.1, deprecated)
        packed.append(ipaddress.IPv4Address(address.packed[12:]))
    return tuple(packed)


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NEVER if network.version == address.version)
    )


def _wrong(expected: str, got: object) -> ValueError:
    return ValueError(f"url: expected {expected}, got {got!r}")
