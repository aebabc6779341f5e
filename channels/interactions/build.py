"""What interactions put into a hub: their REST API, the consumer of the event log, the publisher, and the retention job."""

import uuid

from channels.events import EVENT_CONSUMERS, EVENT_SINK, INTERACTION_LISTENERS, INTERACTIONS
from channels.interactions.errors import register_errors
from channels.interactions.event_consumer import EventLogConsumer
from channels.interactions.models import Interaction
from channels.interactions.publisher import CHANNELS, InteractionPublisher
from channels.interactions.retention import InteractionRetention
from channels.interactions.routes import Handlers, create_fast_routes, create_router
from channels.interactions.serializers import webhook_body
from channels.interactions.service import INBOUND_NEW, InteractionService
from channels.interactions.settings import InteractionsSettings
from channels.interactions.state_machine import State
from hub.family import Context, Parts


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    register_errors(context.errors)
    settings = context.section("interactions", InteractionsSettings)
    interactions = InteractionService(
        context.outbox,
        context.hosts.own_url,
        context.clock,
        settings.max_user_data_bytes,
        listeners=lambda: context.offered(INTERACTION_LISTENERS),
    )
    consumer = EventLogConsumer(interactions, context.transactions, context.eventlog, leased=context.leased)
    if context.ownership is not None:
        context.ownership.workers.append(consumer)

    def example(event_type: str) -> bytes:
        made = Interaction(
            str(uuid.uuid4()), "example", None, settings.media, INBOUND_NEW, State.SUBMITTED, None, None, {}, context.clock.wall_ms()
        )
        return webhook_body(event_type, made, str(uuid.uuid4()), context.hosts.own_url())

    publisher = InteractionPublisher(context.hub, lambda: next(iter(context.offered(EVENT_SINK)), None), example)
    calls = Handlers(interactions, context.transactions, context.hosts, settings)
    return Parts(
        routers=[create_router(calls)],
        fast_routes=create_fast_routes(calls),
        channels=CHANNELS,
        services=[consumer, InteractionRetention(interactions, context.transactions, context.steady_clock, settings)],
        offers=[EVENT_CONSUMERS.offer(consumer), INTERACTIONS.offer(interactions)],
        outbox_consumers=[publisher],
        examples=[publisher],
        counters={"interactions": interactions.counters},
    )
