"""Routes of Amazon Connect, whose clients sign their requests."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from starlette.routing import Match
from starlette.types import Scope

from hub.http.signed_route import SignedRoute

SERVICE: Final = "connect"
"""For which clients sign, by Amazon's name."""


class ConnectRoute(SignedRoute):
    """An operation of Amazon Connect. It is found by the path as it came: an id may have a slash, which clients write as ``%2F``. Clients
    whose base URL ends in a slash send a second one before the path.
    """

    service = SERVICE

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw = scope.get("raw_path")
        if scope["type"] != "http" or raw is None or not f"/{scope['path'].lstrip('/')}".startswith(self._lead):
            return super().matches(scope)
        path = f"/{raw.decode('latin-1').lstrip('/')}"
        match, child = super().matches({**scope, "path": path, "root_path": ""})
        if match is not Match.NONE:
            child["path_params"] = {name: unquote(value) for name, value in child["path_params"].items()}
        return match, child
