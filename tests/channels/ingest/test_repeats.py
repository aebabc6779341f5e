from channels.ingest.repeats import Repeats, key_of


def _repeats(at_most: int = 1000) -> Repeats:
    return Repeats(window_ms=600_000, at_most=at_most)


def test_source_and_id_are_told_apart() -> None:
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("c", "ab"), key_of("abc", "")}) == 4


def test_a_repeat_within_the_window() -> None:
    repeats = _repeats()
    repeats.remember(b"k", 5_000)
    assert repeats.seen(b"k", 5_000)
    assert repeats.seen(b"k", 605_000)
    assert not repeats.seen(b"k", 605_001)
    assert not repeats.seen(b"other", 5_000)


def test_what_left_the_window_is_forgotten() -> None:
    repeats = _repeats()
    repeats.remember(b"old", 5_000)
    repeats.remember(b"new", 400_000)
    assert repeats.forget(700_000) == 0
    assert b"old" not in repeats
    assert b"new" in repeats


def test_nothing_within_the_window_is_forgotten() -> None:
    repeats = _repeats()
    repeats.remember(b"k", 9_999)
    repeats.forget(609_999)
    assert repeats.seen(b"k", 609_999)


def test_one_that_came_again_after_its_time_is_kept() -> None:
    repeats = _repeats()
    repeats.remember(b"k", 0)
    repeats.remember(b"k", 600_001)
    repeats.forget(620_000)
    assert repeats.seen(b"k", 620_000)


def test_over_the_bound_the_oldest_go_early() -> None:
    repeats = _repeats(at_most=2)
    for number in range(4):
        repeats.remember(b"%d" % number, number * 10_000)
    assert repeats.forget(30_000) == 2
    assert len(repeats) == 2
    assert b"3" in repeats
    assert b"0" not in repeats
