"""What goes over a link for one HTTP request that is relayed, as MessagePack (docs/scaling.md#a-relayed-request)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from starlette.types import Scope

from hub.security.connections import connection_of
from hub.transports.relaying import HOPS

PIECE_BYTES: Final = 512 * 1024
"""Bytes of a body that go in one piece: at most half of what a call may leave unread."""

Headers = list[tuple[bytes, bytes]]


class RequestHead(msgspec.Struct, frozen=True, array_like=True):
    """The head of a request as its client sent it, and what the relaying node knows of the client."""

    method: str
    scheme: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: Headers
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    http_version: str
    confirm: bool
    """Whether the relay says if the response was written, and the owner waits for that."""
    whole: bool
    """Whether the body is there; else its pieces follow."""
    tenant: str
    """The tenant of the credential that the connection has shown already; empty if it has shown none."""
    let_in: bool
    """Whether the connection was admitted without a credential."""


class BodyPiece(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """A further piece of a body."""

    body: bytes
    more: bool


class Admitted(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """The client has shown a good credential of ``tenant``, or was let in without one: its connection is counted so from now on."""

    anonymous: bool
    tenant: str


class ResponseHead(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The head of a response, with the first piece of its body."""

    status: int
    headers: Headers
    body: bytes
    more: bool


class SocketHead(msgspec.Struct, frozen=True, array_like=True):
    """The opening handshake of a WebSocket, and the cookies that its client was given in the answer."""

    request: RequestHead
    offered: str | None
    """``BAYEUX_BROWSER``."""
    statistics_session: str | None
    """``STATISTICS_SESSIONID``, brought or given."""


class SocketText(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """A text message to the client."""

    payload: bytes


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """The owner has closed the WebSocket, or sends nothing more over it."""

    code: int
    reason: str


ToSocket = Admitted | SocketText | Closed
Answer = Admitted | ResponseHead | BodyPiece

_encoder: Final = msgspec.msgpack.Encoder()

# each raises msgspec.DecodeError where the other node sent something else
decode_request: Final[Callable[[bytes], RequestHead]] = msgspec.msgpack.Decoder(RequestHead).decode
"""Reads the head of a request."""
decode_body: Final[Callable[[bytes], BodyPiece]] = msgspec.msgpack.Decoder(BodyPiece).decode
"""Reads a further piece of a request's body."""
decode_answer: Final[Callable[[bytes], Answer]] = msgspec.msgpack.Decoder[Answer](Answer).decode
"""Reads a piece of a response."""
decode_socket: Final[Callable[[bytes], SocketHead]] = msgspec.msgpack.Decoder(SocketHead).decode
"""Reads the opening handshake of a WebSocket."""
decode_to_socket: Final[Callable[[bytes], ToSocket]] = msgspec.msgpack.Decoder[ToSocket](ToSocket).decode
"""Reads what goes to the client of a WebSocket."""


def encode(piece: RequestHead | SocketHead | Answer | ToSocket) -> bytes:
    """The bytes of a piece."""
    return _encoder.encode(piece)


def head_of(scope: Scope, *, confirm: bool = False, whole: bool = True) -> RequestHead:
    """The head of a request or of an opening handshake, from its scope."""
    path: str = scope["path"]
    connection = connection_of(scope)
    known = connection is not None and connection.identified
    return RequestHead(
        scope.get("method", "GET"),
        scope.get("scheme", "http"),
        path,
        scope.get("raw_path") or path.encode(),
        scope["query_string"],
        scope["headers"],
        scope.get("client"),
        scope.get("server"),
        scope.get("http_version", "1.1"),
        confirm,
        whole,
        connection.tenant if connection is not None and known else "",
        connection is not None and connection.let_in,
    )


def scope_of(head: RequestHead, kind: str, hops: int) -> dict[str, object]:
    """The scope in which the owner serves a request (``kind`` is ``http``) or a WebSocket (``websocket``)."""
    scope: dict[str, object] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": head.http_version,
        "scheme": head.scheme,
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query_string,
        "root_path": "",
        "headers": head.headers,
        "client": head.client,
        "server": head.server,
        "state": {},
        "extensions": {},
        HOPS: hops,
    }
    if kind == "http":
        scope["method"] = head.method
    else:
        scope["subprotocols"] = []
    return scope
