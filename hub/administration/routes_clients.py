"""REST: OAuth clients of the caller's tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from hub.administration.paging import MAX_BODY_BYTES, Cursor, Limit, page
from hub.administration.schemas import ANSWERS, ClientFields, Entries, Entry, NewClientBody
from hub.administration.serializers import client_entry
from hub.administration.service import AdministrationService
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.clients_store import ClientChange, NewClient
from hub.security.oauth.models import Lifetimes
from hub.security.schemas import Done

Reader = Annotated[Principal, requires("/clients/read")]
Admin = Annotated[Principal, requires("/clients/admin")]
Id = Annotated[str, Path(max_length=128, description="The id of the client.")]


def create_clients_router(service: AdministrationService) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix="/api/v1", tags=["Administration"], responses=ANSWERS)

    @router.get("/clients", summary="Clients", response_model=Entries)
    async def clients(request: Request, caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """The OAuth clients of the tenant, by id."""
        found = await (await service.desk(request, caller)).clients.page(caller.tenant, cursor, limit + 1)
        return respond(page("clients", found, limit, client_entry, lambda client: client.id))

    @router.post("/clients", summary="Add a client", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def add_client(request: Request, caller: Admin, body: NewClientBody) -> Response:
        """Register an application. `secret` is told once; a public client has none. A client without roles of its own, which may act with
        those of each user, is for callers who may do everything.
        """
        made, secret = await service.change(request, caller, lambda desk: desk.clients.add(_new(caller.tenant, body)))
        return respond({**client_entry(made), **({} if secret is None else {"secret": secret})})

    @router.get("/clients/{id}", summary="A client", response_model=Entry)
    async def client(request: Request, caller: Reader, id: Id) -> Response:
        """One client of the tenant."""
        return respond(client_entry(await (await service.desk(request, caller)).clients.one(id)))

    @router.patch("/clients/{id}", summary="Change a client", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def change_client(request: Request, caller: Admin, id: Id, body: ClientFields) -> Response:
        """Change a client; what is left out stays."""
        return respond(client_entry(await service.change(request, caller, lambda desk: desk.clients.change(id, _change(body)))))

    @router.post("/clients/{id}/secrets", summary="Give a client a second secret", response_model=Entry)
    async def add_secret(request: Request, caller: Admin, id: Id) -> Response:
        """Another secret, told once. The old one is good until it is dropped."""
        made, secret = await service.change(request, caller, lambda desk: desk.clients.add_secret(id))
        return respond({**client_entry(made), "secret": secret})

    @router.delete("/clients/{id}/secrets/old", summary="Drop the old secret of a client", response_model=Entry)
    async def drop_secret(request: Request, caller: Admin, id: Id) -> Response:
        """Take back the older of two secrets."""
        return respond(client_entry(await service.change(request, caller, lambda desk: desk.clients.drop_old_secret(id))))

    @router.delete("/clients/{id}", summary="Remove a client", response_model=Done)
    async def remove_client(request: Request, caller: Admin, id: Id) -> Response:
        """Remove a client; every token that it got ends."""
        await service.change(request, caller, lambda desk: desk.clients.remove(id))
        return respond()

    return router


def _new(tenant: str, body: NewClientBody) -> NewClient:
    return NewClient(
        id=body.id,
        tenant=tenant,
        name=body.name or "",
        public=body.public,
        grants=NewClient.DEFAULT_GRANTS if body.grants is None else body.grants,
        roles=body.roles,
        redirect_uris=body.redirectUris or (),
        post_logout_uris=body.postLogoutUris or (),
        origins=body.origins or (),
        frame_origins=body.frameOrigins or (),
        pkce=bool(body.pkce),
        consent=bool(body.consent),
        lifetimes=Lifetimes() if body.accessSeconds is None else Lifetimes(access_s=body.accessSeconds),
    )


def _change(body: ClientFields) -> ClientChange:
    return ClientChange(
        *(body.name, body.grants, body.roles, body.redirectUris, body.postLogoutUris, body.origins, body.frameOrigins),
        *(body.pkce, body.consent, body.accessSeconds),
        every_role="roles" in body.model_fields_set and body.roles is None,
    )
