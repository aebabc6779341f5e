"""REST: API keys and access keys of the caller's tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from hub.administration.paging import MAX_BODY_BYTES, Cursor, Limit, page
from hub.administration.schemas import ANSWERS, Entries, Entry, NewKey
from hub.administration.serializers import key_entry
from hub.administration.service import AdministrationService
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.schemas import Done

Reader = Annotated[Principal, requires("/keys/read")]
Admin = Annotated[Principal, requires("/keys/admin")]
Name = Annotated[str, Path(max_length=128, description="The name of the key.")]


def create_keys_router(service: AdministrationService) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix="/api/v1", tags=["Administration"], responses=ANSWERS)

    @router.get("/keys", summary="API keys", response_model=Entries)
    async def keys(request: Request, caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """The API keys and access keys of the tenant, by name, without their secrets."""
        found = await (await service.desk(request, caller)).store.key_page(caller.tenant, cursor, limit + 1)
        return respond(page("keys", found, limit, key_entry, lambda key: key.name))

    @router.post("/keys", summary="Add an API key", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def add_key(request: Request, caller: Admin, body: NewKey) -> Response:
        """Add an API key, or an access key, with roles that allow no more than the caller's own; `secret` is told once."""
        if body.aws:
            access_key, of_key = await service.change(
                request, caller, lambda desk: desk.access_keys.add(caller.tenant, body.name, body.roles)
            )
            return respond({**key_entry(access_key), "secret": of_key})
        made, secret = await service.change(request, caller, lambda desk: desk.store.add_key(caller.tenant, body.name, body.roles))
        return respond({**key_entry(made), "secret": secret})

    @router.get("/keys/{name:path}", summary="An API key", response_model=Entry)
    async def key(request: Request, caller: Reader, name: Name) -> Response:
        """One API key or access key of the tenant, without its secret."""
        return respond(key_entry(await (await service.desk(request, caller)).store.key(caller.tenant, name)))

    @router.post("/keys/{name:path}/rotate", summary="Give an access key another secret", response_model=Entry)
    async def rotate_key(request: Request, caller: Admin, name: Name) -> Response:
        """Give an access key another secret, which `secret` tells once; its id stays, and the old secret is no longer good."""
        made, secret = await service.change(request, caller, lambda desk: desk.access_keys.rotate(caller.tenant, name))
        return respond({**key_entry(made), "secret": secret})

    @router.delete("/keys/{name:path}", summary="Remove an API key", response_model=Done)
    async def remove_key(request: Request, caller: Admin, name: Name) -> Response:
        """Remove an API key or access key; sessions that it opened end."""
        await service.change(request, caller, lambda desk: desk.store.remove_key(caller.tenant, name))
        return respond()

    return router
