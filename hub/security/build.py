"""The parts that security adds to a hub: sign-in and tickets by REST, and ending the sessions of revoked credentials."""

from hub.core.ending import end_revoked
from hub.core.metric import Count, Gauge
from hub.family import Context, Parts
from hub.security.directory import Gone
from hub.security.routes import create_router


def build(context: Context) -> Parts:
    """The API for the gate, and the gate's metrics."""
    hub, gate, tickets = context.hub, context.gate, context.gate.tickets

    def end(gone: Gone) -> None:
        """End the sessions of a credential that was removed or has expired."""
        hub.loop.spawn(end_revoked(hub, gone))

    gate.on_revoked.append(end)
    return Parts(
        routers=[create_router(gate)],
        counters={"security": gate.directory.counters},
        gauges=[
            Gauge("tickets_waiting", "Tickets that wait to be used.", lambda: len(tickets)),
            Gauge("tickets_resumable", "Streams that ended and that their ticket may open again.", lambda: tickets.resumable),
        ],
        counts=[
            Count("tickets_refused", "Tickets that were not given out because as many waited as may.", lambda: tickets.refused),
            Count(
                "tickets_forgotten", "Streams that may not be opened again because too many ended after them.", lambda: tickets.forgotten
            ),
            Count("tickets_resumed", "Times that a ticket opened its stream again.", lambda: tickets.resumed),
        ],
    )
