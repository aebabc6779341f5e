"""Events in: ``POST /ingest/v1/events``, the schemas of the events, ``hub feed``."""

from channels.events import EVENT_CONSUMER, EVENT_SINK
from channels.ingest import api, schemas
from channels.ingest.cli import register
from channels.ingest.sequencer import Sequencer
from channels.ingest.settings import IngestSettings
from hub.family import Context, Family, Parts


def _build(context: Context) -> Parts:
    settings: IngestSettings = context.section("ingest")
    sequencer = Sequencer(
        eventlog=context.eventlog,
        clock=context.clock,
        find_consumers=lambda: context.of_role(EVENT_CONSUMER),
        repeats_s=settings.repeats_s,
        repeats_max=settings.repeats_max,
    )
    ingest = api.Ingest(sequencer=sequencer, settings=settings, clock=context.clock)
    return Parts(
        routers=[api.make_router(ingest), schemas.router],
        open_paths=schemas.open_paths(),
        services=[sequencer],
        roles={EVENT_SINK: sequencer, "counters": {"ingest": sequencer.counters}},
    )


family = Family("ingest", _build, settings=IngestSettings, commands=register)
