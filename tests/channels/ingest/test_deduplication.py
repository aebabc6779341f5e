from channels.ingest.deduplication import Deduplicator, key_of


def _deduplicator(at_most: int = 1000) -> Deduplicator:
    return Deduplicator(window_ms=600_000, at_most=at_most)


def test_source_and_id_are_told_apart() -> None:
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("c", "ab"), key_of("abc", "")}) == 4


def test_a_repeat_within_the_window() -> None:
    deduplicator = _deduplicator()
    deduplicator.remember(b"k", 5_000)
    assert deduplicator.seen(b"k", 5_000)
    assert deduplicator.seen(b"k", 605_000)
    assert not deduplicator.seen(b"k", 605_001)
    assert not deduplicator.seen(b"other", 5_000)


def test_what_left_the_window_is_forgotten() -> None:
    deduplicator = _deduplicator()
    deduplicator.remember(b"old", 5_000)
    deduplicator.remember(b"new", 400_000)
    assert deduplicator.forget(700_000) == 0
    assert b"old" not in deduplicator
    assert b"new" in deduplicator


def test_nothing_within_the_window_is_forgotten() -> None:
    deduplicator = _deduplicator()
    deduplicator.remember(b"k", 9_999)
    deduplicator.forget(609_999)
    assert deduplicator.seen(b"k", 609_999)


def test_one_that_came_again_after_its_time_is_kept() -> None:
    deduplicator = _deduplicator()
    deduplicator.remember(b"k", 0)
    deduplicator.remember(b"k", 600_001)
    deduplicator.forget(620_000)
    assert deduplicator.seen(b"k", 620_000)


def test_over_the_bound_the_oldest_go_early() -> None:
    deduplicator = _deduplicator(at_most=2)
    for number in range(4):
        deduplicator.remember(b"%d" % number, number * 10_000)
    assert deduplicator.forget(30_000) == 2
    assert len(deduplicator) == 2
    assert b"3" in deduplicator
    assert b"0" not in deduplicator
