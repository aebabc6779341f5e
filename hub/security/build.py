"""The parts that security adds to a hub: sign-in and tickets by REST, and ending the sessions of revoked credentials."""

from hub.cluster.shares import share_rates
from hub.core.ending import end_revoked
from hub.core.metric import Gauge
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
    if context.cluster is not None:
        from hub.security.tickets_redis import RedisTickets  # imported here: the client of Redis takes time to load

        if isinstance(tickets, RedisTickets):
            tickets.connect(context.cluster.links)
        share_rates(hub.sessions, context.cluster.nodes)
    return Parts(
        routers=[create_router(gate)],
        counters={"security": gate.directory.counters, "sign_in_brake": gate.sign_ins.counters, "tickets": tickets.counters},
        gauges=[
            Gauge("sign_ins_waiting", "Passwords that are being checked, or wait for it.", lambda: len(gate.hashing)),
            Gauge(
                "tickets_waiting",
                "Tickets that wait to be used; over Redis those that this node gave out within 30 s.",
                lambda: len(tickets),
            ),
            Gauge(
                "tickets_resumable",
                "Streams that ended, here where nodes share tickets, and that their ticket may open again.",
                lambda: tickets.resumable,
            ),
        ],
    )
