"""Declarations of operations that are called very often: :mod:`hub.http.fast_router` serves them without the REST framework."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope


class FrameworkAnswersError(Exception):
    """The framework is to answer a request: a fast route has read the body, and it is none that the route takes."""

    def __init__(self, body: bytes) -> None:
        super().__init__("the framework answers")
        self.body = body


class FastRoute(NamedTuple):
    """One operation. A router has it too, for requests that the fast router does not serve."""

    method: str
    path: str
    """The template of its path, exactly as in the router."""
    operation: str
    """The operation that its caller must be allowed: see :func:`hub.http.permits.requires`."""
    serve: Callable[..., Awaitable[Response]]
    """Called with the request, the caller, and the parameters of the path in their order. What it raises is answered by the table of
    errors; :class:`FrameworkAnswersError` leaves the request to the framework.
    """
    takes: Callable[[Scope], bool] = lambda _: True
    """Whether the route takes a request, by its head. It is called before the caller is known, and must be cheap."""
    signed_for: str = ""
    """The service for which callers may sign their requests, as Amazon calls it (:class:`hub.http.signed_route.SignedRoute`)."""


class OwnRoute(NamedTuple):
    """An operation that finds out by itself who calls, as those of OAuth do. A router has it too, for requests that the fast router does
    not serve; this one takes those without a query.
    """

    method: str
    path: str
    respond: Callable[[Request], Awaitable[Response]]


class OpenRoute(NamedTuple):
    """A path that everybody may GET without a credential and without a limit: its answer needs very little work."""

    path: str
    respond: Callable[[Request], Awaitable[Response]]
