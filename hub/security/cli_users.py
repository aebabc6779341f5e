"""``hub user``: users, directly on the database."""

import sys
from typing import Annotated

import typer

from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption
from hub.security.cli_database import Admin, only_tenant, refuse
from hub.security.cli_options import AnyTenant, RolesOption
from hub.security.cli_output import show_all, show_one, show_removed
from hub.security.models import User
from hub.security.store import Store
from hub.security.user_details import NO_DETAILS, Details

GivenName = Annotated[str | None, typer.Option(metavar="NAME", help="First name; an empty one removes it.")]
FamilyName = Annotated[str | None, typer.Option(metavar="NAME", help="Last name; an empty one removes it.")]
Email = Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="E-mail address; an empty one removes it.")]


def _read_password(given: str | None, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        refuse("password: expected --password-stdin, --password, or a terminal to ask on, got none of them")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def make_users(admin: Admin) -> typer.Typer:
    """The commands."""
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub user add ana --tenant acme --role supervisor")
    password_option = typer.Option("--password", help="Others of this machine can see it: --password-stdin is better.")
    stdin_option = typer.Option("--password-stdin", help="Read the password from standard input.")

    @app.command(epilog='Example:  echo "$PASSWORD" | hub user add ana --tenant acme --role supervisor --password-stdin')
    def add(
        name: str,
        tenant: TenantOption = None,
        role: RolesOption = None,
        password: Annotated[str | None, password_option] = None,
        password_stdin: Annotated[bool, stdin_option] = False,
        given_name: GivenName = None,
        family_name: FamilyName = None,
        email: Email = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a user; asks for the password on a terminal."""
        chosen = _read_password(password, password_stdin)

        async def work(store: Store) -> User:
            return await store.add_user(await only_tenant(store, tenant), name, chosen, role or [], Details(given_name, family_name, email))

        show_one(admin.run(work, config, data_dir, database_url), json, done=f"added user {name}")

    @app.command("list", epilog="Example:  hub user list --tenant acme")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the users."""
        found = admin.run(lambda store: store.users(tenant), config, data_dir, database_url)
        nothing = "no users yet; add one with: hub user add NAME --role ROLE"
        show_all(found, json, nothing, ("tenant", "name", "roles", "disabled", "created"))

    @app.command(epilog="Example:  hub user show ana --tenant acme")
    def show(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show a user."""

        async def work(store: Store) -> User:
            return await store.user(await only_tenant(store, tenant), name)

        show_one(admin.run(work, config, data_dir, database_url), json)

    @app.command(epilog="Example:  hub user change ana --tenant acme --role admin")
    def change(
        name: str,
        tenant: TenantOption = None,
        role: RolesOption = None,
        password: Annotated[str | None, password_option] = None,
        password_stdin: Annotated[bool, stdin_option] = False,
        given_name: GivenName = None,
        family_name: FamilyName = None,
        email: Email = None,
        disabled: Annotated[bool | None, typer.Option("--disable/--enable", help="Whether the user may sign in.")] = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Give a user other roles, a name or an e-mail address, or another password, which ends every sign-in by the old one.

        A user who is disabled cannot sign in, and all that the user has open ends.
        """
        details = Details(given_name, family_name, email, disabled)
        if role is None and password is None and not password_stdin and details == NO_DETAILS:
            refuse("expected something to change, got nothing; see: hub user change --help")
        chosen = _read_password(password, password_stdin) if password is not None or password_stdin else None

        async def work(store: Store) -> User:
            return await store.change_user(await only_tenant(store, tenant), name, password=chosen, roles=role, details=details)

        show_one(admin.run(work, config, data_dir, database_url), json, done=f"changed user {name}")

    @app.command(epilog="Example:  hub user remove ana --tenant acme")
    def remove(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a user, and the tokens that were made for it."""

        async def work(store: Store) -> None:
            await store.remove_user(await only_tenant(store, tenant), name)

        admin.run(work, config, data_dir, database_url)
        show_removed(f"user {name}", json)

    return app
