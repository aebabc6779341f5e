"""The page at ``/`` and its files below ``/wallboard``."""

from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from channels.wallboard.assets import asset, load
from channels.wallboard.settings import WallboardSettings
from hub.family import Context
from hub.http.assets import Asset
from hub.http.fast_routes import OpenRoute
from hub.security.gate import Gate


def _config(settings: WallboardSettings, max_subscriptions: int) -> Asset:
    """The settings that the page reads. None is secret: this file is served without credentials."""
    shown = {**settings.model_dump(mode="json"), "max_subscriptions": max_subscriptions}
    return asset("config.json", orjson.dumps(shown))


async def _serve_signed_in(page: Asset, gate: Gate, request: Request) -> Response:
    """The page of ``--demo``: a caller without a credential is signed in as the demo's user (docs/protocol/commands.md#demo)."""
    caller = await gate.identify(request.scope)
    if caller.authenticated:
        return page.respond(request)
    cookie = await gate.demo_cookie(secure=request.url.scheme == "https")
    response = page.respond(request)
    if cookie is not None:
        response.headers["Cache-Control"] = "no-store"
        response.headers.append("Set-Cookie", cookie)
    return response


def open_routes(context: Context) -> list[OpenRoute]:
    """``/`` and one path ``/wallboard/{file}`` for each file. Any other name is answered with 404."""
    assets = load()
    index = assets.pop("index.html")
    page = partial(_serve_signed_in, index, context.gate) if context.settings.demo else index.answer
    settings = context.section("wallboard", WallboardSettings)
    assets["config.json"] = _config(settings, context.settings.limits.max_subscriptions)
    return [
        OpenRoute("/", page),
        *(OpenRoute(f"/wallboard/{name}", each.answer) for name, each in sorted(assets.items())),
    ]
