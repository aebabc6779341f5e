"""The simulator's ledger against a running hub: a recorded day through feed, ingest, log, stat server and REST, over a power cut."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_process import HubProcess

_OBJECT_TYPES = {"agents": "Agent", "queues": "Queue"}


def _figures(hub: HubProcess, names: dict[str, list[str]], books: dict[str, Any]) -> dict[tuple[str, str], float]:
    """What the hub says of every object and statistic of the books."""
    asked = [
        {"name": name, "objectId": object_id, "objectType": _OBJECT_TYPES[part]}
        for part in books
        for object_id in books[part]
        for name in names[part]
    ]
    found: dict[tuple[str, str], float] = {}
    for at in range(0, len(asked), 50):
        reply = hub.post("/statistics/v3/operations/get-statistic-ex", {"data": {"statistics": asked[at : at + 50]}})
        assert reply.status_code == 200, reply.text
        for item in reply.json()["data"]["statistics"]:
            found[item["objectId"], item["name"]] = item["value"].get("floatValue", item["value"]["intValue"])
    return found


def test_a_recorded_day_through_the_whole_hub(hub_process: Callable[..., HubProcess], tmp_path: Path) -> None:
    hub = hub_process("--role", "all", environment={"HUB_STATISTICS__CLOCK": "events", "HUB_STATISTICS__ZONE": "UTC"})
    hub.command("tenant", "add", "acme")
    hub.token = json.loads(hub.command("token", "add", "day", "--tenant", "acme", "--role", "admin", "--json"))["token"]
    day, books_file = tmp_path / "day.ndjson.gz", tmp_path / "books.json"
    made = ("--centre", "office", "--seed", "9", "--day", "2026-03-02", "--zone", "UTC")
    hub.command("simulate", *made, "--output", str(day), "--books", str(books_file))
    hub.command("feed", str(day), "--as-recorded")
    books = json.loads(books_file.read_text())
    names = {part: list(next(iter(books[part].values()))) for part in books}
    expected = {(object_id, name): value for part in books.values() for object_id, stats in part.items() for name, value in stats.items()}
    assert _figures(hub, names, books) == pytest.approx(expected)
    hub.kill9()
    hub.start()
    assert _figures(hub, names, books) == pytest.approx(expected)
