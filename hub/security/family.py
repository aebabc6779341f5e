"""The family ``security``: who may call. Its gate stands before all families, in :class:`hub.security.service.Security`."""

from hub.family import Context, Family, Parts
from hub.security.roles import calls

_TICKETS = (calls("/tickets/write"),)


def _build(context: Context) -> Parts:
    from hub.security.build import build  # commands that read settings alone need none of this

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
