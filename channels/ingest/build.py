"""What event ingestion adds to a hub: the sequencer and ``POST /ingest/v1/events``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.events import EVENT_CONSUMERS, EVENT_SINK, EventSink
from channels.ingest.relayed import OwnersSink
from channels.ingest.routes import create_router, open_routes, register_errors
from channels.ingest.sequencer import Sequencer
from channels.ingest.service import Ingest
from channels.ingest.settings import IngestSettings
from hub.family import Context, Parts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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
        ownership=context.ownership,
        leased=context.leased,
    )
    sink: EventSink = sequencer
    counters: dict[str, DataclassInstance] = {"ingest": sequencer.counters}
    if context.cluster is not None and context.ownership is not None:
        context.ownership.workers.append(sequencer)
        sink = owners = OwnersSink(
            sequencer,
            cluster=context.cluster,
            ownership=context.ownership,
            clock=context.clock,
            loop=context.hub.loop,
            answer_s=settings.answer_s,
        )
        counters["ingest_relayed"] = owners.counters
    ingest = Ingest(sink=sink, counters=sequencer.counters, settings=settings, clock=context.clock, loop=context.hub.loop)
    return Parts(
        routers=[create_router(ingest)],
        open_routes=open_routes(),
        services=[sequencer],
        offers=[EVENT_SINK.offer(sink)],
        counters=counters,
    )
