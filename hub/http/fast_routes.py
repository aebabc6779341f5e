"""Declarations of operations that are called very often: :mod:`hub.http.fast_router` serves them without the REST framework."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response


class FastRoute(NamedTuple):
    """One operation. A router has it too, for requests that the fast router does not serve."""

    method: str
    path: str
    """The template of its path, exactly as in the router."""
    operation: str
    """The operation that its caller must be allowed: see :func:`hub.http.permits.requires`."""
    serve: Callable[..., Awaitable[Response]]
    """Called with the request, the caller, and the parameters of the path in their order."""


class OpenRoute(NamedTuple):
    """A path that everybody may GET without a credential and without a limit: its answer needs very little work."""

    path: str
    respond: Callable[[Request], Awaitable[Response]]
