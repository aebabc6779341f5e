"""A hub that answers what a test says: its faults cannot be had from a real one on demand."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


def taken(count: int, errors: list[dict[str, Any]] | None = None) -> tuple[int, dict[str, Any]]:
    """The answer of a hub that took all events but those in ``errors``."""
    refused = errors or []
    status = 400 if len(refused) == count else 200
    body = {"status": {"code": 0}, "data": {"accepted": count - len(refused), "duplicates": 0}}
    return status, body | ({"errors": refused} if refused else {})


@asynccontextmanager
async def serving(app: web.Application, port: int = 0) -> AsyncIterator[int]:
    """The port on which an application is served, ``port`` if it is not 0."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", port))
    await web.SockSite(runner, listening).start()
    try:
        yield listening.getsockname()[1]
    finally:
        await runner.cleanup()


class FakeHub:
    """Keeps requests; answers from ``answers`` first, then takes everything."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], list[Any]]] = []
        self.answers: list[tuple[int, Any]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _post(self, request: web.Request) -> web.Response:
        events = await request.json()
        self.requests.append((dict(request.headers), events))
        status, body = self.answers.pop(0) if self.answers else taken(len(events))
        return web.json_response(body, status=status) if not isinstance(body, str) else web.Response(text=body, status=status)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeHub"]:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/ingest/v1/events", self._post)
        async with serving(app, self.port) as self.port:
            yield self
