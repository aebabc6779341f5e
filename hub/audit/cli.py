"""``hub audit``: lists, exports and checks the audit log, directly on the database (docs/audit.md)."""

from __future__ import annotations

import heapq
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import orjson
import typer

from hub.audit import store
from hub.audit.log import AuditLog
from hub.audit.models import Event, Row
from hub.audit.serializers import row_entry
from hub.audit.verify import Checked, Expected, Verifier
from hub.core.time_text import time_text
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, errors, print_json
from hub.ops.settings import Settings
from hub.security.cli_database import REFUSED, Admin, now_ms, recorder_of, refuse
from hub.security.cli_options import lifetime_s
from hub.security.models import AdminError
from hub.security.queries import begin_change
from hub.storage.transactions import Transaction, Transactions
from hub.terminal import print_rows
from hub.terminal_text import shown

if TYPE_CHECKING:
    from hub.family import Family

T = TypeVar("T")

PAGE: Final = 500
"""Rows that are read at once."""

OfTenant = Annotated[
    str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only the log of this tenant; '': what concerns no tenant.")
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only what happened in this time: 90s, 15m, 8h, 30d or 2w.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="EVENT", help="Only these: user.added, or user.* for all of users; repeatable."),
]
PersonName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only what this user did, or what was done to it: the name, as it signs in.")
]
Expectations = Annotated[
    list[str] | None,
    typer.Option("--expect", metavar="TENANT:NUMBER:HASH", help="A row as an earlier check told it: it must be there still; repeatable."),
]

