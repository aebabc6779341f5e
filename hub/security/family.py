"""The family ``security``: sign-in, tickets, and the operations for administrators. :class:`hub.security.service.Security` has the gate,
which identifies the callers of all families.
"""

from hub.family import Context, Family, Parts
from hub.security.roles import calls

_TICKETS = (calls("/tickets/write"),)


def _build(context: Context) -> Parts:
    from hub.security.build import build  # imported here: commands that only read settings do not need it

    return build(context)


family = Family(
    "security",
    _build,
    migrations="hub.security.migrations",
    operations={
        "/admin/read": "hear of operational events",
        "/admin/write": "change the state of the server",
        "/metrics/read": "read /metrics on the main port",
        "/tickets/write": "get tickets for browsers' WebSockets and event streams",
    },
    grants=dict.fromkeys(("supervisor", "agent", "dashboard", "viewer"), _TICKETS),
)
