"""The page ``/demo/chat`` of ``--demo``: a consumer's chat beside the agent's view of it (docs/files.md#chats)."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from starlette.routing import Route

from hub.http.assets import Asset

PATH: Final = "/demo/chat"

_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}

_HEADERS: Final = {
    # no inline code and no code from other servers: a browser never runs as a script what somebody has written
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'self';"
    " object-src 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
}


def routes() -> list[Route]:
    """The page and its files. A name in a request is looked up among these routes and never opened."""
    folder = files(__package__).joinpath("static")
    made = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        suffix = entry.name[entry.name.rfind(".") :]
        path = PATH if suffix == ".html" else f"{PATH}/{entry.name}"
        made.append(Route(path, Asset(entry.read_bytes(), _TYPES[suffix], _HEADERS).answer, methods=["GET"]))
    return made
