"""What the Authentication API adds to a hub: its routes, its pages, and its metrics."""

from __future__ import annotations

from channels.auth.retention import AuthRetention
from channels.auth.routes_documents import Documents
from channels.auth.routes_pages import Pages
from channels.auth.routes_tokens import create_token_router
from channels.auth.routes_users import create_user_router
from channels.auth.service import AuthService
from channels.auth.settings import AuthSettings
from channels.auth.signed import PageSigner
from hub.family import Context, Parts
from hub.security.service import signing_secret


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    settings = context.section("auth", AuthSettings)
    secret = signing_secret(context.settings)
    service = AuthService(
        transactions=context.transactions,
        gate=context.gate,
        clock=context.clock,
        settings=settings,
        scopes=context.gate.scopes,
        secret=secret,
    )
    signer = PageSigner(secret, service.now_s, settings.request_s)
    documents = Documents(service, context.hosts)
    return Parts(
        routers=[
            create_token_router(service, context.hosts),
            create_user_router(service, context.hosts),
            documents.router(),
        ],
        open_routes=documents.open_routes(),
        routes=Pages(service, context.hosts, signer).routes(),
        services=[AuthRetention(context.transactions, context.clock, settings, service.counters)],
        counters={"auth": service.counters},
    )
