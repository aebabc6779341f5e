"""The table of addresses that are not public, and the spellings of addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.outbox.addresses import Address, NotAnAddressError, as_ipv4, is_public, parse_host

REGISTRIES = (
    # IANA IPv4 Special-Purpose Address Registry
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32", "192.0.0.171/32", "192.0.2.0/24",
    "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32",
    # IANA IPv6 Special-Purpose Address Registry
    "::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128",
    "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32",
    "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
    # multicast, and what was site-local, IPv4-compatible, of the 6bone, or was never given out
    "224.0.0.0/4", "ff00::/8", "fec0::/10", "::/96", "3ffe::/16", "::ffff:0:0:0/96", "4000::/3", "8000::/1", "1000::/4",
    # what clouds serve their own machines by
    "192.0.0.192/32", "168.63.129.16/32", "169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "fd00:ec2::254/128",
    "fd20:ce::254/128",
)  # fmt: skip

OUTSIDE = (
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15",
    "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0",
    "223.255.255.255", "2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2001:ffff::", "2003::", "2620:4f:7fff::",
    "2620:4f:8001::", "3ffd:ffff::", "3fff:1000::", "3fff:ffff::",
)  # fmt: skip

PRIVATE_4 = ("127.0.0.1", "10.0.0.5", "169.254.169.254", "192.0.0.192", "168.63.129.16")


def address(text: str) -> Address:
    return ipaddress.ip_address(text)


@pytest.mark.parametrize("network", REGISTRIES)
def test_no_address_of_the_registries_is_public(network: str) -> None:
    parsed = ipaddress.ip_network(network)
    assert not is_public(parsed[0])
    assert not is_public(parsed[-1])
    assert not is_public(parsed[parsed.num_addresses // 3])


@pytest.mark.parametrize("text", OUTSIDE)
def test_the_neighbours_of_the_registries_are_public(text: str) -> None:
    assert is_public(address(text))


@pytest.mark.parametrize("carried", PRIVATE_4)
@pytest.mark.parametrize(
    "form",
    [
        "::ffff:{dotted}", "::{dotted}", "::ffff:0:{dotted}", "64:ff9b::{dotted}", "64:ff9b:1::{dotted}", "2002:{hex}::1",
        "2001:0:4136:e378:8000:63bf:{inverted}", "2606:4700::5efe:{dotted}", "2606:4700::200:5efe:{dotted}", "fe80::5efe:{dotted}",
    ],
)  # fmt: skip
def test_a_private_address_is_not_public_in_any_form_of_ipv6(form: str, carried: str) -> None:
    number = int(ipaddress.IPv4Address(carried))
    halves = f"{number >> 16:x}:{number & 0xFFFF:x}"
    inverted = f"{(number >> 16) ^ 0xFFFF:x}:{(number & 0xFFFF) ^ 0xFFFF:x}"
    assert not is_public(address(form.format(dotted=carried, hex=halves, inverted=inverted)))


@pytest.mark.parametrize("text", ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::5efe:8.8.8.8"])
def test_a_public_address_stays_public_where_its_form_is(text: str) -> None:
    assert is_public(address(text))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_what_its_ipv4_address_is(each: ipaddress.IPv4Address) -> None:
    for form in (f"::ffff:{each}", f"64:ff9b::{each}"):
        assert as_ipv4(address(form)) == each
        assert is_public(address(form)) == is_public(each)


@given(st.ip_addresses())
def test_what_python_knows_as_private_is_not_public_here(each: Address) -> None:
    # Python's table is shorter, and another one in each version: it must never know of one that ours does not
    if as_ipv4(each) in (None, each) and (each.is_private or each.is_multicast or each.is_reserved or each.is_link_local):
        assert not is_public(each)


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"), ("127.1", "127.0.0.1"), ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"), ("0x7f.1", "127.0.0.1"), ("0X7F000001", "127.0.0.1"), ("017700000001", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"), ("0", "0.0.0.0"), ("0x", "0.0.0.0"), ("8.8.8.8", "8.8.8.8"), ("1.65793", "1.1.1.1"),
        ("4294967295", "255.255.255.255"), ("::1", "::1"), ("fe80::1%25eth0", "fe80::1"), ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ],
)  # fmt: skip
def test_spellings_of_an_address(host: str, meant: str) -> None:
    assert parse_host(host) == address(meant)


@pytest.mark.parametrize("host", ["receiver.example", "8.8.8.8.example", "0x7f.example", "a", "xn--bcher-kva", "1e3", "0xg", "-1"])
def test_names_are_no_addresses(host: str) -> None:
    assert parse_host(host) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1.5", "256.0.0.1", "1.2.3.256", "1.16777216", "4294967296", "08", "1..2", "receiver.1", "0x1.0xg.1", "1" * 40, ":::1"]
)
def test_what_ends_in_a_number_and_is_no_address(host: str) -> None:
    with pytest.raises(NotAnAddressError):
        parse_host(host)


@given(st.text("0123456789abcdefxX.:%", max_size=20))
def test_any_host_is_an_address_a_name_or_refused(host: str) -> None:
    try:
        parse_host(host)
    except NotAnAddressError:
        pass
