"""The parts that the audit log adds to a hub."""

from __future__ import annotations

from hub.audit.log import AuditLog
from hub.audit.ports import AUDIT
from hub.audit.retention import AuditRetention
from hub.audit.routes import create_router
from hub.audit.shares import Shares
from hub.audit.writing import AuditWriter
from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.security.secret import signing_secret


def build(context: Context) -> Parts:
    """The log, its API, the jobs that write and trim it, and its metrics."""
    settings = context.settings.audit
    shares = Shares(context.clock, settings)
    audit = AuditLog(signing_secret(context.settings), context.clock.wall_ms, shares)
    return Parts(
        routers=[create_router(context.transactions, audit)],
        services=[
            AuditWriter(context.transactions, audit, shares),
            AuditRetention(context.transactions, context.steady_clock, settings, audit),
        ],
        offers=[AUDIT.offer(audit)],
        counters={"audit": audit.counters},
        gauges=[
            Gauge(
                "audit_waiting",
                "Failed sign-ins, and numbers of what got no row of its own, that wait to be written into the audit log.",
                lambda: len(shares),
            )
        ],
    )
