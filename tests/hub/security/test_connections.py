"""Connections: how many in all, without a credential, of one address; and who forwards for others."""

from __future__ import annotations

import ipaddress

import pytest
from structlog.testing import capture_logs

from hub.core.limits import Limits
from hub.security.connections import LOOPBACK, Connection, Connections, address_key

LIMITS = Limits(max_connections=10, max_unidentified=6, max_unidentified_per_address=3)


class Socket:
    """A connection that waits for its client, or is busy."""

    def __init__(self, *, waits: bool = True) -> None:
        self.waits = waits
        self.gave_way = False

    def give_way(self) -> None:
        self.gave_way = True

    def admitted(self) -> None:
        """Nothing is bounded here."""


def taken(connections: Connections, host: str = "192.0.2.1", *, waits: bool = False) -> Connection:
    connection = connections.take(Socket(waits=waits), host)
    assert isinstance(connection, Connection), connection
    return connection


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", "no address"),
        (None, ""),
    ],
)
def test_what_a_client_is_counted_as(host: str | None, key: str) -> None:
    assert address_key(host) == key


def test_one_address_has_so_many_without_a_credential_and_others_come_in() -> None:
    connections = Connections(LIMITS)
    for _ in range(3):
        taken(connections)
    assert connections.take(Socket(), "192.0.2.1") == "max_unidentified_per_address"
    assert connections.counters.refused_address == 1
    taken(connections, "192.0.2.2")


def test_whoever_shows_a_credential_is_not_counted_among_them() -> None:
    connections = Connections(LIMITS)
    for _ in range(8):
        taken(connections).admit(anonymous=False)
    assert (connections.count, connections.unidentified) == (8, 0)


def test_the_oldest_that_waits_gives_way() -> None:
    connections = Connections(LIMITS)
    busy, old, new = taken(connections), taken(connections, waits=True), taken(connections, waits=True)
    another = taken(connections)
    assert [each.held.gave_way for each in (busy, old, new, another)] == [False, True, False, False]  # type: ignore[attr-defined]
    assert (connections.unidentified, connections.counters.evicted) == (3, 1)
    old.close()
    assert connections.unidentified == 3


def test_who_was_let_in_without_a_credential_does_not_give_way() -> None:
    connections = Connections(LIMITS)
    for _ in range(3):
        taken(connections, waits=True).admit(anonymous=True)
    assert connections.take(Socket(), "192.0.2.1") == "max_unidentified_per_address"


def test_in_all_the_address_that_has_most_gives_way() -> None:
    """A few addresses that take all that may be taken without a credential do not shut out the others."""
    connections = Connections(LIMITS)
    few = [taken(connections, "192.0.2.9", waits=True)]
    many = [taken(connections, "192.0.2.1", waits=True) for _ in range(3)] + [taken(connections, "192.0.2.2", waits=True) for _ in range(2)]
    taken(connections, "192.0.2.3")
    assert not few[0].held.gave_way  # type: ignore[attr-defined]
    assert many[0].held.gave_way  # type: ignore[attr-defined]
    assert connections.unidentified == 6


def test_in_all_a_new_one_is_refused_where_none_waits() -> None:
    connections = Connections(LIMITS)
    for number in range(6):
        taken(connections, f"192.0.2.{number}")
    assert connections.take(Socket(), "192.0.2.100") == "max_unidentified"
    connections = Connections(LIMITS)
    for number in range(10):
        taken(connections, f"192.0.2.{number}").admit(anonymous=False)
    assert connections.take(Socket(), "192.0.2.100") == "max_connections"
    assert (connections.counters.refused_all, connections.count) == (1, 10)


def test_what_is_over_is_counted_no_more() -> None:
    connections = Connections(LIMITS)
    for _ in range(20):
        connection = taken(connections)
        connection.close()
        connection.close()
        connection.admit(anonymous=False)
    assert (connections.count, connections.unidentified, connections._by_address) == (0, 0, {})


# -- proxies ------------------------------------------------------------------------------------------------------------


def test_behind_a_trusted_proxy_the_client_is_counted() -> None:
    connections = Connections(LIMITS, [ipaddress.ip_network("10.0.0.0/8")])
    proxied = [taken(connections, "10.1.1.1") for _ in range(3)]
    for number, connection in enumerate(proxied):
        assert connections.forwarded_for(connection, f"192.0.2.{number}")
    assert [connection.address for connection in proxied] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]
    assert connections.forwarded_for(proxied[0], "192.0.2.9")
    assert connections.forwarded_for(proxied[1], "192.0.2.9")
    assert connections.forwarded_for(proxied[2], "192.0.2.9")
    assert not connections.forwarded_for(taken(connections, "10.1.1.1"), "192.0.2.9")
    assert connections.counters.refused_address == 1


def test_a_proxy_that_is_not_trusted_is_told_once_and_is_exempt_from_limits_by_address() -> None:
    connections = Connections(LIMITS, LOOPBACK)
    with capture_logs() as logs:
        for _ in range(3):
            connection = taken(connections, "10.1.1.1")
            assert connections.forwarded_for(connection, "192.0.2.1")
            assert connection.limited_address is None
    taken(connections, "10.1.1.1")
    taken(connections, "10.1.1.1")
    assert [(line["event"], line["address"], line["setting"]) for line in logs] == [("proxy_not_trusted", "10.1.1.1", "trusted_proxies")]
    assert taken(connections, "192.0.2.77").limited_address == "192.0.2.77"
