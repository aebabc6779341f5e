"""``hub explain``: what a predefined statistic means; ``hub interaction clear``: end an interaction whose end no event told."""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

import aiohttp
import orjson
import typer
from rich.table import Table

from channels.statistics.engine.library import Predefined, names
from hub.terminal import Console

NOTHING_GOES_ON = 1
"""Exit code: there is nothing to clear."""
REFUSED = 2
"""Exit code: the hub could not be reached, or refused."""
_PATIENCE_S = 60

UNKNOWN = 2
"""Exit code for a name that is not in the library."""


def register(app: typer.Typer) -> None:
    """Add the family's commands."""
    app.command("explain", epilog="Example: hub explain ServiceLevel")(explain)
    interactions = typer.Typer(no_args_is_help=True, epilog="Example: hub interaction clear c-4711 --token TOKEN")
    interactions.command("clear", epilog="Example: hub interaction clear c-4711 --token TOKEN")(clear)
    app.add_typer(interactions, name="interaction", help="Interactions as the statistics know them.")


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


def clear(
    interaction_id: Annotated[str, typer.Argument(help="The interactionId of its events.", metavar="ID")],
    url: Annotated[str, typer.Option(envvar="HUB_URL", help="Where the hub is.")] = "http://127.0.0.1:8080",
    token: Annotated[str, typer.Option(envvar="HUB_TOKEN", help="A bearer token that may do /admin/write.")] = "",
    api_key: Annotated[str, typer.Option(envvar="HUB_API_KEY", help="An API key.")] = "",
) -> None:
    """End an interaction whose end no event told, in the statistics alone: it waits and rings no more, and its agents are released.

    Ends with 1 when nothing goes on in such an interaction, with 2 when the hub could not be reached or refused.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if api_key:
        headers["x-api-key"] = api_key
    place = f"{url.rstrip('/')}/api/v1/statistics/interactions/{quote(interaction_id, safe='')}"
    status, said = asyncio.run(_delete(place, headers))
    if status == HTTPStatus.OK:
        Console().print(f"The interaction {interaction_id} is cleared.", markup=False)
        return
    Console(stderr=True).print(said, markup=False)
    raise typer.Exit(NOTHING_GOES_ON if status == HTTPStatus.NOT_FOUND and said.startswith("id:") else REFUSED)


async def _delete(place: str, headers: dict[str, str]) -> tuple[int, str]:
    """Send the request; the status (0 when the hub cannot be reached) and a sentence."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE_S), trust_env=True) as session,
            session.delete(place, headers=headers) as answer,
        ):
            raw = await answer.read()
            try:
                body = orjson.loads(raw)
                said = body["status"]["message"] if "status" in body else body["message"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                said = "no message"
            return answer.status, said if answer.status == HTTPStatus.NOT_FOUND else f"{place} answered HTTP {answer.status}: {said}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return 0, f"{place} cannot be reached: {str(error) or type(error).__name__}"


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
