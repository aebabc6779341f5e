"""The output of administrative commands: tables for people, JSON for scripts. Data go to standard output, messages to standard error."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from hub.ops.cli import errors, print_json
from hub.security.models import ClientRow, Key, Role, Tenant, Token, User

Item = Tenant | Role | User | Key | Token | ClientRow

_SAVE_IT: Final = "Keep it now: it is not stored and cannot be shown again."


def _moment(ms: int | None) -> str:
    return "" if not ms else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _row(item: Item) -> dict[str, str]:
    """The columns of an item in a table."""
    shown: dict[str, str] = {}
    for field, value in _plain(item).items():
        if field.endswith("_ms"):
            shown[field.removesuffix("_ms")] = _moment(value)
        elif isinstance(item, Role) and field == "grants":
            shown[field] = "\n".join(_grant_text(grant) for grant in value)
        elif isinstance(value, list):
            shown[field] = ", ".join(value)
        else:
            shown[field] = "" if value is None else str(value)
    if isinstance(item, Token) and item.roles is None:
        shown["roles"] = "as its user"
    return shown


def _plain(item: Item) -> dict[str, Any]:
    """An item in its JSON form."""
    if isinstance(item, Role):
        return {**asdict(item), "grants": [grant.to_json() for grant in item.grants]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(item).items()}


def _grant_text(grant: dict[str, Any]) -> str:
    text = f"{'deny ' if grant.get('deny') else ''}{grant['action']} {' '.join(grant['within'])}"
    return f"{text} except {' '.join(grant['without'])}" if grant["without"] else text


def show_all(items: Sequence[Item], as_json: bool, nothing: str) -> None:
    """Print items; if there are none, print ``nothing`` to standard error."""
    if as_json:
        print_json([_plain(item) for item in items])
        return
    if not items:
        errors.print(nothing, markup=False)
        return
    table = Table()
    for column in _row(items[0]):
        table.add_column(column, overflow="fold")
    for item in items:
        table.add_row(*_row(item).values())
    _out().print(table, markup=False)


def show_one(item: Item, as_json: bool, *, done: str = "", secret: tuple[str, str] | None = None) -> None:
    """Print one item, and its secret if given: (what it is called, the text)."""
    if as_json:
        print_json({**_plain(item), **({secret[0]: secret[1]} if secret else {})})
        return
    if done:
        errors.print(done, style="green", markup=False)
    table = Table(show_header=False, box=None)
    for field, value in _row(item).items():
        table.add_row(field, value)
    _out().print(table, markup=False)
    if secret is not None:
        typer.echo(f"{secret[0]}: {secret[1]}")
        errors.print(_SAVE_IT, style="yellow", markup=False)


def show_removed(what: str, as_json: bool) -> None:
    """Print that something was removed."""
    if as_json:
        print_json({"removed": what})
    else:
        errors.print(f"removed {what}; running nodes follow within 2 s", style="green", markup=False)


def _out() -> Console:
    """A console for standard output. If that is a pipe, which has no width, lines are not broken."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=200)
