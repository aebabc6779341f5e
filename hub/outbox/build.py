"""What the outbox adds to a hub: the recorder of events, the delivery of webhooks, their API and metrics."""

from hub.audit.ports import AUDIT
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.metric import Gauge, Latency
from hub.family import Context, Parts
from hub.outbox.administration import EndpointTerms
from hub.outbox.deferred_sender import DeferredSender
from hub.outbox.example import Example, Examples, GenericExample
from hub.outbox.guard import Guard
from hub.outbox.models import RECORDER
from hub.outbox.operations import CHANNEL
from hub.outbox.routes import create_router, register_errors
from hub.outbox.service import Outbox


def build(context: Context) -> Parts:
    """Build the outbox, in which families record events, and the API of its endpoints and deliveries."""
    register_errors(context.errors)
    settings, clock = context.settings.outbox, context.clock
    guard = Guard(settings.allowed_networks, settings.https_only)
    sender = DeferredSender(guard, clock, settings)
    outbox = Outbox(
        transactions=context.transactions,
        hub=context.hub,
        clock=clock,
        steady=context.steady_clock,
        loop=context.hub.loop,
        settings=settings,
        sender=sender,
        consumers=lambda: [consumer for part in context.parts for consumer in part.outbox_consumers],
        alone=context.alone,
        owner=context.hub.incarnation,
    )

    def examples() -> dict[str, Example]:
        """The examples that families offer, by event type."""
        offered = [example for part in context.parts for example in part.examples] or [GenericExample()]
        return {event_type: example for example in offered for event_type in example.example_types}

    terms = EndpointTerms(guard, clock, settings, outbox.save_endpoint, outbox.remove_endpoint)
    shown = Examples(sender, clock, settings.timeout_s, examples, settings.examples)
    return Parts(
        routers=[create_router(outbox, terms, context.one(AUDIT), shown, clock, context.webhook_types)],
        channels=[ChannelDeclaration(CHANNEL, DeliveryClass.LOG, "operational events, for administrators", operation="/admin/read")],
        late_services=[sender, outbox],
        offers=[RECORDER.offer(outbox)],
        counters={"outbox": outbox.counters},
        gauges=_gauges(outbox),
        latencies=[
            Latency(
                "outbox_delivery_latency_seconds",
                "Time from recording an event to the answer by which a webhook endpoint took it, retries included.",
                outbox.worker.latency,
            )
        ],
    )


def _gauges(outbox: Outbox) -> list[Gauge]:
    worker = outbox.worker
    return [
        Gauge("outbox_under_way", "Webhook requests that are under way.", lambda: worker.under_way),
        Gauge("outbox_in_line", "Endpoints that wait for a place among all webhook requests.", lambda: worker.in_line),
        Gauge("outbox_held", "Deliveries that are held in memory until their request begins.", lambda: worker.held),
        Gauge("outbox_tripped", "Endpoints that do not answer and get one probe at a time.", lambda: worker.circuits_open),
        Gauge("outbox_pending", "Webhook deliveries that wait, when last counted.", lambda: outbox.waiting[0]),
        Gauge("outbox_undispatched", "Events that no delivery was made of yet, when last counted.", lambda: outbox.waiting[1]),
    ]
