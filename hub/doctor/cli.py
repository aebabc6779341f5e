"""``hub doctor``: checks a data folder and reports what is wrong with it and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.doctor.checks import CHECKS, examine
from hub.doctor.inspection import Inspection, Level
from hub.doctor.salvage import SalvageError
from hub.doctor.salvage_folder import salvage_folder
from hub.families import migrations_of, whole
from hub.ops.cli import AsJson, Config, DatabaseUrl, DataDir, errors, load_or_exit, print_json
from hub.ops.settings import Settings
from hub.storage.lock import InUseError
from hub.terminal_text import shown

if TYPE_CHECKING:
    from hub.family import Family

FOUND: Final = 1
"""Exit code if there is a problem. With warnings only, the command ends with 0."""

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add ``hub doctor``. ``families`` returns the families whose settings, tables and checks it uses."""

    @app.command("doctor", epilog="Examples:  hub doctor --data-dir /var/lib/hub   |   hub doctor --data-dir copy --salvage new")
    def doctor(
        config: Config = None,
        data_dir: DataDir = None,
        database_url: DatabaseUrl = None,
        json: AsJson = False,
        into: Annotated[
            Path | None,
            typer.Option("--salvage", metavar="NEW-FOLDER", help="Write what can still be read of damaged files into a new folder."),
        ] = None,
    ) -> None:
        """Check a data folder and its database: integrity, versions, space, clock, permissions; and, where several hubs work together,
        their Redis, the nodes that live, and who owns which tenant. It changes nothing, and may run beside a hub; it ends with 1 when
        there is a problem.
        """
        known = families()
        settings = load_or_exit(known, config=config, flags={"data_dir": data_dir, "database_url": database_url})
        if into is not None:
            _salvage(settings, into, as_json=json)
            return
        inspection = Inspection(settings, time.time_ns() // 1_000_000, migrations_of(known))
        findings = examine(inspection, (*CHECKS, *(check for family in whole(known) for check in family.checks)))
        if json:
            print_json([asdict(finding) for finding in findings])
        else:
            for finding in findings:
                typer.secho(f"{finding.level:<8}", fg=_COLOURS[finding.level], nl=False)
                typer.echo(shown(f" {finding.subject}: {finding.message}"))
                if finding.advice:
                    typer.echo(shown(f"{'':9}{finding.advice}"))
        if any(finding.level is Level.PROBLEM for finding in findings):
            raise typer.Exit(FOUND)


def _salvage(settings: Settings, into: Path, *, as_json: bool) -> None:
    try:
        found = salvage_folder(settings, into)
    except (SalvageError, InUseError, OSError) as error:
        errors.print(f"--salvage: {error}", style="red", markup=False)
        raise typer.Exit(FOUND) from None
    if as_json:
        print_json({name: [asdict(report) for report in reports] for name, reports in found.items()})
    else:
        for name, reports in found.items():
            for report in reports:
                lost = "; ".join(report.gaps) or "whole"
                typer.secho(f"{name} {report.name}: {report.rows} rows, {lost}", fg="yellow" if report.gaps else "green")
        typer.echo(f"written into {into.absolute()}")
    if any(report.gaps for reports in found.values() for report in reports):
        raise typer.Exit(FOUND)
