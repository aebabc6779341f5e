"""Checks the callers of REST operations: a FastAPI dependency returns the principal or refuses (docs/protocol/credentials.md#refusals)."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from starlette.types import Scope

from hub.core.decision import Reason
from hub.core.principal import Action, Principal
from hub.http.errors import ApiError
from hub.security.cookies import SIGN_IN_COOKIE
from hub.security.gate import Failure, Gate
from hub.storage.transactions import StorageError

_CALLER: Final = "hub.caller"
"""Key of a request's scope for its caller, after the caller is identified."""

_log = structlog.get_logger(__name__)

# for /openapi.json only; the gate itself reads the credentials
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="A token: `Authorization: Bearer T`.")
_KEY: Final = APIKeyHeader(name="x-api-key", auto_error=False, scheme_name="apiKey", description="An API key, alone or beside a token.")
_COOKIE: Final = APIKeyCookie(
    name=SIGN_IN_COOKIE, auto_error=False, scheme_name="cookie", description="The cookie of `POST /api/v1/sign-in`, for browsers."
)


class UnknownKeyError(ApiError):
    """403 with the body that Genesys' API gateway sends for an unknown key: it has no envelope (docs/protocol/credentials.md#refusals)."""

    def __init__(self) -> None:
        super().__init__(403, "Forbidden")

    def body(self) -> dict[str, Any]:
        return {"message": "Forbidden"}


def refusal(failure: Failure) -> ApiError:
    """The HTTP answer to a caller whom the gate did not identify (docs/protocol/credentials.md#refusals)."""
    if failure is Failure.UNKNOWN_KEY:
        return UnknownKeyError()
    if failure in (Failure.TENANT_MISMATCH, Failure.FOREIGN_ORIGIN):
        return ApiError(403, failure.value)
    return ApiError(401, failure.value, headers={"WWW-Authenticate": "Bearer"})


async def identify(gate: Gate, scope: Scope) -> Principal:
    """Identify the caller of a request.

    Raises:
        ApiError: the caller is not known: see :func:`requires`; 503, the database does not answer.
    """
    try:
        caller = await gate.identify(scope)
    except StorageError:
        raise lookup_failed() from None
    if caller.principal is None:
        assert caller.failure is not None
        raise refusal(caller.failure)
    return caller.principal


def lookup_failed() -> ApiError:
    """Log the error that is being handled, and return the answer 503 to a caller who cannot be looked up."""
    _log.exception("a caller could not be identified")
    return ApiError(503, "credentials cannot be looked up now: the database does not answer", headers={"Retry-After": "1"})


def identified(scope: Scope, principal: Principal) -> None:
    """Keep who sent a request, so that the operation's dependencies do not identify the caller once more."""
    scope[_CALLER] = principal


async def permit(gate: Gate, scope: Scope, operation: str) -> Principal:
    """Identify the caller of a request, unless that is done (:func:`identified`), and check that the caller may do ``operation``.

    Raises:
        ApiError: the caller is not known or may not do it: see :func:`requires`.
    """
    known: Principal | None = scope.get(_CALLER)
    principal = known if known is not None else await identify(gate, scope)
    await _allow(gate, principal, operation)
    return principal


async def _allow(gate: Gate, principal: Principal, operation: str) -> None:
    decision = await gate.decisions.decide(principal, Action.CALL, operation)
    if decision.allowed:
        return
    message = f"this credential may not {gate.decisions.summary_of(operation)}"
    # RFC 6750 section 3.1
    headers = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'} if decision.reason is Reason.OUT_OF_SCOPE else None
    raise ApiError(403, message, detail={"operation": operation, "reason": decision.reason.value}, headers=headers)


async def _identify(
    request: Request,
    _bearer: Annotated[Any, Security(_BEARER)] = None,
    _key: Annotated[Any, Security(_KEY)] = None,
    _cookie: Annotated[Any, Security(_COOKIE)] = None,
) -> Principal:
    known: Principal | None = request.scope.get(_CALLER)
    return known if known is not None else await identify(request.app.state.gate, request.scope)


class Permission:
    """A dependency that yields the :class:`Principal` of a caller who may do ``operation``."""

    __slots__ = ("operation",)

    def __init__(self, operation: str) -> None:
        self.operation = operation

    async def __call__(self, request: Request, principal: Annotated[Principal, Depends(_identify)]) -> Principal:
        await _allow(request.app.state.gate, principal, self.operation)
        return principal


async def permit_before_body(request: Request, dependencies: Iterable[Any]) -> None:
    """Check the caller as a route's dependencies do, but before the body is read: FastAPI itself reads the body first.

    Args:
        request: the request; its scope keeps the identified caller.
        dependencies: the callables on which the route depends.

    Raises:
        ApiError: see :func:`requires`.
    """
    for each in dependencies:
        if each is _identify or isinstance(each, Permission):
            principal = await _identify(request)
            identified(request.scope, principal)
            if isinstance(each, Permission):
                await _allow(request.app.state.gate, principal, each.operation)


def requires(operation: str) -> Any:
    """A dependency that yields the :class:`Principal` of a caller who may do ``operation``.

    Use it as a default, ``caller: Principal = requires("/statistics/read")``, or within ``Annotated``.

    Answers 401 in the envelope for a missing, expired or wrong token, 403 ``{"message":"Forbidden"}`` for an unknown API key, 403 in the
    envelope for a caller who may not do it.

    ``operation`` is one of a family's (:attr:`hub.family.Family.operations`); a hub with a route for an unknown operation does not start.
    """
    return Depends(Permission(operation))


def authenticated() -> Any:
    """A dependency that yields the :class:`Principal` of any caller with a valid credential."""
    return Depends(_identify)
