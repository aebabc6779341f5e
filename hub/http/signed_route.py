"""Operations that take signed requests as well as the other credentials (docs/protocol/credentials.md#signed-requests)."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Final
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from hub.core.limits import Limits
from hub.http.body import limit_of, read_body
from hub.http.errors import ApiError
from hub.http.openapi import SECURITY_SCHEMES
from hub.http.permits import identified, lookup_failed, refusal
from hub.http.routing import Handler, HubRoute, replayed
from hub.objects.sigv4 import SignatureError
from hub.security.gate import Gate
from hub.security.signed_requests import is_signed
from hub.storage.transactions import StorageError

SIGNED: Final[dict[str, Any]] = {
    SECURITY_SCHEMES: {
        "signature4": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "Signature Version 4 of Amazon Web Services, with an access key of the hub.",
            "x-amazon-apigateway-authtype": "awsSigv4",
        }
    },
    "security": [{"signature4": []}],
}
"""``openapi_extra`` of such an operation: the document has it beside the other credentials."""


class SignedRoute(HubRoute):
    """An operation whose callers may sign their requests. Each family derives its own class, for its service.

    The key is looked up before the body is read; the body is read, up to the operation's limit, before the signature is checked; and only
    then is the caller known. An API key beside the signature must be of its tenant. A GET may have a body, too: the signature covers it.
    """

    service: ClassVar[str]
    """The service that signatures must be for, as Amazon calls it."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        service, endpoint = self.service, self.endpoint

        async def answer(request: Request) -> Response:
            if not is_signed(request.scope):
                return await handle(request)
            limits: Limits = request.app.state.limits
            return await handle(await signed_request(request, request.app.state.gate, service, limit_of(endpoint, limits)))

        return answer


async def signed_request(request: Request, gate: Gate, service: str, limit: int) -> Request:
    """Find out who has signed a request for ``service``. Returns the request with its body, of at most ``limit`` bytes, to be read again;
    its scope has the caller.

    Raises:
        ApiError: 403, the signature is not good; 503, the key cannot be looked up; see :func:`hub.http.body.read_body`.
    """
    try:
        claimed = await gate.signatures.claimed(request.scope, service)
        failure = await gate.key_beside(request.scope, claimed.credential.tenant)
        if failure is not None:
            raise refusal(failure)
        body = await read_body(request, limit)
        principal = gate.signatures.verified(claimed, hashlib.sha256(body).hexdigest())
    except SignatureError as error:
        raise refused(error) from None
    except StorageError:
        raise lookup_failed() from None
    _read_as_signed(request.scope)
    gate.count(request.scope, principal)
    identified(request.scope, principal)
    return Request(request.scope, replayed(body, request.receive))


def _read_as_signed(scope: Scope) -> None:
    """Have the operation read the query as the signature has it, in which a plus sign stands for itself and the order of parameters does
    not matter: else who changes a request on its way has it work on something else than was signed.

    Raises:
        ApiError: 400, a parameter is there twice.
    """
    query: bytes = scope["query_string"]
    seen: set[bytes] = set()
    for part in filter(None, query.split(b"&")):
        name = unquote_to_bytes(part.partition(b"=")[0])
        if name in seen:
            raise ApiError.in_words(name.decode("utf-8", "replace")[:100], "one", "more", http_status=400)
        seen.add(name)
    scope["query_string"] = query.replace(b"+", b"%2B")


def refused(error: SignatureError) -> ApiError:
    """The answer to a request whose signature is missing or not good."""
    return ApiError(403, str(error), detail={"type": error.kind.value})
