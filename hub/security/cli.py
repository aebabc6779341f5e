"""``hub tenant``, ``hub role``, ``hub user``, ``hub key``, ``hub token``: administration, directly on the database.

Running nodes apply changes within 2 s. Exit codes: 0 done; 1 refused, with a sentence that says why; 2 wrong usage or settings.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption
from hub.ops.settings import Settings
from hub.security.cli_database import Admin, access_keys_of, now_ms, only_tenant, recorder_of, store_of
from hub.security.cli_options import AnyTenant, RolesOption, lifetime_s
from hub.security.cli_output import show_access_key, show_all, show_blocked, show_one, show_removed
from hub.security.cli_roles import make_roles
from hub.security.cli_users import make_users
from hub.security.models import AccessKey, Key, Token
from hub.security.store import Store
from hub.storage.transactions import Transactions

if TYPE_CHECKING:
    from hub.family import Family


def register(app: typer.Typer, families: Callable[[], Sequence["Family"]] = tuple) -> None:
    """Add the commands. ``families`` returns the families whose settings may be in the settings file."""
    admin = Admin(families)
    app.add_typer(_tenants(admin), name="tenant", help="Tenants: one for each contact centre.")
    app.add_typer(make_roles(admin), name="role", help="Roles: what credentials may do.")
    app.add_typer(make_users(admin), name="user", help="Users: who signs in with a password.")
    app.add_typer(_keys(admin), name="key", help="API keys, and access keys for clients of Amazon: for programs.")
    app.add_typer(_tokens(admin), name="token", help="Bearer tokens: for programs and dashboards, with an end if you like.")


def _tenants(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub tenant add acme    then:  hub user add ana --role supervisor")

    @app.command(epilog="Example:  hub tenant add acme")
    def add(name: str, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False) -> None:
        """Add a tenant."""
        made = admin.run(lambda store: store.add_tenant(name), config, data_dir, database_url, begins=True)
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
        force: Annotated[bool, typer.Option("--force", help="Remove all that it has with it: users, keys, files, chats, ...")] = False,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a tenant; one that still has something, such as users, keys or files, only by force."""
        from hub.eventlog.removal import remove_events  # imported here, because most commands do not need it
        from hub.families import whole

        held = {noun: table for family in whole(admin.families()) for noun, table in family.held.items()}
        admin.run(lambda store: store.remove_tenant(name, force=force, also=remove_events, held=held), config, data_dir, database_url)
        show_removed(f"tenant {name}", json)

    return app


def _keys(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub key add switch --tenant acme --role producer")

    @app.command(epilog="Example:  hub key add switch --tenant acme --role producer")
    def add(
        name: str,
        tenant: TenantOption = None,
        role: RolesOption = None,
        aws: Annotated[bool, typer.Option("--aws", help="An access key, for clients of Amazon that sign their requests.")] = False,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add an API key or an access key, and print its secret once."""
        if aws:

            async def make(transactions: Transactions, settings: Settings) -> tuple[AccessKey, str]:
                chosen = await only_tenant(store_of(transactions, settings), tenant)
                return await access_keys_of(transactions, settings).add(chosen, name, role or [])

            show_access_key(*admin.on_database(make, config, data_dir, database_url), json, done=f"added access key {name}")
            return

        async def work(store: Store) -> tuple[Key, str]:
            return await store.add_key(await only_tenant(store, tenant), name, role or [])

        key, secret = admin.run(work, config, data_dir, database_url)
        show_one(key, json, done=f"added key {name}", secret=("key", secret))

    @app.command("list", epilog="Example:  hub key list")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the API keys and access keys, without their secrets."""
        found = admin.run(lambda store: store.keys(tenant), config, data_dir, database_url)
        show_all(found, json, "no keys yet; add one with: hub key add NAME --role ROLE", ("id", "tenant", "name", "roles", "created"))

    @app.command(epilog="Example:  hub key show switch --tenant acme")
    def show(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show an API key or an access key, without its secret."""

        async def work(store: Store) -> Key | AccessKey:
            return await store.key(await only_tenant(store, tenant), name)

        show_one(admin.run(work, config, data_dir, database_url), json)

    @app.command(epilog="Example:  hub key rotate crm --tenant acme")
    def rotate(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Give an access key another secret, and print it once; the old one is good for 2 s at most."""

        async def work(transactions: Transactions, settings: Settings) -> tuple[AccessKey, str]:
            chosen = await only_tenant(store_of(transactions, settings), tenant)
            return await access_keys_of(transactions, settings).rotate(chosen, name)

        show_access_key(*admin.on_database(work, config, data_dir, database_url), json, done=f"rotated access key {name}")

    @app.command(epilog="Example:  hub key remove switch --tenant acme")
    def remove(
        name: str,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove an API key or an access key; sessions that it opened end."""

        async def work(store: Store) -> None:
            await store.remove_key(await only_tenant(store, tenant), name)

        admin.run(work, config, data_dir, database_url)
        show_removed(f"key {name}", json)

    return app


def _tokens(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub token add wallboard --tenant acme --role dashboard --expires-in 30d")

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

    @app.command(epilog="Example:  hub token block ext:corp:ana --tenant acme")
    def block(
        which: Annotated[str, typer.Argument(metavar="JTI|SUBJECT", help="The jti of one token, or a subject as `hub` knows it.")],
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Block a token of an external issuer, or all present ones of a subject; what they opened ends within 2 s."""

        async def work(transactions: Transactions, settings: Settings) -> int:
            from hub.security.issuers.settings import check_subject  # for this command alone
            from hub.security.issuers.store import ExternalStore

            check_subject(which, settings.auth.issuers)  # type: ignore[attr-defined]  # of the family auth
            name = await only_tenant(store_of(transactions, settings), tenant)
            return await ExternalStore(transactions, now_ms, max_tokens=0).block(name, which, recorder_of(settings))

        show_blocked(which, admin.on_database(work, config, data_dir, database_url), json)

    return app
