"""Which addresses may be called."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from hub.outbox.guard import ForbiddenAddressError, Guard

PUBLIC = ("8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808")

FORBIDDEN = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1",
    "2002:7f00:1::", "2002:a00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "5f00::1", "192.0.0.192", "168.63.129.16", "3fff::1", "2606:4700::5efe:a00:1",
    "2606:4700::200:5efe:7f00:1", "::ffff:a83f:8110", "64:ff9b::c000:c0", "2002:808:808::1", "100:0:0:1::1", "2620:4f:8000::1",
)  # fmt: skip


def check(guard: Guard, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    guard.socket_factory((family, socket.SOCK_STREAM, 0, "", (address, 80))).close()


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    check(Guard(), address)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_others_may_not(address: str) -> None:
    with pytest.raises(ForbiddenAddressError, match=r"outbox\.allowed_networks"):
        check(Guard(), address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_an_allowed_network_may_be_called_in_whichever_form(address: str) -> None:
    check(Guard([ipaddress.ip_network("10.1.0.0/16")]), address)


@pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "fd00::1", "fd00::5efe:10.1.2.3", "2002:a01:203::1", "::10.1.2.3"])
def test_an_allowed_network_opens_nothing_else(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check(Guard([ipaddress.ip_network("10.1.0.0/16")]), address)


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example/hook", "http://receiver.example:8080/a?b=c%20d", "http://8.8.8.8/", "https://[2606:4700:4700::1111]/",
        "http://xn--bcher-kva.example/",
    ],
)  # fmt: skip
def test_urls_that_are_taken(url: str) -> None:
    Guard().check_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "begins with http"),
        ("receiver.example", "begins with http"),
        ("ftp://receiver.example/", "begins with http"),
        ("file:///etc/passwd", "begins with http"),
        ("gopher://127.0.0.1:6379/_x", "begins with http"),
        ("http://", "a URL with a host"),
        ("http:///path", "a URL with a host"),
        ("http://user@receiver.example/", "without a user name"),
        ("http://receiver.example@10.0.0.1/", "without a user name"),
        ("http://receiver.example/#x", "without a fragment"),
        ("http://receiver.example:0/", "a port from 1"),
        ("http://receiver.example:99999/", "a URL ("),
        ("http://receiver.example:x/", "a URL ("),
        ("http://[::1/", "a URL ("),
        ("http://receiver.example/a b", "without blanks"),
        ("http://receiver.example/\r\nX: y", "without blanks"),
        ("http://receiver.example\\@10.0.0.1/", "without blanks"),
        ("http://bücher.example/", "printable ASCII"),
        ("http://127.0.0.1/", "public"),
        ("http://localhost.localdomain@127.0.0.1/", "without a user name"),
        ("http://127.1/", "public"),
        ("http://2130706433/", "public"),
        ("http://0x7f000001/", "public"),
        ("http://0177.0.0.1/", "public"),
        ("http://0/", "public"),
        ("http://[::1]/", "public"),
        ("http://[::ffff:127.0.0.1]/", "public"),
        ("http://[fe80::1%25eth0]/", "public"),
        ("http://169.254.169.254/latest/meta-data/", "public"),
        ("http://127.0.0.1./", "public"),
        ("http://0x7f.0.0.0x1/", "public"),
        ("http://017700000001/", "public"),
        ("http://192.0.0.192/opc/v2/", "public"),
        ("http://[2606:4700::5efe:10.0.0.1]/", "public"),
        ("http://[2606:4700::200:5efe:a00:1]/", "public"),
        ("http://[64:ff9b:1::a00:1]/", "public"),
        ("http://127.0.0.1.5/", "a name or an address"),
        ("http://256.1.1.1/", "a name or an address"),
        ("http://4294967296/", "a name or an address"),
        ("http://%31%32%37.0.0.1/", "not percent-encoded"),
    ],
)
def test_urls_that_are_refused(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r"^url: expected ") as refused:
        Guard().check_url(url)
    assert expected in str(refused.value)


def test_without_tls_only_where_that_is_allowed() -> None:
    with pytest.raises(ValueError, match="begins with https://, got"):
        Guard(https_only=True).check_url("http://receiver.example/")
    Guard(https_only=True).check_url("https://receiver.example/")


@pytest.mark.parametrize("url", ["http://ana:geheim@h/", "ftp://h/?key=geheim", "https://ana:ge/heim@h/", "http://h/#geheim"])
def test_no_error_has_the_key_of_a_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: expected .*, got '.*\[hidden\]") as refused:
        Guard(https_only=url.startswith("http:")).check_url(url)
    assert "heim" not in str(refused.value)
