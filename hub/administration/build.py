"""The parts that administration adds to a hub."""

from __future__ import annotations

from hub.administration.errors import register_errors
from hub.administration.routes_clients import create_clients_router
from hub.administration.routes_keys import create_keys_router
from hub.administration.routes_roles import create_roles_router
from hub.administration.routes_tokens import create_tokens_router
from hub.administration.routes_users import create_users_router
from hub.administration.service import AdministrationService
from hub.audit.ports import AUDIT
from hub.family import Context, Parts
from hub.security.lookup import DatabaseLookup


def build(context: Context) -> Parts:
    """The API and its metrics."""
    register_errors(context.errors)
    service = AdministrationService(
        context.transactions,
        context.gate,
        context.clock,
        context.one(AUDIT),
        DatabaseLookup(context.transactions, context.access.roles).grants_within,
        context.settings.administration,
    )
    return Parts(
        routers=[
            create_users_router(service),
            create_roles_router(service, context.access),
            create_clients_router(service),
            create_keys_router(service),
            create_tokens_router(service),
        ],
        counters={"administration": service.counters},
    )
