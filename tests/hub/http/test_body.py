"""Bodies of requests: whose share of what is buffered a request counts to, and the budgets."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from hub.core.limits import Limits
from hub.http.body import BodyBudget, address_of
from hub.http.errors import ApiError
from hub.security.connections import SCOPE_KEY, Connections
from tests.hub.security.test_connections import taken

PROXY = "192.0.2.80"


def scope_of(connections: Connections, peer: str, *, forwarded_for: str | None = None) -> dict[str, object]:
    """A request as the server hands it on; ``forwarded_for`` is what a proxy says of its client."""
    connection = taken(connections, peer)
    if forwarded_for is not None:
        connections.forwarded_for(connection, forwarded_for)
    return {"type": "http", "headers": [(b"x-forwarded-for", b"made.up")], "client": ("203.0.113.9", 1), SCOPE_KEY: connection}


def test_a_request_counts_to_its_peer_whatever_it_says_of_itself() -> None:
    assert address_of(scope_of(Connections(Limits()), "192.0.2.1")) == "192.0.2.1"


def test_behind_a_trusted_proxy_it_counts_to_the_client() -> None:
    connections = Connections(Limits(), (ip_network(f"{PROXY}/32"),))
    assert address_of(scope_of(connections, PROXY, forwarded_for="198.51.100.7")) == "198.51.100.7"


def test_a_proxy_that_is_not_trusted_shares_nothing_with_itself() -> None:
    assert address_of(scope_of(Connections(Limits()), PROXY, forwarded_for="198.51.100.7")) == ""


def test_under_another_server_it_counts_to_the_peer() -> None:
    assert address_of({"type": "http", "headers": [], "client": ("192.0.2.5", 1)}) == "192.0.2.5"
    assert address_of({"type": "http", "headers": [], "client": None}) == ""


@pytest.mark.parametrize(
    ("address", "size", "status", "counter"), [("", 50, 503, "over_process_budget"), ("192.0.2.1", 30, 429, "over_address_budget")]
)
def test_a_body_beyond_a_budget_is_refused_and_not_counted(address: str, size: int, status: int, counter: str) -> None:
    budget = BodyBudget(Limits(max_buffered_bytes=100, max_buffered_bytes_per_address=60))
    budget.take(address, 60)
    with pytest.raises(ApiError) as refused:
        budget.take(address, size)
    assert (refused.value.http_status, refused.value.headers) == (status, {"Retry-After": "1"})
    assert (budget.buffered_bytes, getattr(budget.counters, counter)) == (60, 1)
    budget.give(address, 60)
    budget.take(address, 50)
    assert budget.buffered_bytes == 50
