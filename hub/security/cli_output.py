"""The output of administrative commands: tables for people, JSON for scripts. Data go to standard output, messages to standard error."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import typer

from hub.objects.instances import instance_id
from hub.ops.cli import errors, print_json
from hub.security.models import AccessKey, ClientRow, Key, Role, Tenant, Token, User
from hub.terminal import print_fields, print_rows

Item = Tenant | Role | User | Key | AccessKey | Token | ClientRow

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
            shown[field] = "\n".join(grant_text(grant) for grant in value)
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
    if isinstance(item, Tenant):
        return {**asdict(item), "id": instance_id(item.name)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(item).items()}


def grant_text(grant: dict[str, Any]) -> str:
    """A grant, from its JSON form, in one line."""
    text = f"{'deny ' if grant.get('deny') else ''}{grant['action']} {' '.join(grant['within'])}"
    return f"{text} except {' '.join(grant['without'])}" if grant["without"] else text


def show_all(items: Sequence[Item], as_json: bool, nothing: str, columns: Sequence[str] = ()) -> None:
    """Print items; if there are none, print ``nothing`` to standard error. ``columns`` are those of the table, by default all."""
    if as_json:
        print_json([_plain(item) for item in items])
        return
    if not items:
        errors.print(nothing, markup=False)
        return
    rows = [_row(item) for item in items]
    shown = columns or tuple(rows[0])
    print_rows(shown, ([row[column] for column in shown] for row in rows))


def show_one(item: Item, as_json: bool, *, done: str = "", secret: tuple[str, str] | None = None) -> None:
    """Print one item, and its secret if given: (what it is called, the text)."""
    if as_json:
        print_json({**_plain(item), **({secret[0]: secret[1]} if secret else {})})
        return
    if done:
        errors.print(done, style="green", markup=False)
    print_fields(_row(item))
    if secret is not None:
        typer.echo(f"{secret[0]}: {secret[1]}")
        errors.print(_SAVE_IT, style="yellow", markup=False)


def show_access_key(key: AccessKey, secret: str, as_json: bool, *, done: str) -> None:
    """Print an access key with its secret, by the names that Amazon's tools have for them."""
    if as_json:
        print_json({**_plain(key), "access_key_id": key.id, "secret_access_key": secret})
        return
    show_one(key, as_json, done=done)
    typer.echo(f"aws_access_key_id = {key.id}")
    typer.echo(f"aws_secret_access_key = {secret}")
    errors.print(_SAVE_IT, style="yellow", markup=False)


def show_removed(what: str, as_json: bool) -> None:
    """Print that something was removed."""
    if as_json:
        print_json({"removed": what})
    else:
        errors.print(f"removed {what}; running nodes follow within 2 s", style="green", markup=False)


def show_blocked(what: str, ended: int, as_json: bool) -> None:
    """Print that tokens of an external issuer were blocked, and how many of them were in use; that none was may be a misspelling."""
    if as_json:
        print_json({"blocked": what, "ended": ended})
    elif ended:
        errors.print(f"blocked {what}; {ended} live tokens end within 2 s", style="green", markup=False)
    if not ended:
        errors.print(f"blocked {what}, but no live token has this jti or subject: check the spelling", style="yellow", markup=False)
