"""What the simulator puts into a hub: a running contact centre."""

from zoneinfo import ZoneInfo

from channels.events import EVENT_SINK
from channels.simulator.runner import Runner
from channels.simulator.settings import SimulatorSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """A runner that sends a simulated day's events, at the pace of the clock."""
    settings: SimulatorSettings = context.section("simulator")
    # the day's totals and the day's curve should turn at one midnight
    zone = settings.zone or getattr(getattr(context.settings, "statistics", None), "zone", None)
    runner = Runner(
        settings=settings,
        eventlog=context.eventlog,
        clock=context.clock,
        zone=ZoneInfo(zone) if zone else None,
        find_sink=lambda: context.of_role(EVENT_SINK)[0],
    )
    return Parts(services=[runner], roles={"counters": {"simulator": runner.counters}}, readiness={"simulator": runner.readiness})
