"""The documents that everybody may read: the key set and both discovery documents (docs/protocol/oauth.md#keys)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import Request
from starlette.responses import JSONResponse, Response

from channels.auth.errors import OAuthRoute
from channels.auth.routes_tokens import ANY_ORIGIN, BASE, TAGS
from channels.auth.service import AuthService
from hub.http.fast_routes import OpenRoute
from hub.http.routing import HubRouter
from hub.security.hosts import Hosts
from hub.security.oauth.metadata import oauth_metadata, openid_metadata
from hub.security.oauth.models import GRANTS

RFC_8414: Final = f"/.well-known/oauth-authorization-server{BASE}"
"""Where RFC 8414 section 3.1 has the document: before the path of the issuer."""

ANY_ORIGIN_PATHS: Final = (
    f"{BASE}/oauth/token",
    f"{BASE}/oauth/revoke",
    f"{BASE}/oauth/device",
    f"{BASE}/jwks.json",
    f"{BASE}/.well-known/openid-configuration",
    f"{BASE}/.well-known/oauth-authorization-server",
    RFC_8414,
)
"""What applications in browsers call before the hub knows whose they are; cookies do not count here."""

_HEADERS: Final = {"Cache-Control": "public, max-age=300", **ANY_ORIGIN}


class Documents:
    """The documents of one hub. They need no credential and very little work."""

    def __init__(self, service: AuthService, hosts: Hosts) -> None:
        self._service = service
        self._hosts = hosts

    def router(self) -> HubRouter:
        """The routes, for the REST API and its document."""
        router = HubRouter(tags=TAGS, route_class=OAuthRoute)
        router.get(f"{BASE}/jwks.json", summary="The public keys of ID tokens")(self.keys)
        router.get(f"{BASE}/.well-known/openid-configuration", summary="Discovery for OpenID Connect")(self.openid_configuration)
        router.get(f"{BASE}/.well-known/oauth-authorization-server", summary="Discovery for OAuth")(self.oauth_configuration)
        router.get(RFC_8414, summary="Discovery for OAuth, by RFC 8414")(self.rfc_8414_configuration)
        return router

    def open_routes(self) -> Sequence[OpenRoute]:
        """The same, for those who ask without a page of another site."""
        return [
            OpenRoute(f"{BASE}/jwks.json", self.keys),
            OpenRoute(f"{BASE}/.well-known/openid-configuration", self.openid_configuration),
            OpenRoute(f"{BASE}/.well-known/oauth-authorization-server", self.oauth_configuration),
            OpenRoute(RFC_8414, self.rfc_8414_configuration),
        ]

    async def keys(self, request: Request) -> Response:
        """The key set (RFC 7517): keys that sign, that will sign, and that have signed tokens that are still good."""
        return _document(await self._service.keys.key_set())

    async def openid_configuration(self, request: Request) -> Response:
        """OpenID Connect Discovery section 3."""
        return _document(openid_metadata(self._issuer(request), self._service.scopes, GRANTS))

    async def oauth_configuration(self, request: Request) -> Response:
        """RFC 8414 section 3, below the issuer as OpenID Connect's document."""
        return _document(oauth_metadata(self._issuer(request), self._service.scopes, GRANTS))

    async def rfc_8414_configuration(self, request: Request) -> Response:
        """RFC 8414 section 3.1."""
        return await self.oauth_configuration(request)

    def _issuer(self, request: Request) -> str:
        return f"{self._hosts.base_url(request.scope)}{BASE}"


def _document(document: dict[str, Any]) -> Response:
    return JSONResponse(document, headers=_HEADERS)
