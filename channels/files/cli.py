"""``hub file``: the files around conversations, directly on the database and the store. Running nodes follow at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from channels.files import store_files
from channels.files.arns import Arns
from channels.files.changes import FileChanges
from channels.files.counters import Counters
from channels.files.errors import FileNotFound
from channels.files.models import FileRecord, objects_of
from channels.files.serializers import file_details
from channels.files.settings import FilesSettings
from hub.objects.open_store import ObjectsSettingsError, open_store
from hub.objects.store import ObjectStoreError
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, TenantOption, errors, print_json
from hub.ops.settings import Settings
from hub.outbox.recorder import EventRecorder
from hub.security.cli_database import Admin, only_tenant, store_of
from hub.security.models import AdminError
from hub.storage.transactions import Transaction, Transactions
from hub.terminal import print_fields, print_rows
from hub.transports.runtime import SystemClock

if TYPE_CHECKING:
    from hub.family import Family

T = TypeVar("T")

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The id of the file.")]


class _Runner:
    """Runs the work of a command."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def run(
        self,
        tenant: str | None,
        work: Callable[[Transactions, Settings, str], Awaitable[T]],
        config: Any,
        data_dir: Any,
        database_url: Any,
    ) -> T:
        """Run ``work`` for the tenant that is meant."""

        async def connected(transactions: Transactions, settings: Settings) -> T:
            store = store_of(transactions, settings)
            name = (await store.tenant(await only_tenant(store, tenant))).name
            try:
                return await work(transactions, settings, name)
            except FileNotFound as error:
                raise AdminError(f"FILE: expected one of tenant {name}, got {error}; see: hub file list --tenant {name}") from None
            except (ObjectStoreError, ObjectsSettingsError) as error:
                raise AdminError(f"the store of files: {error}") from None

        return self._admin.on_database(connected, config, data_dir, database_url)


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add ``hub file``. ``families`` yields those whose settings may stand in the settings file."""
    runner = _Runner(Admin(families))
    commands = typer.Typer(no_args_is_help=True, epilog="Example:  hub file list --interaction 4712")
    app.add_typer(commands, name="file", help="Files around conversations: attached files, and those of chats.")
    _look(commands, runner)
    _remove(commands, runner)


def _look(app: typer.Typer, runner: _Runner) -> None:
    @app.command("list", epilog="Examples:\n\n`hub file list --limit 20`\n\n`hub file list --interaction 4712 --json`")
    def list_(
        interaction: Annotated[str | None, typer.Option(metavar="ID", help="Only files of this interaction.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """List files, the newest first."""

        async def look(transactions: Transactions, settings: Settings, name: str) -> list[FileRecord]:
            if interaction is None:
                return await transactions.read(lambda tx: store_files.newest(tx, name, limit))
            return await transactions.read(lambda tx: store_files.of_interaction(tx, name, interaction, None, limit))

        found = runner.run(tenant, look, config, data_dir, database_url)
        if json:
            print_json([_plain(each) for each in found])
        elif not found:
            errors.print("no files", markup=False)
        else:
            print_rows(
                ("id", "status", "size", "created", "name"),
                ((each.id, each.status, str(each.size), _time(each.created_ms), each.name) for each in found),
            )

    @app.command(epilog="Example:  hub file show 333b9107-6529-404b-be97-cb2437fdafdd")
    def show(
        file: FileArgument,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Show what is known of a file, and where its bytes are."""

        async def look(transactions: Transactions, settings: Settings, name: str) -> FileRecord:
            found = await transactions.read(lambda tx: store_files.find(tx, name, file))
            if found is None:
                raise FileNotFound(file)
            return found

        shown = _plain(runner.run(tenant, look, config, data_dir, database_url))
        if json:
            print_json(shown)
            return
        print_fields({name: _text(name, value) for name, value in shown.items()})


def _remove(app: typer.Typer, runner: _Runner) -> None:
    @app.command(epilog="Example:  hub file remove 333b9107-6529-404b-be97-cb2437fdafdd")
    def remove(
        file: FileArgument,
        tenant: TenantOption = None,
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
    ) -> None:
        """Remove a file and its bytes; links to it end."""

        async def delete(transactions: Transactions, settings: Settings, name: str) -> None:
            clock = SystemClock()
            own: FilesSettings = settings.files  # type: ignore[attr-defined]  # a section of this family
            # no place in memory: the event waits in the database until a hub sends it on
            recorder = EventRecorder("", clock, hand_over=lambda event, leased: None, has_room=lambda tenant: False)
            changes = FileChanges(recorder, Arns(own.arn_region, own.arn_account), Counters())

            def write(tx: Transaction) -> FileRecord:
                found = store_files.lock(tx, name, file)
                if found is None or not changes.delete(tx, found):
                    raise FileNotFound(file)
                return found

            removed = await transactions.write(write)
            store = open_store(settings.objects, settings.data_dir, clock)
            try:
                await store.delete(objects_of(removed))
            finally:
                await store.close()

        runner.run(tenant, delete, config, data_dir, database_url)
        if json:
            print_json({"removed": f"file {file}"})
        else:
            errors.print(f"removed file {file}", style="green", markup=False)


def _plain(file: FileRecord) -> dict[str, Any]:
    shown = file_details(file, Arns("", ""))
    del shown["arn"]  # its region and account are settings, and it says no more than the id
    return {**shown, "object": file.key}


def _text(name: str, value: object) -> str:
    """A field in a table."""
    if value is None:
        return ""
    if isinstance(value, int) and name.endswith("At"):
        return _time(value)
    if isinstance(value, dict):
        return "\n".join(f"{key} = {each}" for key, each in value.items())
    return str(value)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
