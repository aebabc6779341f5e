"""``hub role``: roles of tenants, directly on the database."""

from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from hub.core.field_error import FieldError
from hub.core.principal import Action
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption
from hub.security.cli_database import Admin, only_tenant, refuse
from hub.security.cli_options import AnyTenant
from hub.security.cli_output import show_all, show_one, show_removed
from hub.security.models import AdminError, Role
from hub.security.role_operations import check_called, check_denied, check_published
from hub.security.roles import BUILT_IN, Grant, RoleError, parse_grant
from hub.security.store import Store

Patterns = Annotated[list[str] | None, typer.Option(help="Channel or pattern; may be repeated.")]
Calls = Annotated[list[str] | None, typer.Option(help="REST operation such as /statistics/read; may be repeated.")]
Exceptions = Annotated[list[str] | None, typer.Option("--except", help="Channel or pattern that is excepted; may be repeated.")]
Denials = Annotated[
    list[str] | None, typer.Option(help="Channel, pattern or operation that is denied, whatever else allows it; may be repeated.")
]


def _grants(
    operations: Collection[str],
    subscribe: list[str] | None,
    publish: list[str] | None,
    call: list[str] | None,
    without: list[str] | None,
    deny: list[str] | None,
) -> list[Grant]:
    """The grants that options say. Ends the command with exit code 1 where one of them is wrong."""
    try:
        return _read_grants(operations, subscribe, publish, call, without, deny)
    except (RoleError, FieldError) as error:
        refuse(str(error))


def _read_grants(
    operations: Collection[str],
    subscribe: list[str] | None,
    publish: list[str] | None,
    call: list[str] | None,
    without: list[str] | None,
    deny: list[str] | None,
) -> list[Grant]:
    made = [_denial(action, deny) for action in Action] if deny else []
    check_denied(operations, deny or [], "--deny")
    for action, patterns in ((Action.SUBSCRIBE, subscribe), (Action.PUBLISH, publish), (Action.CALL, call)):
        if patterns:
            exceptions = [] if action is Action.CALL else without or []
            try:
                made.append(parse_grant({"action": action.value, "within": patterns, "without": exceptions}))
            except RoleError as error:
                raise _of_option(f"--{action.value}", error, patterns) from error
    check_called(operations, call or [], "--call")
    check_published(publish or [], "--publish")
    return made


def _denial(action: Action, patterns: list[str]) -> Grant:
    try:
        return parse_grant({"action": action.value, "within": patterns, "deny": True})
    except RoleError as error:
        raise _of_option("--deny", error, patterns) from error


def _of_option(option: str, error: RoleError, patterns: Sequence[str]) -> RoleError:
    """The error about a grant as one about an option of the command line, and what came in it."""
    text = str(error).removeprefix("grant.within: ")
    return RoleError(f"{option}: {text}" if ", got " in text else f"{option}: {text}; got {', '.join(patterns)}")


def make_roles(admin: Admin) -> typer.Typer:
    """The commands."""
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub role add wall --subscribe '/statistics/**' --call /statistics/read")

    @app.command(epilog="Example:  hub role add wall --tenant acme --subscribe '/statistics/**' --call /statistics/read")
    def add(
        name: str,
        tenant: TenantOption = None,
        subscribe: Patterns = None,
        publish: Patterns = None,
        call: Calls = None,
        without: Exceptions = None,
        deny: Denials = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a role of a tenant's own: patterns that it may subscribe to, publish on, and operations that it may call."""
        grants = _grants(admin.access.operations, subscribe, publish, call, without, deny)

        async def work(store: Store) -> Role:
            return await store.add_role(await only_tenant(store, tenant), name, grants)

        show_one(admin.run(work, config, data_dir, database_url), json, done=f"added role {name}")

    @app.command(epilog="Example:  hub role change wall --tenant acme --subscribe '/statistics/**' --subscribe '/wall/**'")
    def change(
        name: str,
        tenant: TenantOption = None,
        subscribe: Patterns = None,
        publish: Patterns = None,
        call: Calls = None,
        without: Exceptions = None,
        deny: Denials = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Say anew what a role of a tenant's own allows: all of it, since what is not given goes. Sessions that may do less then end."""
        grants = _grants(admin.access.operations, subscribe, publish, call, without, deny)

        async def work(store: Store) -> Role:
            return await store.change_role(await only_tenant(store, tenant), name, grants)

        show_one(admin.run(work, config, data_dir, database_url), json, done=f"changed role {name}")

    @app.command("list", epilog="Example:  hub role list")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the built-in roles and the tenants' own."""
        own = admin.run(lambda store: store.roles(tenant), config, data_dir, database_url)
        show_all([*(Role("", name, grants, 0) for name, grants in admin.access.roles.items()), *own], json, "")

    @app.command(epilog="Example:  hub role show supervisor")
    def show(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show what a role allows."""

        async def work(store: Store) -> Role:
            if name in BUILT_IN:
                return Role("", name, admin.access.roles[name], 0)
            own = await store.roles(await only_tenant(store, tenant))
            for role in own:
                if role.name == name:
                    return role
            raise AdminError(f"role: no role {name!r}; there are: {', '.join([*BUILT_IN, *(role.name for role in own)])}")

        show_one(admin.run(work, config, data_dir, database_url), json, done=BUILT_IN[name].summary if name in BUILT_IN else "")

    @app.command(epilog="Example:  hub role remove wall --tenant acme")
    def remove(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a role of a tenant's own that nobody has."""

        async def work(store: Store) -> None:
            await store.remove_role(await only_tenant(store, tenant), name)

        admin.run(work, config, data_dir, database_url)
        show_removed(f"role {name}", json)

    return app
