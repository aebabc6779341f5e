"""What interactions put into a hub: their API, the service that follows events, the deadlines, the webhooks' bodies."""

import uuid

from channels.events import EVENT_CONSUMER, EVENT_SINK
from channels.interactions.api import Calls, create_hot_paths, create_router
from channels.interactions.desk import INBOUND_NEW, Desk
from channels.interactions.entities import Entities
from channels.interactions.follower import Follower
from channels.interactions.keeper import Keeper
from channels.interactions.life import State
from channels.interactions.settings import InteractionsSettings
from channels.interactions.store import Interaction
from channels.interactions.teller import CHANNELS, Teller
from hub.family import Context, Parts
from hub.outbox.example import ROLE as EXAMPLE
from hub.outbox.models import ROLE


def build(context: Context) -> Parts:
    """The API, the follower of events, the keeper of deadlines, and what tells of interactions."""
    settings: InteractionsSettings = context.section("interactions")
    desk = Desk(context.outbox, context.hosts.own_url, context.clock, settings.max_user_data_bytes)
    follower = Follower(desk, context.transactions, context.eventlog)

    def example(event_type: str) -> bytes:
        made = Interaction(
            str(uuid.uuid4()), "example", None, settings.media, INBOUND_NEW, State.SUBMITTED, None, None, {}, context.clock.wall_ms()
        )
        return Entities(context.hosts.own_url()).body(event_type, made, str(uuid.uuid4()))

    teller = Teller(context.hub, lambda: next(iter(context.of_role(EVENT_SINK)), None), example)
    calls = Calls(desk, context.transactions, context.hosts, settings)
    return Parts(
        routers=[create_router(calls)],
        hot_paths=create_hot_paths(calls),
        channels=CHANNELS,
        services=[follower, Keeper(desk, context.transactions, context.clock, settings)],
        roles={EVENT_CONSUMER: follower, ROLE: teller, EXAMPLE: teller, "counters": {"interactions": desk.counters}},
    )
