"""Topics to subscribers; deadlines on a wheel."""

from __future__ import annotations

import random

import pytest

from hub.core.message import Topic
from hub.core.router import Router
from hub.core.timers import RESOLUTION_S, Timers
from tests.world import ManualClock


def topic(channel: str, audience: str = "", tenant: str = "t") -> Topic:
    return Topic(tenant, audience, channel)


def matched(router: Router[str], wanted: Topic) -> list[str]:
    members = router.match(wanted)
    return [] if members is None else list(members.subscribers)


def test_first_and_last_subscriber_are_told() -> None:
    router: Router[str] = Router()
    assert [router.add(topic("/a"), name) for name in ("x", "y", "x")] == [True, False, False]
    assert [router.remove(topic("/a"), name) for name in ("x", "x", "y", "y")] == [False, False, True, False]
    assert len(router) == 0


@pytest.mark.parametrize(
    ("pattern", "reached"),
    [("/a/b", True), ("/a/*", True), ("/a/**", True), ("/**", True), ("/a", False), ("/*", False), ("/a/b/**", False), ("/a/c", False)],
)
def test_patterns(pattern: str, reached: bool) -> None:
    router: Router[str] = Router()
    router.add(topic(pattern), "x")
    assert matched(router, topic("/a/b")) == (["x"] if reached else [])


def test_each_subscriber_once() -> None:
    router: Router[str] = Router()
    for pattern in ("/a", "/*", "/**"):
        router.add(topic(pattern), "x")
    router.add(topic("/**"), "y")
    assert sorted(matched(router, topic("/a"))) == ["x", "y"]


def test_the_answer_of_several_patterns_is_kept_until_somebody_comes_or_goes() -> None:
    router: Router[str] = Router()
    router.add(topic("/a"), "x")
    router.add(topic("/*"), "y")
    found = router.match(topic("/a"))
    assert found is not None
    assert router.match(topic("/a")) is found
    router.add(topic("/**"), "z")
    assert matched(router, topic("/a")) == ["x", "y", "z"]
    router.remove(topic("/*"), "y")
    assert matched(router, topic("/a")) == ["x", "z"]
    assert list(found.subscribers) == ["x", "y"], "what a fan-out has under way stays as it is"
    router.remove(topic("/**"), "z")
    assert matched(router, topic("/a")) == ["x"]


def kept(router: Router[str]) -> int:
    return sum(1 + len(members.subscribers) for kind in (router._merged, router._reached) for members in kind.values())


def test_answers_are_kept_in_bounds_however_many_subscribers_they_have() -> None:
    router: Router[str] = Router(max_kept=100)
    for number in range(20):
        router.add(topic("/*"), f"s{number}")
    router.add(topic("/**"), "x")
    router.add(topic("/a", "ann"), "own")
    for number in range(30):
        assert len(matched(router, topic(f"/n{number}"))) == 21
        assert list(router.match_logins("t", "/a", ("ann", f"n{number}")).subscribers) == ["own"]
        assert 0 < kept(router) == router._kept <= 100
    for number in range(200):
        router.add(topic("/*"), f"t{number}")
    assert kept(router) == router._kept == 0
    assert len(matched(router, topic("/a"))) == 221, "too large to be kept"
    assert kept(router) == 0


def test_several_logins_together_until_somebody_comes_or_goes() -> None:
    router: Router[str] = Router()
    router.add(topic("/a", "ann"), "x")
    router.add(topic("/*", "bob"), "y")
    router.add(topic("/a", "bob"), "y")
    router.add(topic("/a", "eve"), "z")
    router.add(topic("/a", "ann", tenant="u"), "other")
    found = router.match_logins("t", "/a", ("ann", "bob", "nobody"))
    assert list(found.subscribers) == ["x", "y"]
    assert router.match_logins("t", "/a", ("ann", "bob", "nobody")) is found
    assert list(router.match_logins("t", "/b", ("ann", "bob")).subscribers) == ["y"]
    router.add(topic("/a", "nobody"), "n")
    assert list(router.match_logins("t", "/a", ("ann", "bob", "nobody")).subscribers) == ["x", "y", "n"]
    router.remove(topic("/a", "ann"), "x")
    assert list(router.match_logins("t", "/a", ("ann", "bob", "nobody")).subscribers) == ["y", "n"]
    assert list(found.subscribers) == ["x", "y"], "what a fan-out has under way stays as it is"


def test_tenants_and_audiences_are_apart() -> None:
    router: Router[str] = Router()
    router.add(topic("/**"), "all")
    router.add(topic("/**", audience="login"), "one")
    router.add(topic("/**", tenant="u"), "other")
    assert matched(router, topic("/a")) == ["all"]
    assert matched(router, topic("/a", audience="login")) == ["one"]


def test_the_version_rises_with_each_change() -> None:
    router: Router[str] = Router()
    router.add(topic("/a"), "x")
    members = router.match(topic("/a"))
    assert members is not None
    versions = [members.version]
    for change in (router.add, router.remove):
        change(topic("/a"), "y")
        versions.append(members.version)
    assert versions == sorted(set(versions))
    assert router.match(topic("/a")) is members


def test_topics() -> None:
    router: Router[str] = Router()
    router.add(topic("/a"), "x")
    assert (list(router.topics()), router.count(topic("/a"))) == ([topic("/a")], 1)


# -- timers -------------------------------------------------------------------------------------------------------------


def test_timer_fires_after_its_time_never_before() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[str] = []
    timers.after(1, lambda: fired.append("x"))
    clock.now += 0.999
    assert (timers.sweep(), fired) == (0, [])
    clock.now += RESOLUTION_S + 0.001
    assert (timers.sweep(), fired, len(timers)) == (1, ["x"], 0)


@pytest.mark.parametrize("seconds", [0, -5])
def test_timer_that_is_due_fires_in_the_next_sweep(seconds: float) -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[str] = []
    timers.after(seconds, lambda: fired.append("x"))
    assert fired == []
    clock.now += 2 * RESOLUTION_S
    timers.sweep()
    assert fired == ["x"]


def test_order_is_that_of_the_deadlines() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[float] = []
    deadlines = [number / 2 for number in range(20)]
    for deadline in random.Random(1).sample(deadlines, 20):
        timers.after(deadline, lambda at=deadline: fired.append(at))  # type: ignore[misc]
    clock.now += 60
    assert timers.sweep() == 20
    assert fired == deadlines


def test_cancelled_timer_does_not_fire() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    timer = timers.after(1, lambda: pytest.fail("cancelled"))
    timers.cancel(timer)
    timers.cancel(timer)
    clock.now += 5
    assert (timers.sweep(), len(timers)) == (0, 0)


def test_callback_may_cancel_another_of_the_same_moment() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    second = []
    timers.after(1, lambda: timers.cancel(second[0]))
    second.append(timers.after(1, lambda: pytest.fail("cancelled")))
    clock.now += 5
    assert timers.sweep() == 1


def test_callback_may_set_another() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[str] = []
    timers.after(1, lambda: timers.after(0, lambda: fired.append("x")))
    clock.now += 5
    timers.sweep()
    assert fired == []
    clock.now += 2 * RESOLUTION_S
    timers.sweep()
    assert fired == ["x"]


def test_fault_of_one_callback_leaves_the_others_set() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[str] = []

    def fault() -> None:
        raise KeyError("x")

    timers.after(1, fault)
    timers.after(1, lambda: fired.append("same moment"))
    timers.after(2, lambda: fired.append("later"))
    clock.now += 5
    with pytest.raises(KeyError):
        timers.sweep()
    timers.sweep()
    assert fired == ["same moment", "later"]
