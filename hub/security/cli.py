"""``hub tenant``, ``hub role``, ``hub user``, ``hub key``, ``hub token``: administration, directly on the database.

Running nodes apply changes within 2 s. Exit codes: 0 done; 1 refused, with a sentence that says why; 2 wrong usage or settings.
"""

import difflib
import re
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.core.channels import matches
from hub.core.principal import Action
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir
from hub.security.cli_database import Admin, only_tenant, refuse
from hub.security.cli_output import show_all, show_one, show_removed
from hub.security.models import AdminError, Key, Role, Token, User
from hub.security.roles import BUILT_IN, Grant, RoleError, parse_grant
from hub.security.store import Store

if TYPE_CHECKING:
    from hub.family import Family


_WORDS_OF_OPERATION: Final = 2
_NEARLY: Final = 0.9
"""Similarity of two names, from 0 to 1, above which one counts as a misspelling of the other."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


TenantOption = Annotated[
    str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="May be left out where there is one tenant only.")
]
AnyTenant = Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only those of this tenant.")]
RolesOption = Annotated[
    list[str] | None,
    typer.Option("--role", "-r", metavar="ROLE", help=f"{', '.join(BUILT_IN)}, or one of the tenant's own; may be repeated."),
]


def lifetime_s(text: str, option: str = "--expires-in") -> int:
    """Seconds of ``90s``, ``15m``, ``8h``, ``30d`` or ``2w``; ``option`` is what the error calls it.

    Raises:
        AdminError: it is none of these.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    if found is None:
        raise AdminError(f"{option}: expected a number and a unit such as 90s, 15m, 8h, 30d or 2w, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def _read_password(given: str | None, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        refuse("password: expected --password-stdin, --password, or a terminal to ask on, got none of them")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _grants(
    operations: Collection[str],
    subscribe: list[str] | None,
    publish: list[str] | None,
    call: list[str] | None,
    without: list[str] | None,
    deny: list[str] | None,
) -> list[Grant]:
    made = [_denial(action, deny) for action in Action] if deny else []
    _check_denied(operations, deny or [])
    for action, patterns in ((Action.SUBSCRIBE, subscribe), (Action.PUBLISH, publish), (Action.CALL, call)):
        if patterns:
            exceptions = [] if action is Action.CALL else without or []
            try:
                made.append(parse_grant({"action": action.value, "within": patterns, "without": exceptions}))
            except RoleError as error:
                raise RoleError(f"--{action.value}: {str(error).removeprefix('grant.within: ')}; got {', '.join(patterns)}") from error
    for pattern in call or []:
        if not any(matches(pattern, operation) for operation in operations):
            raise RoleError(f"--call: expected an operation, or a pattern that matches one, got {pattern}{_hint(operations, pattern)}")
    return made


def _denial(action: Action, patterns: list[str]) -> Grant:
    try:
        return parse_grant({"action": action.value, "within": patterns, "deny": True})
    except RoleError as error:
        raise RoleError(f"--deny: {str(error).removeprefix('grant.within: ')}; got {', '.join(patterns)}") from error


def _hint(operations: Collection[str], pattern: str) -> str:
    close = difflib.get_close_matches(pattern, operations, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(operations)}"


def _check_denied(operations: Collection[str], patterns: Sequence[str]) -> None:
    """Refuse a pattern that looks like a misspelt operation, since denying it would have no effect. A channel may have nearly any name.
    Therefore only a pattern of two words, as operations have, is refused, if an operation has the same first word or a similar name.

    Raises:
        RoleError: a pattern looks like an operation, but is none.
    """
    for pattern in patterns:
        words = pattern.split("/")[1:]
        if len(words) != _WORDS_OF_OPERATION or "*" in pattern or pattern in operations:
            continue
        if any(operation.startswith(f"/{words[0]}/") for operation in operations) or difflib.get_close_matches(
            pattern, operations, 1, _NEARLY
        ):
            raise RoleError(f"--deny: expected a channel, an operation, or a pattern of them, got {pattern}{_hint(operations, pattern)}")


