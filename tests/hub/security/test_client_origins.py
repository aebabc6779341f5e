"""The origins of OAuth clients: each tenant has its share of those that are known."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.security.client_origins import MAX_ORIGINS, ClientOrigins


def some(tenant: str, number: int) -> list[tuple[str, str]]:
    return [(f"https://{tenant}{each}.example", tenant) for each in range(number)]


def test_a_tenant_with_very_many_shuts_no_other_out() -> None:
    """As a tenant could that added 314 clients with 32 origins each: the others' came too late."""
    origins = ClientOrigins()
    origins.set([*some("rival", 314 * 32), ("https://late.example", "acme")])
    assert "https://late.example" in origins
    assert origins.tenants("https://late.example") == {"acme"}
    assert (len(origins), origins.left_out) == (MAX_ORIGINS, 314 * 32 + 1 - MAX_ORIGINS)
    assert "https://rival0.example" in origins  # the oldest stay
    assert "https://rival10047.example" not in origins


def test_an_origin_of_several_tenants_is_of_those_that_have_room_for_it() -> None:
    origins = ClientOrigins(4)
    shared = "https://app.example"
    origins.set([*some("rival", 5), (shared, "rival"), (shared, "acme")])
    assert origins.tenants(shared) == {"acme"}
    origins.set([(shared, "rival"), (shared, "acme"), (shared, "acme")])
    assert origins.tenants(shared) == {"acme", "rival"}
    assert origins.left_out == 0


@pytest.mark.parametrize(
    ("numbers", "known"),
    [
        ([3, 3, 3], [3, 3, 3]),
        ([9, 1, 1], [8, 1, 1]),
        ([9, 9, 1], [4, 4, 1]),
        ([9, 9, 9], [3, 3, 3]),
        ([1] * 12, [1] * 12),  # the operator makes tenants, so each has one at least
        ([], []),
    ],
)
def test_small_tenants_leave_their_rest_to_the_others(numbers: list[int], known: list[int]) -> None:
    origins = ClientOrigins(10)
    origins.set([pair for tenant, number in enumerate(numbers) for pair in some(f"t{tenant}-", number)])
    found = Counter(tenant for number, most in enumerate(numbers) for _, tenant in some(f"t{number}-", most) if _ in origins)
    assert [found[f"t{tenant}-"] for tenant in range(len(numbers))] == known


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(12, 60))
def test_nobody_loses_any_of_an_even_share_and_no_room_is_left_over(numbers: list[int], room: int) -> None:
    origins = ClientOrigins(room)
    origins.set([pair for tenant, number in enumerate(numbers) for pair in some(f"t{tenant}-", number)])
    kept = [sum(origin in origins for origin, _ in some(f"t{tenant}-", number)) for tenant, number in enumerate(numbers)]
    assert len(origins) == sum(kept) <= room
    for number, known in zip(numbers, kept, strict=True):
        assert known >= min(number, room // max(1, len(numbers)))
    if origins.left_out:
        assert room - sum(kept) < len(numbers)
