"""Operations that come by the thousand, and have a shorter way than the others: see :mod:`hub.transports.hot_paths`."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response


class HotPath(NamedTuple):
    """One operation, which stands in a router too."""

    method: str
    path: str
    """Its template, word for word as the router has it."""
    operation: str
    """What its caller must be allowed: see :func:`hub.security.rest.requires`."""
    serve: Callable[..., Awaitable[Response]]
    """Called with the request, the caller, and the path's parameters in their order."""


class OpenPath(NamedTuple):
    """A path that anybody may GET, without a credential, as often as they like: what it answers costs next to nothing."""

    path: str
    respond: Callable[[Request], Awaitable[Response]]


def at_once(respond: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """``respond`` as a coroutine function."""

    async def answer(request: Request) -> Response:
        return respond(request)

    return answer
