"""The SDKs of CloudEvents for Go, JavaScript and Python send to the hub as they come, in the binary mode, and in the structured one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.support.hub_process import HubProcess

NODE = Path(__file__).parent / "node"
GO_PROGRAM = Path(sys.prefix) / "go" / "cloudevents-send"
"""Made of ``tests/clients/go`` by ``make test``, where Go is installed."""
WITHIN_S = 60

Send = Callable[[HubProcess, str, list[dict[str, Any]]], list[int]]


def _with_program(command: list[str], hub: HubProcess, mode: str, events: list[dict[str, Any]]) -> list[int]:
    address = f"{hub.url}/ingest/v1/events"
    done = subprocess.run(
        [*command, address, hub.token, mode, *map(json.dumps, events)], capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def go(hub: HubProcess, mode: str, events: list[dict[str, Any]]) -> list[int]:
    if not GO_PROGRAM.exists():
        pytest.skip("Go is not installed, or `make test` has not built tests/clients/go with it")
    return _with_program([str(GO_PROGRAM)], hub, mode, events)


def javascript(hub: HubProcess, mode: str, events: list[dict[str, Any]]) -> list[int]:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    return _with_program(["node", str(NODE / "cloudevents.mjs")], hub, mode, events)


def python(hub: HubProcess, mode: str, events: list[dict[str, Any]]) -> list[int]:
    found = []
    for each in events:
        attributes = {name: each[name] for name in ("id", "source", "type")} | {
            "specversion": "1.0",
            "time": datetime.now(UTC),
            "datacontenttype": "application/json",
        }
        event = CloudEvent(attributes, each["data"])
        message = binding.to_structured_event(event, JSONFormat()) if mode else binding.to_binary_event(event, JSONFormat())
        headers = dict(message.headers) | hub.headers
        found.append(httpx.post(f"{hub.url}/ingest/v1/events", content=message.body, headers=headers, timeout=WITHIN_S).status_code)
    return found


@pytest.mark.node
@pytest.mark.parametrize("mode", ["", "structured"], ids=["as-it-comes", "structured"])
@pytest.mark.parametrize("send", [go, javascript, python], ids=["go", "javascript", "python"])
def test_events_of_an_sdk(demo_hub: HubProcess, send: Send, mode: str) -> None:
    source = f"/sdk/{send.__name__}/{mode or 'default'}"
    events = [
        {
            "id": f"José 100% {number}",
            "source": source,
            "type": "cx.agent.ready",
            "data": {"agentId": f"sdk-{send.__name__}-{mode}-{number}"},
        }
        for number in range(3)
    ]
    assert send(demo_hub, mode, events) == [200, 200, 200]
    # the hub has them under these very attributes: sent again, in the other mode by hand, they are repeats
    batch = [{"specversion": "1.0", **event} for event in events]
    answer = httpx.post(
        f"{demo_hub.url}/ingest/v1/events",
        json=batch,
        headers=demo_hub.headers | {"Content-Type": "application/cloudevents-batch+json"},
        timeout=WITHIN_S,
    )
    assert answer.json()["data"] == {"accepted": 0, "duplicates": 3}
