"""Decides which IP addresses belong to the public internet, by a table that is the same under every version of Python.

The rows are IANA's registries of special-purpose addresses (RFC 6890 and the RFCs that extend it), multicast, and the few public addresses
that clouds use for services to their own machines. ``docs/webhooks.md`` lists them for users.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SPECIAL: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "this network (RFC 791)"),
    ("10.0.0.0/8", "private (RFC 1918)"),
    ("100.64.0.0/10", "carrier-grade NAT (RFC 6598)"),
    ("127.0.0.0/8", "loopback (RFC 1122)"),
    ("168.63.129.16/32", "Azure's service for its own machines"),
    ("169.254.0.0/16", "link-local, and the metadata services of clouds (RFC 3927)"),
    ("172.16.0.0/12", "private (RFC 1918)"),
    ("192.0.0.0/24", "protocol assignments, and Oracle's metadata service (RFC 6890)"),
    ("192.0.2.0/24", "documentation (RFC 5737)"),
    ("192.31.196.0/24", "AS112, a sink for DNS (RFC 7535)"),
    ("192.52.193.0/24", "multicast tunnels (RFC 7450)"),
    ("192.88.99.0/24", "relays of 6to4 (RFC 7526)"),
    ("192.168.0.0/16", "private (RFC 1918)"),
    ("192.175.48.0/24", "AS112, a sink for DNS (RFC 7534)"),
    ("198.18.0.0/15", "benchmarks (RFC 2544)"),
    ("198.51.100.0/24", "documentation (RFC 5737)"),
    ("203.0.113.0/24", "documentation (RFC 5737)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("240.0.0.0/4", "reserved, and the limited broadcast (RFC 1112, RFC 8190)"),
    ("2001::/23", "protocol assignments: Teredo, benchmarks, ORCHID and more (RFC 2928)"),
    ("2001:db8::/32", "documentation (RFC 3849)"),
    ("2002::/16", "6to4 (RFC 3056)"),
    ("2620:4f:8000::/48", "AS112, a sink for DNS (RFC 7534)"),
    ("3ffe::/16", "the 6bone, given back (RFC 3701)"),
    ("3fff::/20", "documentation (RFC 9637)"),
)
"""Networks that are not public: (network, purpose). The IPv6 networks are those within :data:`GLOBAL_UNICAST`. All addresses outside it are
not public: ``::``, ``::1``, IPv4-compatible ``::/96``, ``64:ff9b:1::/48`` (RFC 8215), ``100::/64`` (RFC 6666), ``100:0:0:1::/64``
(RFC 9780), ``5f00::/16`` (RFC 9602), ``fc00::/7``, ``fe80::/10``, ``fec0::/10``, ``ff00::/8``, and what IANA has not assigned.
"""

GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 that has addresses of the public internet (RFC 4291 section 2.4, IANA)."""

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""The last four bytes are an IPv4 address, to which a translator connects (RFC 6052)."""

_SPECIAL_4: Final = tuple(ipaddress.IPv4Network(text) for text, _ in SPECIAL if ":" not in text)
_SPECIAL_6: Final = tuple(ipaddress.IPv6Network(text) for text, _ in SPECIAL if ":" in text)

_ISATAP: Final = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""The first bytes of an interface identifier that ends in an IPv4 address (RFC 5214 section 6.1)."""

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


class NotAnAddressError(ValueError):
    """The host ends in a number, as only addresses do, but is not a valid address."""


def is_public(address: Address) -> bool:
    """Whether an address is public. An IPv6 address that carries an IPv4 address is public only if both are."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    same = as_ipv4(address)
    if same is not None:
        return is_public(same)
    if address not in GLOBAL_UNICAST or any(address in network for network in _SPECIAL_6):
        return False
    return address.packed[8:12] not in _ISATAP or is_public(ipaddress.IPv4Address(address.packed[12:]))


def as_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a connection to this address reaches: the address itself, an IPv4-mapped one (RFC 4291 section 2.5.5.2) or one
    behind NAT64; else None. Tunnels (6to4, Teredo, ISATAP) and IPv4-compatible addresses only carry one, and lead elsewhere.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(address.packed[12:]) if address in NAT64 else None


def parse_socket_address(text: str) -> Address:
    """Parse an address as sockets and resolvers write it. The zone of a link-local address (``%eth0``) is left out.

    Raises:
        ValueError: the text is not an address.
    """
    return ipaddress.ip_address(text.partition("%")[0])


def parse_host(host: str) -> Address | None:
    """Parse the host of a URL, without brackets, as an address in any of the spellings that resolvers and browsers accept: ``127.1``,
    ``0x7f.1``, ``017700000001``, ``2130706433``, a dot at the end, a zone. Returns None for a name.

    Raises:
        NotAnAddressError: the host ends in a number and is not an address, such as ``127.0.0.1.5`` or ``256.1.1.1``: one resolver refuses
            it, another may accept it as some address.
    """
    if ":" in host:
        try:
            return parse_socket_address(host)
        except ValueError:
            raise NotAnAddressError(host) from None
    parts = host.removesuffix(".").split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    numbers = [_number(part) for part in parts]
    if len(numbers) > 4 or None in numbers:
        raise NotAnAddressError(host)
    *first, last = (number for number in numbers if number is not None)
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        raise NotAnAddressError(host)
    return ipaddress.IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(first)) + last)


def _number(part: str) -> int | None:
    """Parse a part of an IPv4 address: hexadecimal after ``0x``, octal after ``0``, else decimal (WHATWG URL standard, "IPv4 parser")."""
    if not _NUMBER.fullmatch(part) or len(part) > 20:
        return None
    try:
        if part[:2].lower() == "0x":
            return int(part[2:] or "0", 16)
        return int(part, 8 if len(part) > 1 and part[0] == "0" else 10)
    except ValueError:
        return None
