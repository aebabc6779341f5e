"""Events a second that the statistics engine takes, from the simulator, beside the least that Python itself needs for an event.

The machine's limit is a loop that only finds the event's object in a dictionary and counts it: no engine in Python can be faster.
"""

from __future__ import annotations

import argparse
import time
from zoneinfo import ZoneInfo

from channels.events import Event
from channels.simulator.centre import demo_centre
from channels.simulator.model import Model
from channels.statistics.engine.engine import Engine
from channels.statistics.engine.library import names

MIDNIGHT_MS = 1_790_000_000_000 // 86_400_000 * 86_400_000
HOUR_MS = 3_600_000


def recorded(agents: int, hours: float) -> list[Event]:
    """Return the events of a simulated contact centre over some hours."""
    model = Model(demo_centre(agents), seed=1, start_ms=MIDNIGHT_MS, midnight_ms=MIDNIGHT_MS)
    return list(model.run_until(MIDNIGHT_MS + round(hours * HOUR_MS)))


def open_statistics(engine: Engine, events: list[Event]) -> int:
    """Open every predefined statistic of every object that the events name. Returns their number."""
    first = Engine(zone=ZoneInfo("UTC"), now_ms=MIDNIGHT_MS)
    for event in events:
        first.apply(event)
    count = 0
    for entry in names():
        for object_type in entry.objects:
            for identifier in first.objects(object_type):
                opened = entry.opened[object_type]
                engine.open(opened.definition, object_type, identifier)
                count += 1
    return count


def apply_all(engine: Engine, events: list[Event]) -> tuple[float, float, int]:
    """Apply the events, and once a simulated second compute what has changed, as the stat server's tick does.

    Returns the seconds that the events took, the seconds that the values took, and how many values there were.
    """
    began = time.perf_counter()
    tick, values_s, values = events[0].time_ms, 0.0, 0
    for event in events:
        engine.apply(event)
        if event.time_ms >= tick:
            tick = event.time_ms + 1000
            paused = time.perf_counter()
            changed = engine.take_changed()
            for statistic in changed:
                engine.value(statistic)
            values += len(changed)
            values_s += time.perf_counter() - paused
    return time.perf_counter() - began - values_s, values_s, values


def count_only(events: list[Event]) -> float:
    """Return the seconds that it takes to find the object of each event in a dictionary and to count it."""
    counts: dict[str, int] = {}
    began = time.perf_counter()
    for event in events:
        kind = event.type
        counts[kind] = counts.get(kind, 0) + 1
    return time.perf_counter() - began


def main() -> None:
    """Run with and without open statistics, and print both beside the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--hours", type=float, default=8.0)
    given = parser.parse_args()
    events = recorded(given.agents, given.hours)
    idle = Engine(zone=ZoneInfo("UTC"), now_ms=MIDNIGHT_MS)
    idle_s, _, _ = apply_all(idle, events)
    watched = Engine(zone=ZoneInfo("UTC"), now_ms=MIDNIGHT_MS)
    statistics = open_statistics(watched, events)
    watched_s, values_s, values = apply_all(watched, events)
    print(f"statistics engine: {len(events):,} events, {given.agents} agents in {given.hours:g} simulated hours")
    print(row("no statistic open", len(events), idle_s, "events"))
    print(row(f"{statistics:,} statistics open", len(events), watched_s, "events"))
    print(row("the values that changed", values, values_s, "values"))
    print(row("machine's limit", len(events), count_only(events), "events"))


def row(what: str, number: int, seconds: float, unit: str) -> str:
    """Print one line: events per second, and the time of one event."""
    return f"  {what:<24} {number / seconds:>12,.0f} {unit}/s  {seconds / number * 1e6:8.2f} us each"


if __name__ == "__main__":
    main()
