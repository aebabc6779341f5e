"""What goes over a link for one HTTP request that is relayed, as MessagePack (docs/scaling.md#a-relayed-request)."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.types import Scope

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


Answer = Admitted | ResponseHead | BodyPiece

_encoder: Final = msgspec.msgpack.Encoder()
_request: Final = msgspec.msgpack.Decoder(RequestHead)
_answer: Final = msgspec.msgpack.Decoder(Answer)
_body: Final = msgspec.msgpack.Decoder(BodyPiece)


def encode(piece: RequestHead | Answer) -> bytes:
    """The bytes of a piece."""
    return _encoder.encode(piece)


def decode_request(data: bytes) -> RequestHead:
    """Read the head of a request.

    Raises:
        msgspec.DecodeError: the other node sent something else.
    """
    return _request.decode(data)


def decode_answer(data: bytes) -> Answer:
    """Read a piece of a response.

    Raises:
        msgspec.DecodeError: the other node sent something else.
    """
    answer: Answer = _answer.decode(data)
    return answer


def decode_body(data: bytes) -> BodyPiece:
    """Read a further piece of a request's body.

    Raises:
        msgspec.DecodeError: the other node sent something else.
    """
    return _body.decode(data)


def head_of(scope: Scope, *, confirm: bool, whole: bool, tenant: str, let_in: bool) -> RequestHead:
    """The head of a request or of an opening handshake, from its scope."""
    path: str = scope["path"]
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
        tenant,
        let_in,
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
