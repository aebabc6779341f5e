"""The method of a request: HEAD is served as GET, and the answer is sent without its body (RFC 9110 section 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASKED = "hub.method"


def asked_method(scope: Scope) -> str:
    """The method that the client sent; ``scope["method"]`` is the one that the application serves."""
    method: str = scope.get(ASKED) or scope["method"]
    return method


async def serve_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a HEAD with the answer of ``app`` to a GET, with the same headers and no body."""

    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    await app({**scope, "method": "GET", ASKED: "HEAD"}, receive, without_body)
