"""REST: tokens of administrators in the caller's tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from hub.administration.paging import MAX_BODY_BYTES, Cursor, Limit, page
from hub.administration.schemas import ANSWERS, Entries, Entry, NewToken
from hub.administration.serializers import token_entry
from hub.administration.service import AdministrationService
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.schemas import Done

Reader = Annotated[Principal, requires("/keys/read")]
Admin = Annotated[Principal, requires("/keys/admin")]
Id = Annotated[str, Path(max_length=32, description="The id of the token.")]


def create_tokens_router(service: AdministrationService) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix="/api/v1", tags=["Administration"], responses=ANSWERS)

    @router.get("/tokens", summary="Tokens", response_model=Entries)
    async def tokens(request: Request, caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """The tokens that administrators made in the tenant, by id, without their secrets; also those that have run out."""
        found = await (await service.desk(request, caller)).store.token_page(caller.tenant, cursor, limit + 1)
        return respond(page("tokens", found, limit, token_entry, lambda token: token.id))

    @router.post("/tokens", summary="Add a token", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def add_token(request: Request, caller: Admin, body: NewToken) -> Response:
        """Add a bearer token with roles that allow no more than the caller's own; `secret` is told once. One for a user acts in the user's
        name, and needs a caller who may do all that the user may.
        """
        made, secret = await service.change(
            request, caller, lambda desk: desk.store.add_token(caller.tenant, body.subject, body.roles, expires_ms=body.expiresMs)
        )
        return respond({**token_entry(made), "secret": secret})

    @router.get("/tokens/{id}", summary="A token", response_model=Entry)
    async def token(request: Request, caller: Reader, id: Id) -> Response:
        """One token of the tenant, without its secret."""
        return respond(token_entry(await (await service.desk(request, caller)).store.token_by_id(id, caller.tenant)))

    @router.delete("/tokens/{id}", summary="Remove a token", response_model=Done)
    async def remove_token(request: Request, caller: Admin, id: Id) -> Response:
        """Remove a token; sessions that it opened end."""
        await service.change(request, caller, lambda desk: desk.store.remove_token_by_id(id, caller.tenant))
        return respond()

    return router
