"""One endpoint's lane."""

from hub.outbox.lane import TRIPPED_FIRST_S, TRIPPED_LONGEST_S, Lane


def empty(limit: int = 2, trip_after: int = 3) -> Lane:
    """A lane for which the database has nothing."""
    lane = Lane(limit, trip_after)
    lane.due = None
    return lane


def test_no_more_at_once_than_its_bound() -> None:
    lane = empty(limit=2)
    lane.begin("a")
    assert lane.room(0) == 1
    lane.begin("b")
    assert lane.room(0) == 0
    lane.end("a")
    assert (lane.room(0), lane.under_way) == (1, 1)


def test_a_new_delivery_begins_at_once_where_nothing_is_before_it() -> None:
    lane = empty()
    assert lane.admits("a", 0)
    lane.begin("a")
    assert lane.admits("b", 0)
    assert not lane.admits("a", 0)
    lane.look_at(5)
    assert not lane.admits("b", 0)


def test_nothing_begins_beside_a_look_at_the_database() -> None:
    lane = empty()
    lane.looking = True
    assert not lane.admits("a", 0)


def test_a_new_lane_does_not_know_what_the_database_has() -> None:
    assert not Lane(2, 3).admits("a", 0)


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
    for _ in range(50):
        lane.silent(0)
    assert lane.open_at(0) == TRIPPED_LONGEST_S


def test_an_answer_opens_it_again() -> None:
    lane = empty(limit=8, trip_after=1)
    lane.silent(0)
    lane.answered()
    assert (lane.tripped, lane.room(TRIPPED_FIRST_S)) == (False, 8)


def test_who_asks_to_be_left_alone_is_left_alone() -> None:
    lane = empty()
    lane.close(60)
    lane.close(30)
    assert (lane.room(59.9), lane.room(60), lane.open_at(10)) == (0, 2, 60)


def test_several_of_one_key() -> None:
    """Where an older one was waited for long enough, two of a key are under way."""
    lane = empty()
    lane.begin("a")
    lane.begin("a")
    lane.end("a")
    assert not lane.admits("a", 0)
    lane.end("a")
    assert lane.admits("a", 0)
