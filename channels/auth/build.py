"""What the Authentication API adds to a hub: its routes, its pages, and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.auth.retention import AuthRetention
from channels.auth.routes_devices import DEVICE_PAGES, DevicePages, create_device_router
from channels.auth.routes_documents import ANY_ORIGIN_PATHS, Documents
from channels.auth.routes_pages import PAGES, Pages
from channels.auth.routes_tokens import create_own_routes, create_token_router
from channels.auth.routes_users import create_user_router
from channels.auth.service import AuthService
from channels.auth.settings import AuthSettings
from channels.auth.signed import PageSigner
from hub.audit.ports import AUDIT
from hub.core.metric import Gauge
from hub.family import Context, Parts
from hub.outbox.guard import Guard
from hub.security.issuers.check import NETWORKS
from hub.security.issuers.counters import IssuerCounters
from hub.security.secret import signing_secret

if TYPE_CHECKING:
    from hub.security.issuers.service import ExternalTokens


def build(context: Context) -> Parts:
    """The parts of the family, for one hub."""
    settings = context.section("auth", AuthSettings)
    secret = signing_secret(context.settings)
    service = AuthService(
        transactions=context.transactions,
        gate=context.gate,
        clock=context.clock,
        settings=settings,
        limits=context.settings.limits,
        scopes=context.gate.decisions.scopes,
        secret=secret,
        audit=context.one(AUDIT),
    )
    context.gate.directory.max_stale_s = settings.max_stale_s
    external = _external(context, settings, service)
    signer = PageSigner(secret, service.now_s, settings.request_s)
    documents = Documents(service, context.hosts)
    return Parts(
        routers=[
            create_token_router(service, context.hosts),
            create_user_router(service, context.hosts),
            create_device_router(service, context.hosts),
            documents.router(),
        ],
        own_routes=create_own_routes(service, context.hosts, context.errors),
        any_origin=ANY_ORIGIN_PATHS,
        no_origin=(*PAGES, *DEVICE_PAGES),
        open_routes=documents.open_routes(),
        routes=[*Pages(service, context.hosts, signer).routes(), *DevicePages(service, context.hosts, signer).routes()],
        services=[
            AuthRetention(context.transactions, context.steady_clock, settings, service.counters, context.gate.directory.sign_ins_kept_ms),
            *([external] if external else ()),
        ],
        counters={
            "auth": service.counters,
            "auth_grants": service.store.counters,
            "external_tokens": IssuerCounters() if external is None else external.counters,
        },
        gauges=[
            Gauge("auth_introspected", "Tokens for which introspection reads no database.", lambda: len(service.introspected)),
            Gauge("external_issuer_keys", "Keys of external issuers that are known.", lambda: external.keys if external else 0),
        ],
        readiness={} if external is None else {"issuers": external.trouble},
    )


def _external(context: Context, settings: AuthSettings, service: AuthService) -> ExternalTokens | None:
    """What takes tokens of external issuers; None if the settings name none."""
    if not settings.issuers:
        return None
    # imported here: most hubs have none, and need neither the client of HTTP nor the library of signatures for them
    from hub.security.issuers.fetching import Fetcher
    from hub.security.issuers.service import ExternalTokens

    guard = Guard(settings.issuer_networks, setting=NETWORKS)
    external = ExternalTokens(settings.issuers, Fetcher(guard), service.external, context.clock)
    context.gate.directory.take_external(external)
    return external
