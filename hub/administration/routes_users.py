"""REST: users of the caller's tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from hub.administration.paging import MAX_BODY_BYTES, Cursor, Limit, page
from hub.administration.schemas import ANSWERS, Entries, Entry, NewUser, UserChange, UserDetails
from hub.administration.serializers import user_entry
from hub.administration.service import AdministrationService
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.schemas import Done
from hub.security.user_details import Details

Reader = Annotated[Principal, requires("/users/read")]
Admin = Annotated[Principal, requires("/users/admin")]
Name = Annotated[str, Path(max_length=128, description="The name of the user.")]


def create_users_router(service: AdministrationService) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix="/api/v1", tags=["Administration"], responses=ANSWERS)

    @router.get("/users", summary="Users", response_model=Entries)
    async def users(request: Request, caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """The users of the tenant, by name."""
        found = await (await service.desk(request, caller)).store.user_page(caller.tenant, cursor, limit + 1)
        return respond(page("users", found, limit, user_entry, lambda user: user.name))

    @router.post("/users", summary="Add a user", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def add_user(request: Request, caller: Admin, body: NewUser) -> Response:
        """Add a user who signs in with a password, with roles that allow no more than the caller's own."""
        made = await service.change(
            request, caller, lambda desk: desk.store.add_user(caller.tenant, body.name, body.password, body.roles, _details(body))
        )
        return respond(user_entry(made))

    @router.get("/users/{name:path}", summary="A user", response_model=Entry)
    async def user(request: Request, caller: Reader, name: Name) -> Response:
        """One user of the tenant."""
        return respond(user_entry(await (await service.desk(request, caller)).store.user(caller.tenant, name)))

    @router.patch("/users/{name:path}", summary="Change a user", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def change_user(request: Request, caller: Admin, name: Name, body: UserChange) -> Response:
        """Change a user whose roles allow no more than the caller's. Another password, and `disabled`, end all that the user has open."""
        made = await service.change(
            request,
            caller,
            lambda desk: desk.store.change_user(caller.tenant, name, password=body.password, roles=body.roles, details=_details(body)),
        )
        return respond(user_entry(made))

    @router.delete("/users/{name:path}", summary="Remove a user", response_model=Done)
    async def remove_user(request: Request, caller: Admin, name: Name) -> Response:
        """Remove a user, with all tokens of the user."""
        await service.change(request, caller, lambda desk: desk.store.remove_user(caller.tenant, name))
        return respond()

    return router


def _details(body: UserDetails) -> Details:
    return Details(body.givenName, body.familyName, body.email, body.disabled)
