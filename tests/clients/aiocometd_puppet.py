"""PyPI's aiocometd-ng as puppets in a process of their own; the protocol is that of tests/clients/node/harness.mjs.

A process of its own, because the library leaves its HTTP sessions open when a handshake is refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable
from typing import Any

from aiocometd_ng import AuthExtension, Client, ConnectionType
from aiocometd_ng.exceptions import AiocometdException, ServerError
from aiocometd_ng.typing import Headers, JsonObject, Payload

RECORD_SEPARATOR = "\x1e"
RETRY_RECEIVING_S = 0.1


def record(value: dict[str, Any]) -> None:
    """Write one record for the test to read."""
    sys.stdout.write(f"{RECORD_SEPARATOR}{json.dumps(value)}\n")
    sys.stdout.flush()


class Credentials(AuthExtension):
    """Puts ``ext.authentication`` into handshakes."""

    def __init__(self) -> None:
        self.authentication: JsonObject | None = None

    async def outgoing(self, payload: Payload, headers: Headers) -> None:
        for message in payload:
            if message["channel"] == "/meta/handshake" and self.authentication:
                message.setdefault("ext", {})["authentication"] = self.authentication

    async def incoming(self, payload: Payload, headers: Headers | None = None) -> None:
        """Nothing comes back that would matter."""

    async def authenticate(self) -> None:
        """The credentials do not change."""


async def settled(asked: Awaitable[Any]) -> JsonObject:
    """A reply in Bayeux's form, of the exception that the library makes of it."""
    try:
        await asked
    except ServerError as fault:
        return {"successful": False, **(fault.response or {})}
    return {"successful": True}


class Commands:
    """What a test can ask one client for; each method is a command."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._credentials = Credentials()
        self._client: Client | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[JsonObject] | None = None

    @property
    def _open(self) -> Client:
        assert self._client is not None
        return self._client

    async def open(self, options: JsonObject) -> None:
        """Make the client."""
        types = [ConnectionType(name) for name in options["transports"]]
        self._client = Client(options["url"], connection_types=types, auth=self._credentials)

    async def handshake(self, authentication: JsonObject | None = None) -> JsonObject:
        """Shake hands, connect, and go on receiving; returns the reply, as far as the library gives it away."""
        self._credentials.authentication = authentication
        reply = await settled(self._open.open())
        if reply["successful"]:
            self._receiving = asyncio.create_task(self._receive())
        return reply

    async def _receive(self) -> None:
        while True:
            try:
                message = await self._open.receive()
            except AiocometdException as fault:
                record({"event": "fault", "client": self._number, "message": repr(fault)})
                await asyncio.sleep(RETRY_RECEIVING_S)
            else:
                record({"event": "message", "client": self._number, "message": message})

    async def subscribe(self, channel: str) -> JsonObject:
        """Subscribe."""
        return await settled(self._open.subscribe(channel))

    async def unsubscribe(self, channel: str) -> JsonObject:
        """Unsubscribe."""
        return await settled(self._open.unsubscribe(channel))

    async def publish(self, channel: str, data: Any) -> JsonObject:
        """Publish."""
        return await settled(self._open.publish(channel, data))

    async def status(self) -> JsonObject:
        """The session and the connection type in use."""
        assert self._open.connection_type is not None
        return {"transport": self._open.connection_type.value, "clientId": self._open._transport.client_id}  # type: ignore[union-attr]

    async def disconnect(self) -> JsonObject:
        """Disconnect."""
        if self._receiving is not None:
            self._receiving.cancel()
        return await settled(self._open.close())

    async def drop(self) -> None:
        """Leave the client; its HTTP session takes a quarter of a second to close, which nobody needs to wait for."""
        if self._client is not None and not self._client.closed:
            self._leaving = asyncio.create_task(self.disconnect())


async def answer(commands: Commands, asked: dict[str, Any]) -> None:
    """Run one command and tell its result."""
    try:
        record({"call": asked["call"], "result": await getattr(commands, asked["name"])(*asked["args"])})
    except Exception:
        record({"call": asked["call"], "error": traceback.format_exc()})


async def serve() -> None:
    """Serve the commands until stdin ends."""
    clients: dict[int, Commands] = {}
    running: set[asyncio.Task[None]] = set()
    record({"event": "ready", "client": None})
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        number = asked["client"]
        if number not in clients:
            clients[number] = Commands(number)
        task = asyncio.create_task(answer(clients[number], asked))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(serve())
