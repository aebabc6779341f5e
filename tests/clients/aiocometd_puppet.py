"""PyPI's aiocometd-ng, as a puppet in a process of its own; the protocol is that of tests/clients/node/harness.mjs.

A process of its own, because the library leaves its HTTP sessions open when a handshake is refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from typing import Any

from aiocometd_ng import AuthExtension, Client, ConnectionType
from aiocometd_ng.exceptions import AiocometdException
from aiocometd_ng.typing import Headers, JsonObject, Payload

RECORD_SEPARATOR = "\x1e"


def record(value: dict[str, Any]) -> None:
    """Write one record for the test to read."""
    sys.stdout.write(f"{RECORD_SEPARATOR}{json.dumps(value)}\n")
    sys.stdout.flush()


class Token(AuthExtension):
    """Puts ``ext.authentication`` into handshakes."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def outgoing(self, payload: Payload, headers: Headers) -> None:
        for message in payload:
            if message["channel"] == "/meta/handshake":
                message.setdefault("ext", {})["authentication"] = {"token": self._token}

    async def incoming(self, payload: Payload, headers: Headers | None = None) -> None:
        """Nothing comes back that would matter."""

    async def authenticate(self) -> None:
        """The token does not change."""


class Commands:
    """What a test can ask for; each method is a command."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._receiving: asyncio.Task[None] | None = None

    @property
    def _open(self) -> Client:
        assert self._client is not None
        return self._client

    async def open(self, url: str, connection_type: str, token: str) -> str:
        """Shake hands; returns the connection type in use."""
        self._client = Client(url, connection_types=[ConnectionType(connection_type)], auth=Token(token))
        await self._client.open()
        self._receiving = asyncio.create_task(self._receive())
        return str(self._client.connection_type.value)

    async def _receive(self) -> None:
        while True:
            try:
                message = await self._open.receive()
            except AiocometdException as fault:
                record({"event": "fault", "message": repr(fault)})
                await asyncio.sleep(0.1)
            else:
                record({"event": "message", "message": message})

    async def subscribe(self, channel: str) -> None:
        """Subscribe."""
        await self._open.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe."""
        await self._open.unsubscribe(channel)

    async def publish(self, channel: str, data: JsonObject) -> JsonObject:
        """Publish; returns the reply."""
        return await self._open.publish(channel, data)

    async def close(self) -> None:
        """Disconnect."""
        if self._receiving is not None:
            self._receiving.cancel()
        await self._open.close()


async def serve() -> None:
    """Serve the commands until stdin ends."""
    commands = Commands()
    record({"event": "ready"})
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        try:
            record({"call": asked["call"], "result": await getattr(commands, asked["name"])(*asked["args"])})
        except Exception:
            record({"call": asked["call"], "error": traceback.format_exc()})


if __name__ == "__main__":
    asyncio.run(serve())
