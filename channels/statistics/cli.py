"""``hub explain``: what a predefined statistic means."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from channels.statistics.engine.library import Predefined, names

UNKNOWN = 2
"""Exit code for a name that is not in the library."""


def register(app: typer.Typer) -> None:
    """Add the family's commands."""
    app.command("explain", epilog="Example: hub explain ServiceLevel")(explain)


def explain(
    statistic: Annotated[
        str | None, typer.Argument(help="Name of a predefined statistic; without it all are listed.", metavar="STATISTIC")
    ] = None,
) -> None:
    """Say what a predefined statistic means: what is counted, for which objects, and when subscribers hear of it."""
    library = {entry.name: entry for entry in names()}
    if statistic is None:
        _print_list(list(library.values()))
        return
    found = library.get(statistic)
    if found is None:
        _refuse(statistic, list(library))
    else:
        _print_entry(found)


def _print_list(entries: list[Predefined]) -> None:
    table = Table("Name", "Objects", "Meaning", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(entry.name, ", ".join(entry.objects), entry.sentence)
    Console().print(table)


def _print_entry(entry: Predefined) -> None:
    console = Console()
    console.print(entry.name, style="bold", markup=False)
    console.print(entry.sentence, markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("Objects", ", ".join(entry.objects))
    table.add_row("Category", entry.category)
    table.add_row("Subject", entry.subject)
    table.add_row("Main mask", entry.main_mask)
    if entry.rel_mask is not None:
        table.add_row("Rel mask", entry.rel_mask)
    for key, title in (("timeRange", "Time range"), ("dynamicTimeProfile", "Time profile"), ("dynamicFilter", "Filter")):
        if key in entry.raw:
            table.add_row(title, str(entry.raw[key]))
    table.add_row("Notification", entry.notification)
    for number, example in enumerate(entry.examples):
        table.add_row("" if number else "Examples", example)
    console.print(table)


def _refuse(name: str, known: list[str]) -> None:
    by_folded = {each.lower(): each for each in known}
    near = [by_folded[match] for match in get_close_matches(name.lower(), by_folded, n=5, cutoff=0.4)]
    error = Console(stderr=True)
    error.print(f"There is no predefined statistic {name!r}.", markup=False)
    error.print(f"Nearest: {', '.join(near)}" if near else "`hub explain` lists them all.", markup=False)
    raise typer.Exit(UNKNOWN)
