"""Bayeux over HTTP by hand: what a library would not let a test say, such as a number that no JavaScript can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from tests.support.hub_process import HubProcess


class RawSession:
    """One long-polling session whose requests are JSON text written by the test."""

    def __init__(self, hub: HubProcess, path: str = "/cometd", *, headers: Mapping[str, str] | None = None) -> None:
        self._http = httpx.Client(base_url=hub.url, headers=hub.headers if headers is None else headers, timeout=20)
        self._path = path
        (reply,) = self.send({"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]})
        assert reply["successful"], reply
        self.client_id: str = reply["clientId"]

    def send(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        """Send messages in one request; returns the replies."""
        replies: list[dict[str, Any]] = json.loads(self.send_text(json.dumps(messages)))
        return replies

    def send_text(self, text: str) -> str:
        """Send the body as it stands; returns the response's text."""
        response = self._http.post(self._path, content=text, headers={"Content-Type": "application/json"})
        assert response.status_code == httpx.codes.OK, response.text
        return response.text

    def message(self, channel: str, data: Any) -> dict[str, Any]:
        """A publish of this session's, for :meth:`send`."""
        return {"channel": channel, "clientId": self.client_id, "data": data}

    def publish_text(self, channel: str, data: str) -> None:
        """Publish ``data``, a JSON text, verbatim."""
        replies = json.loads(self.send_text(f'[{{"channel":{json.dumps(channel)},"clientId":"{self.client_id}","data":{data}}}]'))
        assert replies[-1]["successful"], replies

    def __enter__(self) -> RawSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.send({"channel": "/meta/disconnect", "clientId": self.client_id})
        self._http.close()
