"""Counts of failures, and the addresses that are known."""

from __future__ import annotations

from hub.security.failures import KNOWN_S, FailureCounts, KnownAddresses
from tests.world import ManualClock


def test_so_many_are_let_through_and_the_others_wait_until_the_window_is_over(clock: ManualClock) -> None:
    counts = FailureCounts(clock, 2, 60)
    for expected in (0, 0, 60):
        assert counts.wait_s("a") == expected
        counts.tried("a")
    assert counts.wait_s("b") == 0
    clock.advance(59.9)
    assert counts.wait_s("a") == 1
    clock.advance(0.1)
    assert counts.wait_s("a") == 0
    assert counts.count("a") == 0
    counts.tried("a")
    assert counts.count("a") == 1


def test_what_did_not_fail_is_taken_back_or_forgotten(clock: ManualClock) -> None:
    counts = FailureCounts(clock, 2, 60)
    for _ in range(3):
        counts.tried("a")
        counts.take_back("a")
    assert counts.wait_s("a") == 0
    assert len(counts) == 0
    counts.tried("a")
    counts.tried("a")
    counts.forget("a")
    assert counts.wait_s("a") == 0
    counts.take_back("never tried")
    assert len(counts) == 0


def test_the_count_of_all_nodes_holds_for_the_rest_of_its_window(clock: ManualClock) -> None:
    counts = FailureCounts(clock, 100, 300)
    counts.reached("a", 20)
    assert counts.wait_s("a") == 20
    clock.advance(20)
    assert counts.wait_s("a") == 0


def test_zero_lets_any_number_through(clock: ManualClock) -> None:
    counts = FailureCounts(clock, 0, 60)
    for _ in range(20):
        counts.tried("a")
    assert counts.wait_s("a") == 0


def test_both_are_bounded(clock: ManualClock) -> None:
    counts, known = FailureCounts(clock, 2, 60, max_watched=3), KnownAddresses(clock, max_known=3)
    for number in range(10):
        counts.tried(number)
        known.note("a", "acme", str(number))
    assert len(counts) == len(known) == 3
    assert counts.count(9) == 1
    assert counts.count(0) == 0
    assert known.knows("a", "acme", "9")
    assert not known.knows("a", "acme", "0")


def test_an_address_is_known_for_a_month(clock: ManualClock) -> None:
    known = KnownAddresses(clock)
    known.note("a", "acme", "ana")
    assert known.knows("a", "acme", "ana")
    assert not known.knows("a", "acme", "bob")
    assert not known.knows("b", "acme", "ana")
    clock.advance(KNOWN_S)
    assert not known.knows("a", "acme", "ana")


def test_a_tenant_with_very_many_addresses_makes_no_other_forgotten(clock: ManualClock) -> None:
    known = KnownAddresses(clock, max_known=4)
    known.note("a", "acme", "ana")
    for number in range(20):
        known.note(str(number), "rival", "eve")
    assert len(known) == 4
    assert known.knows("a", "acme", "ana")
    assert [number for number in range(20) if known.knows(str(number), "rival", "eve")] == [17, 18, 19]
    assert not known.knows("a", "rival", "ana")
    known.note("19", "rival", "eve")  # one that is known takes no more room
    assert len(known) == 4
    assert known.knows("17", "rival", "eve")
