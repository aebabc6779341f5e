"""The parts that publishing adds to a hub: its API and its metrics."""

from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.publishing.routes import create_router
from hub.publishing.service import PublishService


def build(context: Context) -> Parts:
    """The API of publishing by REST."""
    publisher = PublishService(context.hub, context.redis)
    return Parts(
        routers=[create_router(publisher)],
        counters={"publish": publisher.counters},
        gauges=[Gauge("publish_ids", "Ids of published messages that are remembered.", lambda: publisher.ids)],
    )
