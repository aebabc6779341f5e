"""``hub doctor``: looks at a data folder and says what is wrong with it, and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

from hub.doctor.checks import CHECKS, examine
from hub.doctor.inspection import Inspection, Level
from hub.family import migrations_of
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, load_or_exit, print_json

if TYPE_CHECKING:
    from hub.family import Family

FOUND: Final = 1
"""Exit code when there is a problem. Warnings alone end with 0."""

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add ``hub doctor``. ``families`` yields those whose settings, tables and checks are known."""

    @app.command("doctor", epilog="Example:  hub doctor --data-dir /var/lib/hub")
    def doctor(config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, json: AsJson = False) -> None:
        """Check a data folder and its database: integrity, versions, space, clock, permissions. It changes nothing, and may run beside a
        hub; it ends with 1 when there is a problem.
        """
        known = families()
        settings = load_or_exit(known, config=config, flags={"data_dir": data_dir, "database_url": database_url})
        inspection = Inspection(settings, time.time_ns() // 1_000_000, migrations_of(known))
        findings = examine(inspection, (*CHECKS, *(check for family in known for check in family.checks)))
        if json:
            print_json([asdict(finding) for finding in findings])
        else:
            for finding in findings:
                typer.secho(f"{finding.level:<8}", fg=_COLOURS[finding.level], nl=False)
                typer.echo(f" {finding.subject}: {finding.message}")
                if finding.advice:
                    typer.echo(f"{'':9}{finding.advice}")
        if any(finding.level is Level.PROBLEM for finding in findings):
            raise typer.Exit(FOUND)
