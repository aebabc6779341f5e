"""What event ingestion puts into a hub: the sequencer and ``POST /ingest/v1/events``."""

from channels.events import EVENT_CONSUMERS, EVENT_SINK
from channels.ingest import routes, schemas
from channels.ingest.sequencer import Sequencer
from channels.ingest.settings import IngestSettings
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """The sequencer and the API that feeds it."""
    settings = context.section("ingest", IngestSettings)
    sequencer = Sequencer(
        eventlog=context.eventlog,
        clock=context.clock,
        loop=context.hub.loop,
        find_consumers=lambda: context.offered(EVENT_CONSUMERS),
        repeats_s=settings.repeats_s,
        repeats_max=settings.repeats_max,
    )
    ingest = routes.Ingest(sequencer=sequencer, settings=settings, clock=context.clock, loop=context.hub.loop)
    return Parts(
        routers=[routes.create_router(ingest), schemas.router],
        open_routes=schemas.open_routes(),
        services=[sequencer],
        offers=[EVENT_SINK.offer(sequencer)],
        counters={"ingest": sequencer.counters},
    )
