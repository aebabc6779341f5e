"""A hub that is killed in the middle of changes: no change is without its row in the audit log, and no row without its change."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.conftest import HubFactory

ENOUGH = 40
"""Changes that are answered before the hub is killed."""


def test_a_change_and_its_row_come_and_go_together(hub_process: HubFactory) -> None:
    hub = hub_process("--demo", environment={"HUB_ADMINISTRATION__CHANGES_PER_S": "0"})
    killed = threading.Event()
    answered: list[str] = []

    def add(number: int) -> None:
        for each in range(1_000):
            if killed.is_set():
                return
            name = f"key-{number}-{each}"
            try:
                answer = hub.post("/api/v1/keys", {"name": name, "roles": ["viewer"]})
            except httpx.HTTPError:
                return
            assert answer.status_code == 200, answer.text
            answered.append(name)
            if len(answered) == ENOUGH:
                hub.kill9()
                killed.set()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert killed.is_set()
    there = {key["name"] for key in json.loads(hub.command("key", "list", "--json"))}
    rows = [json.loads(line) for line in hub.command("audit", "export").splitlines()]
    assert set(answered) <= there
    assert {row["target"].removeprefix("key:") for row in rows if row["event"] == "key.added"} == there
    assert all(not each["problems"] for each in json.loads(hub.command("audit", "verify", "--json")))
