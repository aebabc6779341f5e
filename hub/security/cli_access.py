"""``hub access``: what somebody may do, and why, from the database alone (docs/security.md#who-may-do-what-and-why)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from hub.core.principal import Action
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption, print_json
from hub.security.cli_database import Admin, now_ms, only_tenant, recorder_of, refuse, store_of
from hub.security.cli_output import grant_text
from hub.security.clients_store import ClientsStore
from hub.security.explanation import KINDS, Explainer, Explanation, Who
from hub.security.roles import Grants
from hub.terminal_text import shown

if TYPE_CHECKING:
    from hub.family import Family
    from hub.ops.settings import Settings
    from hub.storage.transactions import Transactions

T = TypeVar("T")

_ACTIONS: Final = ", ".join(action.value for action in Action)
_PLACES: Final = ", ".join(f"{kind}:NAME" for kind in KINDS)

WhoArgument = Annotated[
    str, typer.Argument(metavar="WHO", help=f"{_PLACES}, or the name alone; of a token the subject or the id.", show_default=False)
]
SubjectOption = Annotated[str, typer.Option(metavar="SUBJECT", help="For role:NAME: who has the role.", show_default=False)]
ScopeOption = Annotated[
    list[str] | None, typer.Option("--scope", metavar="SCOPE", help="By a token that is limited to this OAuth scope; may be repeated.")
]


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add the commands. ``families`` returns the families whose settings may be in the settings file."""
    app.add_typer(_access(Admin(families)), name="access", help="Who may do what, and why.")


def _access(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub access explain ana subscribe '/agents/{subject}/**'")

    def ask(tenant: str | None, work: Callable[[Explainer, str], Awaitable[T]], *where: Any) -> T:
        async def on_database(transactions: Transactions, settings: Settings) -> T:
            store = store_of(transactions, settings)
            name = (await store.tenant(await only_tenant(store, tenant))).name
            clients = ClientsStore(transactions, now_ms, recorder_of(settings))
            return await work(Explainer(transactions, admin.access, store, clients), name)

        return admin.on_database(on_database, *where)

    @app.command(
        epilog="Examples:  hub access explain ana subscribe '/agents/{subject}/**'  |  hub access explain key:switch publish /alarms  |  "
        "hub access explain role:agent call /statistics/read  |  hub access explain ana /alarms"
    )
    def explain(
        who: WhoArgument,
        what: Annotated[
            list[str],
            typer.Argument(
                metavar="[ACTION] WHAT",
                help=f"{_ACTIONS}, or none of them for all three; then a channel, a pattern, or an operation such as /statistics/read. "
                "{subject} in it stands for the subject.",
                show_default=False,
            ),
        ],
        tenant: TenantOption = None,
        subject: SubjectOption = "",
        scope: ScopeOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Say whether somebody may subscribe to a channel, publish on it, or call an operation, and which rule of which role decides.

        It needs no running hub. It ends with 0 whether that is allowed or denied.
        """
        actions, resource = _asked(what)

        async def work(explainer: Explainer, name: str) -> list[tuple[Who, list[Explanation]]]:
            everybody = await explainer.find(who, name, subject=subject, scopes=explainer.limited_to(scope))
            return [(each, [await explainer.explain(each, action, resource) for action in actions]) for each in everybody]

        found = ask(tenant, work, config, data_dir, database_url)
        if json:
            print_json([{**_plain(each), "answers": [answer.to_json() for answer in answers]} for each, answers in found])
            return
        for each, answers in found:
            typer.echo(shown(str(each)))
            for answer in answers:
                typer.echo(shown(f"  {answer.action.value} {answer.resource}: {'allowed' if answer.allowed else 'denied'}"))
                for reason in answer.reasons:
                    typer.echo(shown(f"    {reason}"))

    @app.command("list", epilog="Examples:  hub access list ana  |  hub access list role:agent --json")
    def list_(
        who: WhoArgument,
        tenant: TenantOption = None,
        scope: ScopeOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """List the rules of somebody's roles, with the subject in the place of variables, and the operations that may be called."""

        async def work(explainer: Explainer, name: str) -> list[tuple[Who, dict[str, Grants], list[str]]]:
            everybody = await explainer.find(who, name, scopes=explainer.limited_to(scope))
            return [(each, await explainer.rules(each), await explainer.callable_by(each)) for each in everybody]

        found = ask(tenant, work, config, data_dir, database_url)
        if json:
            print_json(
                [
                    {
                        **_plain(each),
                        "rules": {role: [grant.to_json() for grant in grants] for role, grants in rules.items()},
                        "operations": operations,
                    }
                    for each, rules, operations in found
                ]
            )
            return
        for each, rules, operations in found:
            typer.echo(shown(str(each)))
            for role, grants in rules.items():
                typer.echo(shown(f"  role {role}"))
                for grant in grants:
                    typer.echo(shown(f"    {grant_text(grant.to_json())}"))
            typer.echo(f"  may call {', '.join(operations) or 'nothing'}")

    return app


def _asked(what: Sequence[str]) -> tuple[list[Action], str]:
    """The actions and the resource of a question; both may also be one quoted word."""
    words = [word for text in what for word in text.split()]
    asked = [action for action in Action if len(words) == 1 or words[:-1] == [action.value]]
    if not asked or not words:
        refuse(f"WHAT: expected {_ACTIONS}, or none of them, and one channel, pattern or operation, got {' '.join(words) or 'nothing'}")
    return asked, words[-1]


def _plain(who: Who) -> dict[str, Any]:
    """Somebody, in JSON form."""
    return {
        "kind": who.kind,
        "name": who.name,
        "tenant": who.tenant,
        "subject": who.subject,
        "roles": list(who.roles),
        "scopes": None if who.scopes is None else list(who.scopes),
    }
