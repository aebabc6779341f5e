"""REST: roles of the caller's tenant."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import Path, Request, Response

from hub.administration.paging import MAX_BODY_BYTES, Cursor, Limit, page
from hub.administration.schemas import ANSWERS, Entries, Entry, RoleBody, RoleGrant
from hub.administration.serializers import built_in_entry, role_entry
from hub.administration.service import AdministrationService, Desk
from hub.core.channels import InvalidChannelError
from hub.core.field_error import FieldError
from hub.core.principal import Action, Principal
from hub.http.body import takes
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.access import Access
from hub.security.models import BuiltInError, NotThereError, Role
from hub.security.role_operations import check_called, check_denied, check_published
from hub.security.roles import Grant
from hub.security.schemas import Done
from hub.security.variables import VariableError, check_template

Reader = Annotated[Principal, requires("/users/read")]
Admin = Annotated[Principal, requires("/users/admin")]
Name = Annotated[str, Path(max_length=64, description="The name of the role.")]


def create_roles_router(service: AdministrationService, access: Access) -> HubRouter:
    """The routes. ``access`` has the built-in roles and the operations."""
    router = HubRouter(prefix="/api/v1", tags=["Administration"], responses=ANSWERS)

    @router.get("/roles", summary="Roles", response_model=Entries)
    async def roles(request: Request, caller: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """The roles of the tenant's own, by name, and in `builtIn` those of the hub, on each page."""
        found = await (await service.desk(request, caller)).store.role_page(caller.tenant, cursor, limit + 1)
        data = page("roles", found, limit, role_entry, lambda role: role.name)
        data["builtIn"] = [built_in_entry(name, grants) for name, grants in access.roles.items()]
        return respond(data)

    @router.get("/roles/{name}", summary="A role", response_model=Entry)
    async def role(request: Request, caller: Reader, name: Name) -> Response:
        """One role of the tenant's own, or one of the hub, with `builtIn`."""
        try:
            return respond(role_entry(await (await service.desk(request, caller)).store.role(caller.tenant, name)))
        except BuiltInError:
            return respond(built_in_entry(name, access.roles[name]))

    @router.put("/roles/{name}", summary="Add or change a role", response_model=Entry)
    @takes(MAX_BODY_BYTES)
    async def put_role(request: Request, caller: Admin, name: Name, body: RoleBody) -> Response:
        """Say what a role of the tenant's own allows: no more than the caller's roles. The same again changes nothing."""
        grants = [_grant(grant, f"grants.{number}", access.operations) for number, grant in enumerate(body.grants)]

        async def work(desk: Desk) -> Role:
            try:
                return await desk.store.change_role(caller.tenant, name, grants)
            except NotThereError:
                return await desk.store.add_role(caller.tenant, name, grants)

        return respond(role_entry(await service.change(request, caller, work)))

    @router.delete("/roles/{name}", summary="Remove a role", response_model=Done)
    async def remove_role(request: Request, caller: Admin, name: Name) -> Response:
        """Remove a role of the tenant's own that nobody has."""
        await service.change(request, caller, lambda desk: desk.store.remove_role(caller.tenant, name))
        return respond()

    return router


def _grant(told: RoleGrant, field: str, operations: Collection[str]) -> Grant:
    """The grant of a body, in which it is called ``field``.

    Raises:
        FieldError: a pattern is none, or names an operation that is not there, or channels on which the server alone publishes.
    """
    for part, patterns in (("within", told.within), ("without", told.without)):
        for number, pattern in enumerate(patterns):
            try:
                check_template(pattern)
            except (InvalidChannelError, VariableError) as fault:
                expected = f"a channel, an operation, or a pattern of them ({fault})"
                raise FieldError.of_value(f"{field}.{part}.{number}", expected, pattern) from None
    action = Action(told.action)
    if action is Action.CALL:
        if told.deny:
            check_denied(operations, told.within, f"{field}.within")
        else:
            check_called(operations, told.within, f"{field}.within")
        check_called(operations, told.without, f"{field}.without")
    elif action is Action.PUBLISH and not told.deny:
        check_published(told.within, f"{field}.within")
    return Grant(action, tuple(told.within), tuple(told.without), told.deny)
