"""Adds operations to the tenants' own roles. From this version on, subscribing to interactions and statistics and stopping the stat server
need operations that they did not need before.

A role with channels of interactions or statistics can subscribe to them as before, and one that could stop the stat server still can. No
role gains ``/messaging/read``: only roles that may read texts of messages by REST can subscribe to them. Each changed role is logged.
"""

import json

import structlog

from hub.core.channels import lies_within, overlaps
from hub.storage.schema import Schema

revision = "security_0002"
after = ("security_0001",)

GAINED = {
    "/interactions/events": ("/nexus/v3/interactions", "/nexus/v3/interactions/*"),
    "/statistics/read": ("/statistics/v3/updates", "/statistics/v3/service", "/statistics/v3/values/**"),
    "/statistics/control": (),
}
"""By operation: the channels whose subscribers need it."""

MOVED = {"/statistics/control": "/admin/write", "/statistics/read": "/admin/read"}
"""By operation: the operation that its routes needed before this version."""

_log = structlog.get_logger(__name__)


def _hears(grant: dict, channel: str) -> bool:  # type: ignore[type-arg]
    """Whether a stored grant allows subscribing to at least a part of the channels that a pattern matches."""
    if grant["action"] != "subscribe":
        return False
    return any(overlaps(channel, pattern) for pattern in grant["within"]) and not any(
        lies_within(channel, pattern) for pattern in grant.get("without", ())
    )


def _may_call(grant: dict, operation: str) -> bool:  # type: ignore[type-arg]
    return (
        grant["action"] == "call"
        and any(lies_within(operation, pattern) for pattern in grant["within"])
        and not any(overlaps(operation, pattern) for pattern in grant.get("without", ()))
    )


def _calls(grants: list[dict], operation: str | None) -> bool:  # type: ignore[type-arg]
    return operation is not None and any(_may_call(grant, operation) for grant in grants)


def _missing(grants: list[dict]) -> list[str]:  # type: ignore[type-arg]
    """The operations that a role needs in order to do what it could do before."""
    return [
        operation
        for operation, channels in GAINED.items()
        if any(_hears(grant, channel) for grant in grants for channel in channels) or _calls(grants, MOVED.get(operation))
        if not _calls(grants, operation)
    ]


def upgrade(schema: Schema) -> None:
    """Add a grant to each role that needs one."""
    tx = schema.transaction
    changed = False
    for tenant, name, stored in tx.rows("SELECT tenant, name, grants FROM roles"):
        grants = json.loads(stored) if isinstance(stored, str) else stored  # psycopg decodes PostgreSQL's json by itself
        if gained := _missing(grants):
            whole = [*grants, {"action": "call", "within": gained, "without": []}]
            tx.run("UPDATE roles SET grants = ? WHERE tenant = ? AND name = ?", (json.dumps(whole), tenant, name))
            changed = True
            _log.warning("role_gained_operations", tenant=tenant, role=name, operations=gained)
        if any(_hears(grant, "/nexus/v3/channels/**") for grant in grants) and not _calls(grants, "/messaging/read"):
            _log.warning(
                "role_hears_less",
                tenant=tenant,
                role=name,
                channels="/nexus/v3/channels/**",
                reason="hearing messages needs /messaging/read",
            )
    if changed:  # so that hubs of this version that are running already apply it
        tx.run("UPDATE revision SET number = number + 1")
