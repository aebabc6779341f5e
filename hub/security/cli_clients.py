"""``hub client``: OAuth clients, directly on the database (docs/authentication.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption
from hub.ops.settings import Settings
from hub.security.cli_database import Admin, now_ms, only_tenant, recorder_of, store_of
from hub.security.cli_options import AnyTenant, RolesOption, lifetime_s
from hub.security.cli_output import show_all, show_one, show_removed
from hub.security.clients_store import ClientChange, ClientsStore, NewClient
from hub.security.models import AdminError, ClientRow
from hub.security.oauth.models import GRANTS, Client, Lifetimes
from hub.security.store import Store
from hub.storage.transactions import Transactions

if TYPE_CHECKING:
    from hub.family import Family

T = TypeVar("T")

_GRANTS: Final = ", ".join(grant.name.lower() for grant in GRANTS)

Uris = Annotated[
    list[str] | None,
    typer.Option(
        "--redirect-uri", metavar="URI", help="https://..., http://127.0.0.1/... on any port, or com.example.app:/...; repeatable."
    ),
]
LogoutUris = Annotated[list[str] | None, typer.Option("--post-logout-uri", metavar="URI", help="Where a sign-out may lead; repeatable.")]
Origins = Annotated[
    list[str] | None,
    typer.Option("--origin", metavar="ORIGIN", help="Origin whose pages may call the hub, such as https://app.example.com."),
]
Frames = Annotated[
    list[str] | None, typer.Option("--frame-origin", metavar="ORIGIN", help="Origin that may show the sign-in page in a frame.")
]
Grants = Annotated[list[str] | None, typer.Option("--grant", metavar="GRANT", help=f"{_GRANTS}; repeatable. By default the first two.")]


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add the commands. ``families`` returns the families whose settings may be in the settings file."""
    app.add_typer(_clients(Admin(families)), name="client", help="OAuth clients: applications that sign users in, and programs.")