_EXPECTED: Final = re.compile(r"([A-Za-z0-9._-]*):([0-9]{1,15}):([0-9a-f]{64})")


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add the commands. ``families`` returns the families whose settings may be in the settings file."""
    app.add_typer(_commands(Admin(families)), name="audit", help="The audit log: who changed or tried what.")


def _commands(admin: Admin) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, epilog="Example:  hub audit list --since 1d --event 'user.*'")

    def run(work: Callable[[Transactions, AuditLog], Awaitable[T]], *where: Any) -> T:
        def on(transactions: Transactions, settings: Settings) -> Awaitable[T]:
            return work(transactions, recorder_of(settings).log)

        return admin.on_database(on, *where)

    @app.command("list", epilog="Example:  hub audit list --tenant acme --since 1d --event sign_in.failed --event 'user.*'")
    def list_(
        tenant: OfTenant = None,
        since: Since = None,
        event: Events = None,
        person: PersonName = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")] = 50,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """List the newest rows of the audit log, the newest first."""

        async def work(transactions: Transactions, audit: AuditLog) -> list[Row]:
            found = []
            for name in await _tenants(transactions, tenant):
                wanted = _wanted(event, since, "" if person is None else audit.person(name, person))
                found.append([row async for row in _newest(transactions, name, wanted, limit)])
            return list(heapq.merge(*found, key=lambda row: -row.at_ms))[:limit]

        rows = run(work, config, data_dir, database_url)
        if json:
            print_json([row_entry(row) for row in rows])
        elif rows:
            _show(rows)
        else:
            errors.print("no such rows", markup=False)

    @app.command(epilog="Example:  hub audit export --tenant acme > audit.ndjson")
    def export(tenant: OfTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
        """Write the audit log to standard output, a JSON object on each line, the oldest row of each tenant first."""

        async def work(transactions: Transactions, _: AuditLog) -> int:
            rows = 0
            with errors.status("exporting") as status:
                for name in await _tenants(transactions, tenant):
                    async for page in _pages(transactions, name):
                        typer.echo(shown(b"".join(orjson.dumps(row_entry(row)) + b"\n" for row in page).decode()), nl=False)
                        rows += len(page)
                        status.update(f"{rows:,} rows")
            return rows

        errors.print(f"{run(work, config, data_dir, database_url):,} rows", markup=False)

    @app.command(epilog="Example:  hub audit verify    and, with what it told last week:  hub audit verify --expect acme:4711:9f86d081...")
    def verify(
        tenant: OfTenant = None,
        expect: Expectations = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Check that no row was changed and none is missing. It ends with 1 if something is wrong.

        It tells where each log ends. Who keeps that elsewhere can check later, by --expect, that nothing up to there was written anew.
        """
        expected = _expected(expect or [])

        async def work(transactions: Transactions, audit: AuditLog) -> list[Checked]:
            verifier = Verifier(transactions, audit, expected)
            with errors.status("checking") as status:
                names = None if tenant is None else await _tenants(transactions, tenant)

                def report(name: str, rows: int) -> None:
                    status.update(shown(f"{name or 'the hub'}: {rows:,} rows"))

                return [each async for each in verifier.check(names, report)]

        checked = run(work, config, data_dir, database_url)
        if json:
            print_json([_plain(each) for each in checked])
        else:
            for each in checked:
                _tell(each)
            if not checked:
                errors.print("there is no log: no row was ever written into this database, or all of it was removed", markup=False)
        if any(each.problems for each in checked):
            raise typer.Exit(REFUSED)

    @app.command(epilog="Example:  hub audit seal --tenant acme")
    def seal(tenant: OfTenant = None, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
        """Seal anew where logs begin and end whose seal is not good, as after a change of HUB_SECRET. Each gets a row that tells it.

        Look first by hub audit verify --expect what was changed: after this nothing else tells of it.
        """

        async def work(transactions: Transactions, settings: Settings) -> list[str]:
            by = recorder_of(settings)
            names = await _tenants(transactions, tenant)

            def again(tx: Transaction) -> list[str]:
                begin_change(tx)
                return [name for name in names if by.log.seal_again(tx, by.actor, name)]

            return await transactions.write(again)

        sealed = admin.on_database(work, config, data_dir, database_url)
        for name in sealed:
            errors.print(f"{name or 'the hub itself'}: sealed", style="green", markup=False)
        if not sealed:
            errors.print("each seal is good: nothing was changed", markup=False)

    return app


async def _tenants(transactions: Transactions, tenant: str | None) -> list[str]:
    """The tenants that have a log, or the one that is meant.

    Raises:
        AdminError: that one has none.
    """
    known = await transactions.read(store.tenants)
    if tenant is None:
        return known
    if tenant not in known:
        there = ", ".join(name or "'' (the hub itself)" for name in known) or "none yet"
        raise AdminError(f"--tenant: expected a tenant that has a log, got {tenant!r}; there are: {there}")
    return [tenant]


async def _newest(transactions: Transactions, tenant: str, wanted: store.Wanted, limit: int) -> AsyncIterator[Row]:
    before, left = None, limit
    while left:
        page = await transactions.read(lambda tx, at=before, most=left: store.page(tx, tenant, wanted, at, min(most, PAGE)))  # type: ignore[misc]
        for row in page.rows:
            yield row
        left -= len(page.rows)
        before = page.before
        if before is None:
            return


async def _pages(transactions: Transactions, tenant: str) -> AsyncIterator[list[Row]]:
    """The rows of a tenant as far as they are there at the beginning, the oldest first."""
    ends = await transactions.read(lambda tx: store.ends_of(tx, tenant))
    number = 0 if ends is None else ends.first
    while ends is not None and number <= ends.number:
        page = await transactions.read(lambda tx, at=number: store.from_number(tx, tenant, at, PAGE))  # type: ignore[misc]
        rows = [row for row in page if row.number <= ends.number]
        if not rows:
            return
        yield rows
        number = rows[-1].number + 1


def _wanted(events: list[str] | None, since: str | None, who: str) -> store.Wanted:
    since_ms = 0 if since is None else now_ms() - lifetime_s(since, "--since") * 1000
    return store.Wanted(tuple(event for text in events or [] for event in _events(text)), who, since_ms)


def _events(text: str) -> list[str]:
    """The events that ``user.added`` or ``user.*`` stands for.

    Raises:
        AdminError: there is none.
    """
    found = [event.value for event in Event if event == text or (text.endswith(".*") and event.startswith(text[:-1]))]
    if not found:
        raise AdminError(f"--event: expected some of {', '.join(Event)}, or user.* and the like, got {text!r}")
    return found


def _expected(texts: Sequence[str]) -> Expected:
    expected = {}
    for text in texts:
        found = _EXPECTED.fullmatch(text)
        if found is None:
            refuse(f"--expect: expected TENANT:NUMBER:HASH as hub audit verify tells it, got {text!r}")
        expected[found[1], int(found[2])] = found[3]
    return expected


def _show(rows: Sequence[Row]) -> None:
    lines = []
    for row in rows:
        times = f" x {row.count}" if row.count > 1 else ""
        came_from = " ".join(filter(None, (row.address, row.client)))
        change = " -> ".join(text for text in (row.before, row.after) if text is not None)
        lines.append((time_text(row.at_ms)[:19], row.tenant, f"{row.event}{times}", row.who, row.target, came_from, change))
    print_rows(("time (UTC)", "tenant", "event", "who", "target", "from", "change"), lines)


def _plain(checked: Checked) -> dict[str, Any]:
    problems = [{"number": problem.number, "what": problem.what} for problem in checked.problems]
    return {
        "tenant": checked.tenant,
        "rows": checked.rows,
        "first": checked.first,
        "number": checked.number,
        "hash": checked.hash,
        "problems": problems,
    }


def _tell(checked: Checked) -> None:
    name = checked.tenant or "the hub itself"
    for problem in checked.problems:
        where = f"row {problem.number}" if problem.number else "the log"
        errors.print(f"{name}: {where}: {problem.what}", style="red", markup=False)
    if not checked.problems:
        errors.print(f"{name}: {checked.rows:,} rows, none changed, none missing; it ends with:", style="green", markup=False)
        typer.echo(shown(f"{checked.tenant}:{checked.number}:{checked.hash}"))
