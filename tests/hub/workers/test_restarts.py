"""When a process that died is started again."""

from hub.workers.restarts import Restarts


def test_pauses_double_up_to_the_longest() -> None:
    restarts = Restarts(0.2, 5, 5, 60)
    assert [restarts.died(now, now - 1, ready=True) for now in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]


def test_after_a_long_life_the_pauses_begin_anew() -> None:
    restarts = Restarts(0.2, 5, 5, 60)
    restarts.died(10, 0, ready=True)
    assert restarts.died(30, 10.2, ready=True) == 0.4
    assert restarts.died(100, 30.4, ready=True) == 0.2


def test_too_many_deaths_before_it_was_ready_are_the_end() -> None:
    restarts = Restarts(0.2, 5, 3, 60)
    assert restarts.died(0, 0, ready=False) == 0.2
    assert restarts.died(1, 0, ready=True) == 0.4  # was ready: does not count
    assert restarts.died(59, 58, ready=False) == 0.8
    assert restarts.died(61, 60, ready=False) == 1.6  # the first is more than 60 s ago
    assert restarts.died(62, 61, ready=False) is None
