"""What the simulator adds to a hub: a service that simulates a contact centre."""

from zoneinfo import ZoneInfo

from channels.events import EVENT_SINK
from channels.simulator.runner import TENANT, Runner
from channels.simulator.settings import SimulatorSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """Build the runner, which sends the events of a simulated centre in real time."""
    settings = context.section("simulator", SimulatorSettings)
    ownership = context.ownership
    if ownership is not None and not context.leased and not ownership.serves(TENANT):
        return Parts()  # the first worker of this machine simulates
    # the totals of the statistics and the simulated day should begin at the same midnight
    zone = settings.zone or getattr(getattr(context.settings, "statistics", None), "zone", None)
    runner = Runner(
        settings=settings,
        eventlog=context.eventlog,
        clock=context.clock,
        zone=ZoneInfo(zone) if zone else None,
        find_sink=lambda: context.one(EVENT_SINK),
        leased=ownership if context.leased else None,
    )
    return Parts(services=[runner], counters={"simulator": runner.counters}, readiness={"simulator": runner.readiness})
