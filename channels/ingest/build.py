"""What event ingestion adds to a hub: the sequencer and ``POST /ingest/v1/events``."""

from channels.events import EVENT_CONSUMERS, EVENT_SINK
from channels.ingest.routes import create_router, open_routes, register_errors
from channels.ingest.sequencer import Sequencer
from channels.ingest.service import Ingest
from channels.ingest.settings import IngestSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """Build the sequencer, and the API that passes events to it."""
    settings = context.section("ingest", IngestSettings)
    register_errors(context.errors)
    sequencer = Sequencer(
        eventlog=context.eventlog,
        clock=context.clock,
        loop=context.hub.loop,
        find_consumers=lambda: context.offered(EVENT_CONSUMERS),
        repeats_s=settings.repeats_s,
        repeats_max=settings.repeats_max,
    )
    ingest = Ingest(sequencer=sequencer, settings=settings, clock=context.clock, loop=context.hub.loop)
    return Parts(
        routers=[create_router(ingest)],
        open_routes=open_routes(),
        services=[sequencer],
        offers=[EVENT_SINK.offer(sequencer)],
        counters={"ingest": sequencer.counters},
    )
