"""Declarations of operations that are called very often: :mod:`hub.http.fast_router` serves them without the REST framework."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response


class FastRoute(NamedTuple):
    """One operation. A router has it too, for requests that are not plain."""

    method: str
    path: str
    """Its template, word for word as the router has it."""
    operation: str
    """What its caller must be allowed: see :func:`hub.http.permits.requires`."""
    serve: Callable[..., Awaitable[Response]]
    """Called with the request, the caller, and the path's parameters in their order."""


class OpenRoute(NamedTuple):
    """A path that anybody may GET, without a credential, as often as they like: what it answers costs next to nothing."""

    path: str
    respond: Callable[[Request], Awaitable[Response]]
