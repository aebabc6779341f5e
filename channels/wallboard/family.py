"""The wallboard as a family: the page at ``/`` and its files below ``/wallboard``."""

from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from channels.wallboard.pages import Asset, load
from channels.wallboard.settings import WallboardSettings
from hub.family import Context, Family, Parts
from hub.security.gate import Gate


def _config(settings: WallboardSettings, max_subscriptions: int) -> Asset:
    """What the page reads of the settings. Nothing secret: it is served to everybody."""
    shown = {**settings.model_dump(mode="json"), "max_subscriptions": max_subscriptions}
    return Asset.of("config.json", orjson.dumps(shown))


async def _serve(asset: Asset, request: Request) -> Response:
    return asset.respond(request)


async def _serve_signed_in(asset: Asset, gate: Gate, request: Request) -> Response:
    """The page of ``--demo``: whoever opens it without a sign-in of their own is signed in as the demo's user
    (docs/protocol/commands.md#demo).
    """
    caller = await gate.identify(request.scope)
    if caller.authenticated:
        return asset.respond(request)
    cookie = await gate.demo_cookie(secure=request.url.scheme == "https")
    response = asset.respond(request)
    if cookie is not None:
        response.headers["Cache-Control"] = "no-store"
        response.headers.append("Set-Cookie", cookie)
    return response


def routes(context: Context) -> list[BaseRoute]:
    """``/`` and ``/wallboard/{file}``, one route a file: a name that is not among them is not found, whatever it looks like."""
    assets = load()
    index = assets.pop("index.html")
    page = partial(_serve_signed_in, index, context.gate) if context.settings.demo else partial(_serve, index)
    settings: WallboardSettings = context.section("wallboard")
    assets["config.json"] = _config(settings, context.settings.limits.max_subscriptions)
    return [
        Route("/", page, methods=["GET"], name="wallboard"),
        *(Route(f"/wallboard/{name}", partial(_serve, asset), methods=["GET"]) for name, asset in sorted(assets.items())),
    ]


def build(context: Context) -> Parts:
    """The wallboard has no service of its own: what it shows comes over ``/ws`` like everybody else's."""
    return Parts(routes=routes(context))


family = Family(name="wallboard", build=build, settings=WallboardSettings)
