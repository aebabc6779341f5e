"""So many times a second, and as many at once."""

from __future__ import annotations

from hub.core.rates import FORGOTTEN_AT_ONCE, MAX_KEYS, RateLimit
from tests.world import ManualClock


def test_as_many_at_once_as_in_a_second_and_then_at_that_rate() -> None:
    clock = ManualClock()
    rate = RateLimit(clock, 200)
    assert [rate.allows("a") for _ in range(250)].count(True) == 200
    clock.now += 0.1
    assert [rate.allows("a") for _ in range(250)].count(True) == 20
    clock.now += 60
    assert [rate.allows("a") for _ in range(250)].count(True) == 200


def test_processes_that_share_a_rate_have_a_part_each() -> None:
    clock = ManualClock()
    rates = [RateLimit(clock, 200) for _ in range(4)]
    for rate in rates:
        rate.divide(4)
    assert [[rate.allows("a") for _ in range(250)].count(True) for rate in rates] == [50] * 4
    clock.now += 0.1
    assert [[rate.allows("a") for _ in range(250)].count(True) for rate in rates] == [5] * 4
    for rate in rates[:2]:  # the others have ended
        rate.divide(2)
    clock.now += 60
    assert [[rate.allows("a") for _ in range(250)].count(True) for rate in rates[:2]] == [100] * 2


def test_more_processes_than_actions_a_second_allow_one_each_in_their_time() -> None:
    clock = ManualClock()
    rate = RateLimit(clock, 2)
    rate.divide(10)
    assert [rate.allows("a") for _ in range(3)] == [True, False, False]
    clock.now += 4.9
    assert [rate.allows("a") for _ in range(3)] == [True, False, False]


def test_keys_do_not_share() -> None:
    rate = RateLimit(ManualClock(), 1)
    assert rate.allows("a")
    assert not rate.allows("a")
    assert rate.allows("b")


def test_nothing_is_limited_by_0() -> None:
    rate = RateLimit(ManualClock(), 0)
    assert all(rate.allows("a") for _ in range(10_000))


def test_keys_that_clients_make_up_are_forgotten() -> None:
    clock = ManualClock()
    rate = RateLimit(clock, 1)
    for number in range(3 * MAX_KEYS):
        assert rate.allows(str(number))
    assert len(rate._until) <= MAX_KEYS
    assert not rate.allows(str(3 * MAX_KEYS - 1))
    clock.now += 10
    assert rate.allows("more")
    assert len(rate._until) == 1


def test_room_is_made_for_many_new_keys_at_once() -> None:
    """A walk over all keys at each new one would let a client that makes keys up hold the loop."""
    rate = RateLimit(ManualClock(), 1)
    for number in range(MAX_KEYS):
        assert rate.allows(str(number))
    walks = 0
    for number in range(2 * FORGOTTEN_AT_ONCE):
        before = rate._until
        assert rate.allows(f"new {number}")
        walks += rate._until is not before
    assert walks == 2
    assert not rate.allows(f"new {2 * FORGOTTEN_AT_ONCE - 1}")
