"""How the calls of ``/auth/v3`` refuse: OAuth's in OAuth's form, the others in the envelope (docs/protocol/oauth.md#errors)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.http.error_table import ErrorTable, unavailable
from hub.http.errors import ApiError
from hub.http.routing import HubRoute
from hub.security.oauth.errors import OAuthError
from hub.security.sign_in import TooManyTriesError
from hub.storage.transactions import StorageError

NO_STORE: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""For answers with tokens or data of users (RFC 6749 section 5.1)."""

_UNAVAILABLE: Final = "temporarily_unavailable"
_OF_STATUS: Final = {413: "invalid_request", 415: "invalid_request", 429: "slow_down", 503: _UNAVAILABLE}


def oauth_answer(error: OAuthError) -> Response:
    """The answer to a refused request (RFC 6749 section 5.2)."""
    headers = dict(NO_STORE)
    if error.challenge:
        headers["WWW-Authenticate"] = 'Basic realm="hub"'
    return JSONResponse(error.members(), error.status, headers)


class OAuthRoute(HubRoute):
    """An endpoint that answers in OAuth's form, also where the hub itself refuses: too much at once, or no database."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await in_oauth_form(handle, request, request.app.state.errors)

        return answer


async def in_oauth_form(handle: Callable[[Request], Awaitable[Response]], request: Request, errors: ErrorTable) -> Response:
    """The answer of ``handle``, or the refusal that it raises, in OAuth's form."""
    try:
        return await handle(request)
    except OAuthError as error:
        return oauth_answer(error)
    except TooManyTriesError as error:
        return _refused(429, "slow_down", str(error), {"Retry-After": str(error.wait_s)})
    except StorageError as error:
        told = errors.answer(error, request) or unavailable(error)
        return _refused(503, _UNAVAILABLE, told.message, told.headers)
    except ApiError as error:
        if error.http_status not in _OF_STATUS:
            raise
        return _refused(error.http_status, _OF_STATUS[error.http_status], error.message, error.headers)


def _refused(status: int, error: str, description: str, headers: Mapping[str, str] | None) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status, {**NO_STORE, **(headers or {})})