def _clients(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub client add wall --public --redirect-uri https://wall.example.com/cb")

    def run(work: Callable[[ClientsStore, Store], Awaitable[T]], *where: Any) -> T:
        def on(transactions: Transactions, settings: Settings) -> Awaitable[T]:
            return work(ClientsStore(transactions, now_ms, recorder_of(settings)), store_of(transactions, settings))

        return admin.on_database(on, *where)

    @app.command(epilog="Example:  hub client add wall --public --redirect-uri https://wall.example.com/cb")
    def add(
        client_id: Annotated[str, typer.Argument(metavar="ID", help="What the application sends as client_id.")],
        tenant: TenantOption = None,
        name: Annotated[str, typer.Option(help="What users read on the sign-in page; by default the id.")] = "",
        public: Annotated[bool, typer.Option("--public", help="It can keep no secret, as an application in a browser.")] = False,
        redirect_uri: Uris = None,
        post_logout_uri: LogoutUris = None,
        grant: Grants = None,
        role: RolesOption = None,
        origin: Origins = None,
        frame_origin: Frames = None,
        pkce: Annotated[bool, typer.Option("--pkce", help="Require PKCE of a client with a secret too.")] = False,
        consent: Annotated[bool, typer.Option("--consent", help="Ask each user whether the client may.")] = False,
        access_for: Annotated[str | None, typer.Option(metavar="TIME", help="How long its access tokens are good; 12h by default.")] = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Add a client; the secret of one that is not public is printed once. With roles, its tokens have no others."""

        async def work(clients: ClientsStore, store: Store) -> tuple[Client, str | None]:
            new = NewClient(
                id=client_id,
                tenant=await only_tenant(store, tenant),
                name=name,
                public=public,
                grants=grant or NewClient.DEFAULT_GRANTS,
                roles=role,
                redirect_uris=redirect_uri or (),
                post_logout_uris=post_logout_uri or (),
                origins=origin or (),
                frame_origins=frame_origin or (),
                pkce=pkce,
                consent=consent,
                lifetimes=Lifetimes() if access_for is None else Lifetimes(access_s=lifetime_s(access_for, "--access-for")),
            )
            return await clients.add(new)

        client, secret = run(work, config, data_dir, database_url)
        show_one(ClientRow.of(client), json, done=f"added client {client_id}", secret=None if secret is None else ("secret", secret))

    @app.command("list", epilog="Example:  hub client list --tenant acme")
    def list_(
        tenant: AnyTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False
    ) -> None:
        """List the clients; `hub client show` tells more of one."""
        found = run(lambda clients, _: clients.all(tenant), config, data_dir, database_url)
        nothing = "no clients yet; add one with: hub client add ID --redirect-uri URI"
        show_all([ClientRow.of(each) for each in found], json, nothing, ("id", "tenant", "public", "grants", "roles", "redirect_uris"))

    @app.command(epilog="Example:  hub client show wall")
    def show(
        client_id: Annotated[str, typer.Argument(metavar="ID")],
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show a client, without its secrets."""
        show_one(ClientRow.of(run(lambda clients, _: clients.one(client_id), config, data_dir, database_url)), json)

    @app.command(epilog="Example:  hub client change wall --redirect-uri https://wall.example.com/cb --redirect-uri http://127.0.0.1/cb")
    def change(
        client_id: Annotated[str, typer.Argument(metavar="ID")],
        name: Annotated[str | None, typer.Option(help="What users read on the sign-in page.")] = None,
        redirect_uri: Uris = None,
        post_logout_uri: LogoutUris = None,
        grant: Annotated[list[str] | None, typer.Option("--grant", metavar="GRANT", help=f"{_GRANTS}; repeatable.")] = None,
        role: RolesOption = None,
        every_role: Annotated[bool, typer.Option("--every-role", help="Its tokens have all roles of their users.")] = False,
        origin: Origins = None,
        frame_origin: Frames = None,
        pkce: Annotated[bool | None, typer.Option("--pkce/--no-pkce", help="Require PKCE of a client with a secret too.")] = None,
        consent: Annotated[bool | None, typer.Option("--consent/--no-consent", help="Ask each user whether the client may.")] = None,
        access_for: Annotated[str | None, typer.Option(metavar="TIME", help="How long its access tokens are good.")] = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Change a client. What is not given stays; what is given replaces all that was there of its kind, and "" empties a list."""

        async def work(clients: ClientsStore, _: Store) -> Client:
            if role is not None and every_role:
                raise AdminError("--every-role: expected it without --role, got both")
            access_s = None if access_for is None else lifetime_s(access_for, "--access-for")
            made = ClientChange(
                name=name,
                grants=grant,
                roles=role,
                redirect_uris=_emptied(redirect_uri),
                post_logout_uris=_emptied(post_logout_uri),
                origins=_emptied(origin),
                frame_origins=_emptied(frame_origin),
                pkce=pkce,
                consent=consent,
                access_s=access_s,
                every_role=every_role,
            )
            if made == ClientChange():
                raise AdminError("expected something to change, got nothing; see: hub client change --help")
            return await clients.change(client_id, made)

        client = run(work, config, data_dir, database_url)
        show_one(ClientRow.of(client), json, done=f"changed client {client_id}")

    @app.command(epilog="Example:  hub client secret crm    and, when every program has the new one:  hub client secret crm --drop-old")
    def secret(
        client_id: Annotated[str, typer.Argument(metavar="ID")],
        drop_old: Annotated[bool, typer.Option("--drop-old", help="Take the older of two secrets back.")] = False,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Give a client another secret, and print it once. The old one is good until it is dropped."""

        async def work(clients: ClientsStore, _: Store) -> tuple[Client, str | None]:
            return (await clients.drop_old_secret(client_id), None) if drop_old else await clients.add_secret(client_id)

        client, made = run(work, config, data_dir, database_url)
        done = f"dropped the old secret of {client_id}" if made is None else f"added a secret of {client_id}"
        show_one(ClientRow.of(client), json, done=done, secret=None if made is None else ("secret", made))

    @app.command(epilog="Example:  hub client remove wall")
    def remove(
        client_id: Annotated[str, typer.Argument(metavar="ID")],
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a client; every token that it got ends, and with them what they opened."""
        run(lambda clients, _: clients.remove(client_id), config, data_dir, database_url)
        show_removed(f"client {client_id}", json)

    return app


def _emptied(given: list[str] | None) -> list[str] | None:
    """The values of a repeatable option; one empty value stands for none."""
    return [] if given == [""] else given
