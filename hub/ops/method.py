"""The method that a client asked by: HEAD is served as GET, and its answer leaves without the body (RFC 9110 section 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASKED = "hub.method"


def asked_method(scope: Scope) -> str:
    """The request's own method, where ``scope["method"]`` is how it is served."""
    method: str = scope.get(ASKED) or scope["method"]
    return method


async def serve_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Have ``app`` answer a HEAD as it answers GET, with the same headers."""

    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    await app({**scope, "method": "GET", ASKED: "HEAD"}, receive, without_body)
