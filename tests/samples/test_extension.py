"""The sample extension, in a hub of its own, as docs/extensions.md shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.conftest import HubFactory

SAMPLE = Path(__file__).parents[2] / "samples" / "extension.py"


def test_the_sample(hub_process: HubFactory) -> None:
    hub = hub_process("--demo", "--extensions", f"{SAMPLE}:Desk")
    with connect(f"{hub.ws_url}/cometd", additional_headers=hub.headers, proxy=None) as socket:

        def ask(channel: str, **members: object) -> list[dict[str, object]]:
            socket.send(json.dumps([{"id": "1", "channel": channel, **members}]))
            replies: list[dict[str, object]] = json.loads(socket.recv(timeout=10))
            return replies

        (shaken,) = ask("/meta/handshake", version="1.0", supportedConnectionTypes=["websocket"])
        client = shaken["clientId"]
        ask("/meta/subscribe", clientId=client, subscription="/chat/lobby")
        (event, _) = ask("/chat/lobby", clientId=client, data={"text": "hello"})
        assert event["data"] == {"text": "hello", "from": "demo"}
        for wrong in ({"text": 5}, {"text": "x" * 281}, "hello"):
            (reply,) = ask("/chat/lobby", clientId=client, data=wrong)
            assert reply["error"] == "404::message_deleted"
        answers = ask("/service/whoami", clientId=client, data="?")
        while len(answers) < 2:
            answers += json.loads(socket.recv(timeout=10))
        results = [answer for answer in answers if "data" in answer]
        assert results == [
            {"id": "1", "channel": "/service/whoami", "successful": True, "data": {"tenant": "demo", "subject": "demo", "asked": "?"}}
        ]


def test_an_extension_that_is_not_there_is_refused(hub_process: HubFactory, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="there is no file") as ended:
        hub_process("--demo", "--extensions", f"{tmp_path}/missing.py:Desk")
    assert "Traceback" not in str(ended.value)
