"""Roles of tenants' own gain the operations that hearing interactions and statistics, and stopping the stat server, needs since then.

A role that was granted channels of interactions or statistics hears them as before, one that could stop the stat server still can. None
gains ``/messaging/read``: the texts of messages are heard by roles that may read them by REST. Each role that changes is logged.
"""

import sqlalchemy as sa
import structlog
from alembic import op

from hub.core.channels import lies_within, overlaps

revision = "security_0002"
down_revision = "security_0001"
branch_labels = None
depends_on = None

GAINED = {
    "/interactions/events": ("/nexus/v3/interactions", "/nexus/v3/interactions/*"),
    "/statistics/read": ("/statistics/v3/updates", "/statistics/v3/service", "/statistics/v3/values/**"),
    "/statistics/control": (),
}
"""Operations, and the channels whose subscribers need them."""

MOVED = {"/statistics/control": "/admin/write", "/statistics/read": "/admin/read"}
"""Operations of the stat server, and those that its routes asked for before."""

_log = structlog.get_logger(__name__)

_roles = sa.table("roles", sa.column("tenant", sa.String), sa.column("name", sa.String), sa.column("grants", sa.JSON))
_revision = sa.table("revision", sa.column("number", sa.BigInteger))


def _hears(grant: dict, channel: str) -> bool:  # type: ignore[type-arg]
    """Whether a stored grant lets its role subscribe to a part of what a pattern stands for."""
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
    """The operations that a role lacks for what it could do until now."""
    return [
        operation
        for operation, channels in GAINED.items()
        if any(_hears(grant, channel) for grant in grants for channel in channels) or _calls(grants, MOVED.get(operation))
        if not _calls(grants, operation)
    ]


def upgrade() -> None:
    """Add a grant to each role that needs one."""
    connection = op.get_bind()
    changed = False
    for tenant, name, grants in connection.execute(sa.select(_roles.c.tenant, _roles.c.name, _roles.c.grants)).all():
        if gained := _missing(grants):
            whole = [*grants, {"action": "call", "within": gained, "without": []}]
            connection.execute(sa.update(_roles).where(_roles.c.tenant == tenant, _roles.c.name == name).values(grants=whole))
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
    if changed:  # hubs of this version that run already take it up
        connection.execute(sa.update(_revision).values(number=_revision.c.number + 1))


def downgrade() -> None:
    """Leave the grants: what a role was given since then cannot be told from what this gave it."""
