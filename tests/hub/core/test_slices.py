"""What comes by the thousand gives way: timers that are due at once, sessions whose credential is gone."""

from __future__ import annotations

from collections.abc import Iterator

from hub.core.ending import end_revoked, follow
from hub.core.timers import RESOLUTION_S, Timers
from tests.hub.core.harness import Recorder, World, principal
from tests.world import ManualClock


def test_timers_that_are_due_at_once_fire_in_slices() -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[int] = []

    def fire(number: int) -> None:
        fired.append(number)
        clock.now += 0.001

    for number in range(10):
        timers.after(number // 5, lambda number=number: fire(number))  # type: ignore[misc]
    clock.now += 1 + RESOLUTION_S
    assert timers.sweep(clock.now + 0.0025) == 3
    assert timers.overdue
    assert timers.sweep(clock.now) == 1
    sweeps = 0
    while timers.overdue:
        timers.sweep(clock.now + 0.0015)
        sweeps += 1
    assert (fired, len(timers), sweeps) == (list(range(10)), 0, 3)
    timers.after(1, lambda: None)
    assert not timers.overdue


class Slow(Recorder):
    """A session whose end takes 3 ms."""

    def end_revoked(self) -> None:
        assert isinstance(self.hub.clock, ManualClock)
        self.hub.clock.now += 0.003
        self.ended = True


async def test_sessions_whose_credential_is_gone_end_in_slices() -> None:
    world = World()
    sessions = [Slow(world.hub, f"s{number}", principal("ann" if number % 2 else "bob")) for number in range(10)]
    for session in sessions:
        world.hub.sessions.attach(session)
    await end_revoked(world.hub, lambda who: who.subject == "ann")
    assert [session.id for session in sessions if session.ended] == ["s1", "s3", "s5", "s7", "s9"]
    assert world.loop.breaths == 5


async def test_steps_that_take_long_are_taken_in_slices() -> None:
    world = World()
    taken: list[int] = []

    def steps() -> Iterator[None]:
        for number in range(9):
            world.clock.now += 0.0006  # two of them are more than a slice of these, which is a millisecond
            taken.append(number)
            yield

    await follow(world.hub, steps())
    assert (taken, world.loop.breaths) == (list(range(9)), 4)
