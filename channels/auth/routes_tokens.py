"""The calls of clients: tokens, revocation, introspection (docs/protocol/oauth.md#token)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import Request
from starlette.responses import JSONResponse, Response

from channels.auth.errors import NO_STORE, OAuthRoute, in_oauth_form
from channels.auth.schemas import ONE_TOKEN_FORM, TOKEN_FORM, OAuthRefusal, TokenAnswer, form
from channels.auth.service import AuthService
from hub.http.body import check_announced, read_body, takes
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.fast_routes import OwnRoute
from hub.http.permits import UnknownKeyError
from hub.http.routing import HubRouter
from hub.security.credentials import MAX_SECRET_LENGTH, hash_secret
from hub.security.hosts import Hosts
from hub.security.oauth.clients import FindClient, authenticate
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.families import ClientAndToken, introspect, revoke
from hub.security.oauth.models import Client
from hub.security.oauth.parameters import MAX_BYTES, check_form, parse_parameters
from hub.security.oauth.tokens import TokenRequest
from hub.security.origin import client_address

BASE: Final = "/auth/v3"
INTROSPECT: Final = f"{BASE}/oauth/introspect"
TAGS: Final = ("Authentication",)

ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*"}
"""For answers to applications of any site. Browsers send no cookies where this stands."""

TOKENS_TYPE: Final = "application/json; charset=utf-8"
"""The type of an answer with tokens, as Genesys' Authentication API prints it. The charset has no effect (RFC 8259 section 11)."""

REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": OAuthRefusal, "description": "The request is refused: `error` says why."},
    401: {"model": OAuthRefusal, "description": "The client is unknown, or its secret is wrong."},
    403: {"description": "The API key is unknown, or of another tenant."},
    429: {"model": OAuthRefusal, "description": "Too many requests: `slow_down`; `Retry-After` says when to try again."},
    503: {"model": OAuthRefusal, "description": "The database cannot be used now: `temporarily_unavailable`."},
}


def create_token_router(service: AuthService, hosts: Hosts) -> HubRouter:
    """The routes of clients."""
    router = HubRouter(prefix=BASE, tags=TAGS, route_class=OAuthRoute)
    takes_form = takes(MAX_BYTES)

    @router.post("/oauth/token", summary="Get tokens", response_model=TokenAnswer, responses=REFUSALS, openapi_extra=form(TOKEN_FORM))
    @takes_form
    async def token(request: Request) -> Response:
        """Exchange a code, a refresh token, or a client's own credentials for tokens (RFC 6749 section 3.2)."""
        asked = await form_of(request)
        endpoint = service.token_endpoint(f"{hosts.base_url(request.scope)}{BASE}")
        try:
            client = await client_of(service, request, asked)
            if not service.limits.allow(client, asked.address):
                raise ApiError(429, "too many requests of this client; try again in a second", headers={"Retry-After": "1"})
            issued = await endpoint.answer(client, asked)
        except OAuthError as error:
            if error.error != "authorization_pending":
                service.counters.tokens_refused += 1
            raise
        service.counters.tokens += 1
        return JSONResponse(issued.members(), headers={**NO_STORE, **ANY_ORIGIN}, media_type=TOKENS_TYPE)

    @router.post("/oauth/revoke", summary="End a token", responses=REFUSALS, openapi_extra=form(ONE_TOKEN_FORM))
    @takes_form
    async def end(request: Request) -> Response:
        """End a token of either kind, and all that came of the same grant (RFC 7009). An unknown token is no error."""
        asked = await form_of(request)
        await revoke(await client_of(service, request, asked), asked, service.store)
        service.gate.refresh_soon()
        return JSONResponse({}, headers={**NO_STORE, **ANY_ORIGIN})

    @router.post("/oauth/introspect", summary="Look at a token", responses=REFUSALS, openapi_extra=form(ONE_TOKEN_FORM))
    @takes_form
    async def look(request: Request) -> Response:
        """What a token of the client's tenant is (RFC 7662); for clients with a secret."""
        return await _introspection(service, hosts, request)

    return router


def create_own_routes(service: AuthService, hosts: Hosts, errors: ErrorTable) -> list[OwnRoute]:
    """Introspection once more, for servers that ask about every request of theirs: without the framework, whose work is most of it."""

    async def look(request: Request) -> Response:
        return await in_oauth_form(partial(_introspection, service, hosts), request, errors)

    return [OwnRoute("POST", INTROSPECT, look)]


async def _introspection(service: AuthService, hosts: Hosts, request: Request) -> Response:
    asked = await form_of(request)
    read = ClientAndToken(service.introspected, asked.parameters)
    client = await client_of(service, request, asked, read.client)
    issuer = f"{hosts.base_url(request.scope)}{BASE}"
    return JSONResponse(introspect(client, asked, read.shown, issuer), headers=dict(NO_STORE))


async def form_of(request: Request) -> TokenRequest:
    """The parameters of a form, and who sends it.

    Raises:
        ApiError: 413, the body is announced as too large.
        OAuthError: the body is no form, or malformed.
    """
    check_announced(request, MAX_BYTES)
    check_form(request.headers.get("content-type"))
    parameters = parse_parameters(await read_body(request, MAX_BYTES))
    address = client_address(request.scope)
    return TokenRequest(parameters, request.headers.getlist("authorization"), address)


async def client_of(service: AuthService, request: Request, asked: TokenRequest, find: FindClient | None = None) -> Client:
    """The client of a request; an API key beside it must be of its tenant. ``find`` finds clients, by default the store does.

    Raises:
        ApiError: 403, the key is unknown or of another tenant.
        OAuthError: the client is not who it says.
    """
    shown = request.headers.getlist("x-api-key")
    key = None
    if shown:
        good = len(shown) == 1 and 0 < len(shown[0]) <= MAX_SECRET_LENGTH
        key = await service.gate.directory.by_key(hash_secret(shown[0])) if good else None
        if key is None:
            raise UnknownKeyError
    client = await authenticate(asked.parameters, asked.authorization, find or service.store.client)
    if key is not None and key.tenant != client.tenant:
        raise ApiError(403, "the API key and the client are of different tenants")
    return client
