"""What the simulator puts into a hub: a running contact centre."""

from zoneinfo import ZoneInfo

from channels.events import EVENT_SINK
from channels.simulator.runner import Runner
from channels.simulator.settings import SimulatorSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """A runner that sends a simulated day's events, at the pace of the clock."""
    settings = context.section("simulator", SimulatorSettings)
    # the day's totals and the day's curve should turn at one midnight
    zone = settings.zone or getattr(getattr(context.settings, "statistics", None), "zone", None)
    runner = Runner(
        settings=settings,
        eventlog=context.eventlog,
        clock=context.clock,
        zone=ZoneInfo(zone) if zone else None,
        find_sink=lambda: context.one(EVENT_SINK),
    )
    return Parts(services=[runner], counters={"simulator": runner.counters}, readiness={"simulator": runner.readiness})
