"""One endpoint's lane."""

from __future__ import annotations

import random

import pytest

from hub.outbox.delivery_store import Work
from hub.outbox.lane import AHEAD, TRIPPED_FIRST_S, TRIPPED_LONGEST_S, Lane
from hub.outbox.model import EVERY_ENDPOINT, OutboxEvent


def work(number: int, key: str = "a") -> Work:
    event = OutboxEvent(number, "acme", "thing.started", key, "", "op", "", EVERY_ENDPOINT, b"{}", 0, "")
    return Work(number, "ep_1", 0, 0, event, 60_000)


def empty(limit: int = 2, trip_after: int = 3) -> Lane:
    """A lane for which the database has nothing."""
    lane = Lane(limit, trip_after)
    lane.due = None
    return lane


def holding(lane: Lane, *works: Work) -> Lane:
    for each in works:
        lane.held += 1
        lane.add(each)
    return lane


def begun(lane: Lane, now: float = 0) -> list[int]:
    """All that may begin."""
    numbers = []
    while (each := lane.next(now)) is not None:
        numbers.append(each.delivery)
    return numbers


def end(lane: Lane, key: str) -> None:
    lane.sent()
    lane.over(key)


def test_no_more_at_once_than_its_bound() -> None:
    lane = holding(empty(limit=2), work(1, "a"), work(2, "b"), work(3, "c"))
    assert begun(lane) == [1, 2]
    end(lane, "a")
    assert begun(lane) == [3]
    assert (lane.sending, lane.held) == (2, 2)


def test_the_next_request_does_not_wait_until_an_answer_is_recorded() -> None:
    lane = holding(empty(limit=1), work(1, "a"), work(2, "b"))
    assert begun(lane) == [1]
    lane.sent()
    assert begun(lane) == [2]
    assert (lane.sending, lane.recording) == (1, 1)


def test_very_many_answers_that_are_not_recorded_stop_it() -> None:
    lane = empty(limit=1)
    for number in range(AHEAD + 1):
        holding(lane, work(number, f"k{number}"))
    for _ in range(AHEAD):
        assert lane.next(0) is not None
        lane.sent()
    assert lane.next(0) is None
    lane.over("k0")
    assert lane.next(0) is not None


def test_one_of_a_key_at_a_time_and_in_order() -> None:
    lane = holding(empty(limit=8), work(1, "a"), work(2, "a"), work(3, "b"), work(4, "a"))
    assert begun(lane) == [1, 3]
    lane.sent()
    assert begun(lane) == [], "the first is not recorded yet"
    lane.over("a")
    assert begun(lane) == [2]
    end(lane, "a")
    assert begun(lane) == [4]


def test_what_waits_behind_one_is_let_go() -> None:
    lane = holding(empty(limit=8), work(1, "a"), work(2, "a"), work(3, "b"))
    assert begun(lane) == [1, 3]
    lane.sent()
    assert [each.delivery for each in lane.let_go_behind("a")] == [2]
    lane.over("a")
    assert (begun(lane), lane.held) == ([], 1)


def test_all_but_what_is_under_way_is_let_go() -> None:
    lane = holding(empty(limit=1), work(1, "a"), work(2, "a"), work(3, "b"), work(4, "b"), work(5, "c"))
    assert begun(lane) == [1]
    assert sorted(each.delivery for each in lane.let_go()) == [2, 3, 4, 5]
    assert lane.held == 1
    end(lane, "a")
    assert lane.held == 0
    assert begun(holding(lane, work(6, "b"))) == [6]


def test_a_new_delivery_is_held_where_nothing_is_before_it() -> None:
    lane = empty()
    assert lane.admits(0)
    lane.look_at(5)
    assert not lane.admits(0)


def test_no_more_is_held_than_can_begin_soon() -> None:
    lane = empty(limit=2)
    assert lane.space(0) == 2 * AHEAD
    lane.held = 2 * AHEAD
    assert (lane.space(0), lane.admits(0)) == (0, False)
    lane.held = AHEAD + 1
    assert not lane.wants_more(0), "a look at the database is for many"
    lane.held = AHEAD
    assert lane.wants_more(0)


def test_nothing_is_held_beside_a_look_at_the_database() -> None:
    lane = empty()
    lane.looking = True
    assert not lane.admits(0)


def test_a_new_lane_does_not_know_what_the_database_has() -> None:
    assert not Lane(2, 3).admits(0)


def test_the_earliest_look_counts() -> None:
    lane = empty()
    lane.look_at(5)
    lane.look_at(9)
    lane.look_at(3)
    assert lane.due == 3


def test_who_does_not_answer_gets_a_probe_now_and_then() -> None:
    lane = empty(limit=8, trip_after=3)
    for _ in range(2):
        lane.silent(0)
    assert (lane.tripped, lane.room(0)) == (False, 8)
    lane.silent(0)
    assert (lane.tripped, lane.room(0), lane.room(TRIPPED_FIRST_S)) == (True, 0, 1)
    assert (lane.space(0), lane.space(TRIPPED_FIRST_S)) == (0, 1)
    for _ in range(50):
        lane.silent(0)
    assert lane.open_at(0) == TRIPPED_LONGEST_S


def test_an_answer_opens_it_again() -> None:
    lane = empty(limit=8, trip_after=1)
    lane.silent(0)
    lane.answered()
    assert (lane.tripped, lane.room(TRIPPED_FIRST_S)) == (False, 8)


def test_what_was_known_before_a_restart_holds_until_it_answers() -> None:
    lane = empty(limit=8, trip_after=3)
    lane.restore(5, 30)
    assert (lane.tripped, lane.room(29), lane.room(30)) == (True, 0, 1)
    lane.silent(30)
    assert lane.open_at(30) == 30 + 8 * TRIPPED_FIRST_S, "the pauses go on doubling"
    lane.forgive()
    assert (lane.tripped, lane.room(0)) == (False, 8)


def test_who_asks_to_be_left_alone_is_left_alone() -> None:
    lane = empty()
    lane.close(60)
    lane.close(30)
    assert (lane.room(59.9), lane.room(60), lane.open_at(10)) == (0, 2, 60)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_keys_keep_their_order_and_the_count_is_right(seed: int) -> None:
    chance = random.Random(seed)
    lane = empty(limit=3)
    under_way: dict[str, int] = {}
    unsent: set[str] = set()
    last: dict[str, int] = {}
    number = 0
    for _ in range(500):
        match chance.choice(["add", "add", "next", "sent", "over", "behind", "all"]):
            case "add" if lane.space(0):
                number += 1
                holding(lane, work(number, chance.choice("abcde")))
            case "next" if (each := lane.next(0)) is not None:
                key = each.event.key
                assert key not in under_way
                assert each.delivery > last.get(key, 0)
                last[key] = under_way[key] = each.delivery
                unsent.add(key)
            case "sent" if unsent:
                key = chance.choice(sorted(unsent))
                unsent.discard(key)
                lane.sent()
            case "over" if under_way.keys() - unsent:
                key = chance.choice(sorted(under_way.keys() - unsent))
                del under_way[key]
                lane.over(key)
            case "behind" if under_way:
                lane.let_go_behind(chance.choice(sorted(under_way)))
            case "all" if chance.random() < 0.1:
                lane.let_go()
                assert lane.held == len(under_way)
        assert lane.sending + lane.recording == len(under_way)
        assert lane.held >= len(under_way)
        assert lane.sending <= 3
