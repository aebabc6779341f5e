"""One endpoint's queue."""

from __future__ import annotations

import random

import pytest

from hub.outbox.delivery_store import Work
from hub.outbox.endpoint_queue import AHEAD, EndpointQueue
from hub.outbox.models import EVERY_ENDPOINT, OutboxEvent
from hub.outbox.timing import DEFAULT


def work(number: int, key: str = "a") -> Work:
    event = OutboxEvent(number, "acme", "thing.started", key, "", "op", "", EVERY_ENDPOINT, b"{}", 0, "")
    return Work(number, "ep_1", 0, 0, event, 60_000)


def empty(limit: int = 2, trip_after: int = 3) -> EndpointQueue:
    """A queue for which the database has nothing."""
    queue = EndpointQueue(limit, trip_after)
    queue.due = None
    return queue


def holding(queue: EndpointQueue, *works: Work) -> EndpointQueue:
    for each in works:
        queue.held += 1
        queue.add(each)
    return queue


def begun(queue: EndpointQueue, now: float = 0) -> list[int]:
    """All that may begin."""
    numbers = []
    while (each := queue.next(now)) is not None:
        numbers.append(each.delivery)
    return numbers


def end(queue: EndpointQueue, key: str) -> None:
    queue.sent()
    queue.over(key)


def test_no_more_at_once_than_its_bound() -> None:
    queue = holding(empty(limit=2), work(1, "a"), work(2, "b"), work(3, "c"))
    assert begun(queue) == [1, 2]
    end(queue, "a")
    assert begun(queue) == [3]
    assert (queue.sending, queue.held) == (2, 2)


def test_the_next_request_does_not_wait_until_an_answer_is_recorded() -> None:
    queue = holding(empty(limit=1), work(1, "a"), work(2, "b"))
    assert begun(queue) == [1]
    queue.sent()
    assert begun(queue) == [2]
    assert (queue.sending, queue.recording) == (1, 1)


def test_very_many_answers_that_are_not_recorded_stop_it() -> None:
    queue = empty(limit=1)
    for number in range(AHEAD + 1):
        holding(queue, work(number, f"k{number}"))
    for _ in range(AHEAD):
        assert queue.next(0) is not None
        queue.sent()
    assert queue.next(0) is None
    queue.over("k0")
    assert queue.next(0) is not None


def test_one_of_a_key_at_a_time_and_in_order() -> None:
    queue = holding(empty(limit=8), work(1, "a"), work(2, "a"), work(3, "b"), work(4, "a"))
    assert begun(queue) == [1, 3]
    queue.sent()
    assert begun(queue) == [], "the first is not recorded yet"
    queue.over("a")
    assert begun(queue) == [2]
    end(queue, "a")
    assert begun(queue) == [4]


def test_what_waits_behind_one_is_let_go() -> None:
    queue = holding(empty(limit=8), work(1, "a"), work(2, "a"), work(3, "b"))
    assert begun(queue) == [1, 3]
    queue.sent()
    assert [each.delivery for each in queue.let_go_behind("a")] == [2]
    queue.over("a")
    assert (begun(queue), queue.held) == ([], 1)


def test_all_but_what_is_under_way_is_let_go() -> None:
    queue = holding(empty(limit=1), work(1, "a"), work(2, "a"), work(3, "b"), work(4, "b"), work(5, "c"))
    assert begun(queue) == [1]
    assert sorted(each.delivery for each in queue.let_go()) == [2, 3, 4, 5]
    assert queue.held == 1
    end(queue, "a")
    assert queue.held == 0
    assert begun(holding(queue, work(6, "b"))) == [6]


def test_a_new_delivery_is_held_where_nothing_is_before_it() -> None:
    queue = empty()
    assert queue.admits(0)
    queue.look_at(5)
    assert not queue.admits(0)


def test_no_more_is_held_than_can_begin_soon() -> None:
    queue = empty(limit=2)
    assert queue.space(0) == 2 * AHEAD
    queue.held = 2 * AHEAD
    assert (queue.space(0), queue.admits(0)) == (0, False)
    queue.held = AHEAD + 1
    assert not queue.wants_more(0), "a look at the database is for many"
    queue.held = AHEAD
    assert queue.wants_more(0)


def test_nothing_is_held_beside_a_look_at_the_database() -> None:
    queue = empty()
    queue.looking = True
    assert not queue.admits(0)


def test_a_new_queue_does_not_know_what_the_database_has() -> None:
    assert not EndpointQueue(2, 3).admits(0)


def test_the_earliest_look_counts() -> None:
    queue = empty()
    queue.look_at(5)
    queue.look_at(9)
    queue.look_at(3)
    assert queue.due == 3


def test_who_does_not_answer_gets_a_probe_now_and_then() -> None:
    queue = empty(limit=8, trip_after=3)
    for _ in range(2):
        queue.silent(0)
    assert (queue.circuit_open, queue.room(0)) == (False, 8)
    queue.silent(0)
    assert (queue.circuit_open, queue.room(0), queue.room(DEFAULT.first_probe_s)) == (True, 0, 1)
    assert (queue.space(0), queue.space(DEFAULT.first_probe_s)) == (0, 1)
    for _ in range(50):
        queue.silent(0)
    assert queue.open_at(0) == DEFAULT.max_probe_s


def test_an_answer_opens_it_again() -> None:
    queue = empty(limit=8, trip_after=1)
    queue.silent(0)
    queue.answered()
    assert (queue.circuit_open, queue.room(DEFAULT.first_probe_s)) == (False, 8)


def test_what_was_known_before_a_restart_holds_until_it_answers() -> None:
    queue = empty(limit=8, trip_after=3)
    queue.restore(5, 30)
    assert (queue.circuit_open, queue.room(29), queue.room(30)) == (True, 0, 1)
    queue.silent(30)
    assert queue.open_at(30) == 30 + 8 * DEFAULT.first_probe_s, "the pauses go on doubling"
    queue.forgive()
    assert (queue.circuit_open, queue.room(0)) == (False, 8)


def test_who_asks_to_be_left_alone_is_left_alone() -> None:
    queue = empty()
    queue.close(60)
    queue.close(30)
    assert (queue.room(59.9), queue.room(60), queue.open_at(10)) == (0, 2, 60)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_keys_keep_their_order_and_the_count_is_right(seed: int) -> None:
    chance = random.Random(seed)
    queue = empty(limit=3)
    under_way: dict[str, int] = {}
    unsent: set[str] = set()
    last: dict[str, int] = {}
    number = 0
    for _ in range(500):
        match chance.choice(["add", "add", "next", "sent", "over", "behind", "all"]):
            case "add" if queue.space(0):
                number += 1
                holding(queue, work(number, chance.choice("abcde")))
            case "next" if (each := queue.next(0)) is not None:
                key = each.event.key
                assert key not in under_way
                assert each.delivery > last.get(key, 0)
                last[key] = under_way[key] = each.delivery
                unsent.add(key)
            case "sent" if unsent:
                key = chance.choice(sorted(unsent))
                unsent.discard(key)
                queue.sent()
            case "over" if under_way.keys() - unsent:
                key = chance.choice(sorted(under_way.keys() - unsent))
                del under_way[key]
                queue.over(key)
            case "behind" if under_way:
                queue.let_go_behind(chance.choice(sorted(under_way)))
            case "all" if chance.random() < 0.1:
                queue.let_go()
                assert queue.held == len(under_way)
        assert queue.sending + queue.recording == len(under_way)
        assert queue.held >= len(under_way)
        assert queue.sending <= 3
