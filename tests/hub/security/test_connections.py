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

    def __init__(self, *, waits: bool = True, stalled: bool = False) -> None:
        self.waits = waits
        self.stalled = stalled
        self.gave_way = False

    def give_way(self) -> None:
        self.gave_way = True

    def admitted(self) -> None:
        """Nothing is bounded here."""


def taken(connections: Connections, host: str = "192.0.2.1", *, waits: bool = False, stalled: bool = False) -> Connection:
    connection = connections.take(Socket(waits=waits, stalled=stalled), host)
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


def test_who_keeps_the_hub_waiting_gives_way_behind_those_that_wait_themselves() -> None:
    connections = Connections(LIMITS)
    stalled, waiting = taken(connections, stalled=True), taken(connections, waits=True)
    taken(connections)
    taken(connections)
    assert (stalled.held.gave_way, waiting.held.gave_way) == (False, True)  # type: ignore[attr-defined]
    taken(connections)
    assert stalled.held.gave_way  # type: ignore[attr-defined]
    assert connections.take(Socket(), "192.0.2.1") == "max_unidentified_per_address"


@pytest.mark.parametrize("host", ["192.0.2.{}", "192.0.2.1"])
def test_stalled_ones_shut_out_nobody(host: str) -> None:
    """Of many addresses, or of one that says it forwards for others."""
    connections = Connections(LIMITS)
    for number in range(20):
        connection = taken(connections, host.format(number % 3), stalled=True)
        connections.forwarded_for(connection, "203.0.113.1")
    assert connections.unidentified <= 6
    taken(connections, "192.0.2.100")


# -- tenants ------------------------------------------------------------------------------------------------------------

TWENTY = Limits(max_connections=20, max_unidentified=2, max_unidentified_per_address=2)


def admitted(connections: Connections, tenant: str, *, waits: bool = False) -> Connection:
    connection = taken(connections, waits=waits)
    connection.admit(anonymous=False, tenant=tenant)
    return connection


def test_a_tenant_leaves_the_last_places_to_others() -> None:
    connections = Connections(TWENTY)
    for _ in range(18):  # more than its share of 10, as long as there is room
        assert admitted(connections, "a").open
    over = admitted(connections, "a")
    assert (over.open, over.identified, over.held.gave_way) == (False, False, True)  # type: ignore[attr-defined]
    assert (connections.counters.refused_tenant, connections.count) == (1, 18)
    assert admitted(connections, "b").open
    assert admitted(connections, "b").open
    assert connections.count == 20


def test_within_its_share_a_tenant_has_the_last_places_too() -> None:
    connections = Connections(TWENTY)
    for number in range(20):
        assert admitted(connections, "ab"[number % 2]).open


def test_what_waits_of_a_tenant_over_its_share_gives_way() -> None:
    connections = Connections(TWENTY)
    a = [admitted(connections, "a", waits=number == 5) for number in range(18)]
    b = [admitted(connections, "b", waits=True) for _ in range(2)]
    assert admitted(connections, "b").open
    assert [each for each in (*a, *b) if each.held.gave_way] == [a[5]]  # type: ignore[attr-defined]
    assert connections.take(Socket(), "192.0.2.1") == "max_connections"


def test_a_connection_is_of_the_tenant_that_was_shown_last() -> None:
    """Proxies send requests of many clients on one connection."""
    connections = Connections(TWENTY)
    shared = admitted(connections, "a")
    shared.admit(anonymous=False, tenant="b")
    assert {tenant: len(of) for tenant, of in connections._by_tenant.items()} == {"b": 1}
    shared.close()
    shared.admit(anonymous=False, tenant="a")
    assert (connections.count, connections.unidentified, connections._by_tenant, connections._by_address) == (0, 0, {}, {})


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


def test_a_connection_of_a_trusted_proxy_has_the_address_of_each_requests_client() -> None:
    """Also when somebody showed a credential on it before, and where the proxy names nobody."""
    connections = Connections(LIMITS, LOOPBACK)
    kept = taken(connections, "127.0.0.1")
    seen = []
    for number, client in enumerate(("192.0.2.1", "192.0.2.2", None, "192.0.2.3", None)):
        assert connections.forwarded_for(kept, client)
        seen.append(kept.limited_address)
        if number == 0:
            kept.admit(anonymous=False, tenant="a")
    assert seen == ["192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.3", "127.0.0.1"]
    kept.close()
    assert (connections.count, connections.unidentified, connections._by_address) == (0, 0, {})


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
