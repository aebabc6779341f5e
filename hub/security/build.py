"""The parts that security adds to a hub: sign-in and tickets by REST, and ending the sessions of revoked credentials."""

from hub.audit.ports import AUDIT
from hub.audit.sign_ins import SignInLog
from hub.cluster.shares import share_rates
from hub.core.ending import end_revoked, end_unverified
from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.security.directory import Gone
from hub.security.ends import Ends
from hub.security.following import REVOKED
from hub.security.routes import create_router
from hub.security.sign_out import SignOut


def build(context: Context) -> Parts:
    """The API for the gate, and the gate's metrics."""
    hub, gate, tickets = context.hub, context.gate, context.gate.tickets
    audit = context.one(AUDIT)
    ends = Ends(context.transactions, context.clock.wall_ms, audit)

    def end(gone: Gone) -> None:
        """End the sessions of a credential that was removed or has expired."""
        hub.loop.spawn(end_revoked(hub, gone))

    def give_up(unverified: Gone) -> None:
        """End the sessions of credentials of which nobody knows any more whether they are good."""
        hub.loop.spawn(end_unverified(hub, unverified))

    following = gate.following
    gate.on_revoked.append(end)
    following.on_unverified.append(give_up)
    if context.redis is not None:
        hub.signals.listen(REVOKED, following.heard_of_change)
        following.announce = lambda: hub.signals.say(REVOKED)
    if context.cluster is not None:
        from hub.security.tickets_redis import RedisTickets  # imported here: the client of Redis takes time to load

        if isinstance(tickets, RedisTickets):
            tickets.connect(context.cluster.links)
        share_rates(hub.sessions, context.cluster.nodes)
    return Parts(
        routers=[create_router(gate, SignInLog(context.transactions, audit), SignOut(gate, ends, audit))],
        counters={
            "security": gate.directory.counters,
            "decisions": gate.decisions.counters,
            "sign_in_brake": gate.sign_ins.counters,
            "tickets": tickets.counters,
            "signals": hub.signals.counters,
            "token_sign_ins": gate.token_sign_ins.counters,
        },
        gauges=[
            Gauge(
                "credentials_stale_seconds",
                "Seconds since changes of credentials were last read from the database; over `auth.max_stale_s` nobody is let in.",
                lambda: gate.directory.stale_s,
            ),
            Gauge("client_origins", "Origins of OAuth clients that are known.", lambda: len(gate.directory.client_origins)),
            Gauge(
                "client_origins_left_out",
                "Origins of OAuth clients that are not known, since there are more than `limits.max_client_origins`.",
                lambda: gate.directory.client_origins.left_out,
            ),
            Gauge("decisions_remembered", "Decisions on what callers may do that are remembered.", lambda: len(gate.decisions)),
            Gauge("sign_ins_waiting", "Passwords that are being checked, or wait for it.", lambda: len(gate.hashing)),
            Gauge(
                "sign_ins_slowed",
                "Sign-ins that wait before their password is checked, since too many failed for their user.",
                lambda: len(gate.sign_ins.slow),
            ),
            Gauge("sign_ins_ended", "Ended sign-ins of browsers that are remembered.", lambda: gate.directory.sign_ins_ended),
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
