"""``hub migrate``: moves a hub's database from SQLite to PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from hub.families import migrations_of
from hub.ops.cli import Config, DataDir, errors, load_or_exit
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.lock import InUseError
from hub.storage.migrations import migrate
from hub.storage.to_postgresql import MigrationError, migrate_to_postgresql
from hub.storage.to_postgresql import Progress as Step
from hub.storage.transactions import StorageError
from hub.storage.url import DatabaseUrl

if TYPE_CHECKING:
    from hub.family import Family

FAILED: Final = 1
"""Exit code when the database was not migrated, or not whole."""


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add ``hub migrate``. ``families`` returns the families whose tables are copied."""

    @app.command(
        "migrate",
        epilog="Examples:\n\n"
        "`hub migrate --to-postgresql postgresql://hub@db.example.com/hub --data-dir /var/lib/hub` — into a new, empty database\n\n"
        "The same again after an interruption: it goes on where it stopped.\n\n"
        "Then start the hub with `--database-url postgresql://hub@db.example.com/hub` on the same data folder.",
    )
    def migrate_command(
        to_postgresql: Annotated[
            str, typer.Option("--to-postgresql", metavar="URL", help="The new database: postgresql://USER@HOST/NAME.")
        ],
        config: Config = None,
        data_dir: DataDir = None,
    ) -> None:
        """Copy the database of a hub that is stopped from SQLite into PostgreSQL. The data folder stays as it is."""
        settings = load_or_exit(families(), config=config, flags={"data_dir": data_dir})
        packages = migrations_of(families())
        try:
            counts = _migrate(settings.database, to_postgresql, packages)
        except (MigrationError, StorageError, InUseError, ValueError) as error:
            errors.print(str(error), style="red", markup=False)
            raise typer.Exit(FAILED) from None
        typer.echo(f"{sum(counts.values())} rows of {len(counts)} tables are in {DatabaseUrl.parse(to_postgresql)}")
        typer.echo("start the hub with it as database_url; with redis_url and link_listen it imports its events from events.db")


def _migrate(source_url: str, target_url: str, packages: Sequence[str]) -> dict[str, int]:
    if not target_url.startswith("postgres"):
        raise ValueError(f"--to-postgresql: expected a URL such as postgresql://hub@db/hub, got {target_url.partition(':')[0]}:...")
    path = DatabaseUrl.parse(source_url).path
    if path is None:
        raise ValueError("database_url: expected the SQLite database of the data folder, got another one: it needs no migration")
    if not path.exists():  # opening it would make it
        raise ValueError(f"there is no {path.absolute()}: name the data folder of the hub with --data-dir")
    source = Database(source_url)
    try:
        lock = backend_of(source)  # a hub that runs would go on writing
    except BaseException:
        source.close()
        raise
    target = Database(target_url)
    try:
        asyncio.run(migrate(target, packages))
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=errors) as bar:
            tasks: dict[str, TaskID] = {}

            def show(step: Step) -> None:
                if step.table not in tasks:
                    tasks[step.table] = bar.add_task(step.table, total=step.rows)
                bar.update(tasks[step.table], completed=step.copied)

            return dict(migrate_to_postgresql(path, target, packages, show))
    finally:
        lock.close()
        source.close()
        target.close()