def register(app: typer.Typer, families: Callable[[], Sequence["Family"]] = tuple) -> None:
    """Add the commands. ``families`` returns the families whose settings may be in the settings file."""
    admin = Admin(families)
    app.add_typer(_tenants(admin), name="tenant", help="Tenants: one for each contact centre.")
    app.add_typer(_roles(admin), name="role", help="Roles: what credentials may do.")
    app.add_typer(_users(admin), name="user", help="Users: who signs in with a password.")
    app.add_typer(_keys(admin), name="key", help="API keys: for programs.")
    app.add_typer(_tokens(admin), name="token", help="Bearer tokens: for programs and dashboards, with an end if you like.")


def _tenants(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)

    @app.command(epilog="Example:  hub tenant add acme")
    def add(name: str, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False) -> None:
        """Add a tenant."""
        made = admin.run(lambda store: store.add_tenant(name), config, data_dir, database_url)
        show_one(made, json, done=f"added tenant {name}")

    @app.command("list", epilog="Example:  hub tenant list --json")
    def list_(config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False) -> None:
        """List the tenants."""
        found = admin.run(lambda store: store.tenants(), config, data_dir, database_url)
        show_all(found, json, "no tenants yet; add one with: hub tenant add NAME")

    @app.command(epilog="Example:  hub tenant show acme")
    def show(name: str, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False) -> None:
        """Show a tenant."""
        show_one(admin.run(lambda store: store.tenant(name), config, data_dir, database_url), json)

    @app.command(epilog="Example:  hub tenant remove acme --force")
    def remove(
        name: str,
        force: Annotated[bool, typer.Option("--force", help="Remove its users, keys and tokens with it.")] = False,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a tenant; one that still has users, keys or tokens only by force."""
        from hub.eventlog.removal import remove_events  # imported here, because most commands do not need it

        admin.run(lambda store: store.remove_tenant(name, force=force, also=remove_events), config, data_dir, database_url)
        show_removed(f"tenant {name}", json)

    return app


def _roles(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)

    @app.command(epilog="Example:  hub role add wall --tenant acme --subscribe '/statistics/**' --call /statistics/read")
    def add(
        name: str,
        tenant: TenantOption = None,
        subscribe: Annotated[list[str] | None, typer.Option(help="Channel or pattern; may be repeated.")] = None,
        publish: Annotated[list[str] | None, typer.Option(help="Channel or pattern; may be repeated.")] = None,
        call: Annotated[list[str] | None, typer.Option(help="REST operation such as /statistics/read; may be repeated.")] = None,
        without: Annotated[list[str] | None, typer.Option("--except", help="Channel or pattern that is excepted; may be repeated.")] = None,
        deny: Annotated[
            list[str] | None,
            typer.Option(help="Channel, pattern or operation that is denied, whatever else allows it; may be repeated."),
        ] = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a role of a tenant's own: patterns that it may subscribe to, publish on, and operations that it may call."""
        try:
            grants = _grants(admin.access.operations, subscribe, publish, call, without, deny)
        except RoleError as error:
            refuse(str(error))

        async def work(store: Store) -> Role:
            return await store.add_role(await only_tenant(store, tenant), name, grants)

        show_one(admin.run(work, config, data_dir, database_url), json, done=f"added role {name}")

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


def _users(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    password_option = typer.Option("--password", help="Others of this machine can see it: --password-stdin is better.")
    stdin_option = typer.Option("--password-stdin", help="Read the password from standard input.")

    @app.command(epilog='Example:  echo "$PASSWORD" | hub user add ana --tenant acme --role supervisor --password-stdin')
    def add(
        name: str,
        tenant: TenantOption = None,
        role: RolesOption = None,
        password: Annotated[str | None, password_option] = None,
        password_stdin: Annotated[bool, stdin_option] = False,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a user; asks for the password on a terminal."""
        chosen = _read_password(password, password_stdin)

        async def work(store: Store) -> User:
            return await store.add_user(await only_tenant(store, tenant), name, chosen, role or [])

        show_one(admin.run(work, config, data_dir, database_url), json, done=f"added user {name}")

    @app.command("list", epilog="Example:  hub user list --tenant acme")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the users."""
        found = admin.run(lambda store: store.users(tenant), config, data_dir, database_url)
        show_all(found, json, "no users yet; add one with: hub user add NAME --role ROLE")

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
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Give a user other roles, or another password, which ends every sign-in by the old one."""
        if role is None and password is None and not password_stdin:
            refuse("expected --role, --password or --password-stdin, got none of them")
        chosen = _read_password(password, password_stdin) if password is not None or password_stdin else None

        async def work(store: Store) -> User:
            return await store.change_user(await only_tenant(store, tenant), name, password=chosen, roles=role)

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


def _keys(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)

    @app.command(epilog="Example:  hub key add switch --tenant acme --role producer")
    def add(
        name: str,
        tenant: TenantOption = None,
        role: RolesOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add an API key, and print it once."""

        async def work(store: Store) -> tuple[Key, str]:
            return await store.add_key(await only_tenant(store, tenant), name, role or [])

        key, secret = admin.run(work, config, data_dir, database_url)
        show_one(key, json, done=f"added key {name}", secret=("key", secret))

    @app.command("list", epilog="Example:  hub key list")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the API keys, without their secrets."""
        found = admin.run(lambda store: store.keys(tenant), config, data_dir, database_url)
        show_all(found, json, "no keys yet; add one with: hub key add NAME --role ROLE")

    @app.command(epilog="Example:  hub key show switch --tenant acme")
    def show(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show an API key, without its secret."""

        async def work(store: Store) -> Key:
            return await store.key(await only_tenant(store, tenant), name)

        show_one(admin.run(work, config, data_dir, database_url), json)

    @app.command(epilog="Example:  hub key remove switch --tenant acme")
    def remove(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove an API key; sessions that it opened end."""

        async def work(store: Store) -> None:
            await store.remove_key(await only_tenant(store, tenant), name)

        admin.run(work, config, data_dir, database_url)
        show_removed(f"key {name}", json)

    return app


def _tokens(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)

    @app.command(epilog="Example:  hub token add wallboard --tenant acme --role dashboard --expires-in 30d")
    def add(
        subject: str,
        tenant: TenantOption = None,
        role: RolesOption = None,
        expires_in: Annotated[
            str | None, typer.Option(metavar="TIME", help="90s, 15m, 8h, 30d or 2w; without it the token has no end.")
        ] = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a bearer token for a user, whose roles it has unless it gets its own, or for a name; print it once."""

        async def work(store: Store) -> tuple[Token, str]:
            expires_ms = None if expires_in is None else time.time_ns() // 1_000_000 + lifetime_s(expires_in) * 1000
            return await store.add_token(await only_tenant(store, tenant), subject, role, expires_ms=expires_ms)

        token, secret = admin.run(work, config, data_dir, database_url)
        show_one(token, json, done=f"added token {token.id}", secret=("token", secret))

    @app.command("list", epilog="Example:  hub token list --tenant acme")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the tokens, without their secrets."""
        found = admin.run(lambda store: store.tokens(tenant), config, data_dir, database_url)
        show_all(found, json, "no tokens yet; add one with: hub token add SUBJECT --role ROLE")

    which_help = "Its id, or its subject where that has one token only."

    @app.command(epilog="Example:  hub token show wallboard")
    def show(
        which: Annotated[str, typer.Argument(metavar="TOKEN", help=which_help)],
        tenant: AnyTenant = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show a token, without its secret."""
        show_one(admin.run(lambda store: store.token(which, tenant), config, data_dir, database_url), json)

    @app.command(epilog="Example:  hub token remove 0c4e8d1f2a3b")
    def remove(
        which: Annotated[str, typer.Argument(metavar="TOKEN", help=which_help)],
        tenant: AnyTenant = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a token; sessions that it opened end."""
        removed = admin.run(lambda store: store.remove_token(which, tenant), config, data_dir, database_url)
        show_removed(f"token {removed.id} of {removed.subject}", json)

    return app
