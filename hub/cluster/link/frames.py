"""The frames of a link between two nodes (docs/scaling.md#frames-of-a-link)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

PIECE_OVERHEAD: Final = 64
"""Bytes that a piece counts beside its own, against the limits of what is unread: an empty piece takes memory too."""

MAX_KIND_CHARACTERS: Final = 64

_HEAD: Final = struct.Struct("!IIB")
_REQUEST: Final = struct.Struct("!BBI")
_CREDIT: Final = struct.Struct("!I")


class FrameType(IntEnum):
    """The second field of a frame. Further types would be refused: both ends agree on a version in the hello."""

    HELLO = ord("H")
    """Who opens the connection, or answers; stream 0."""
    PROOF = ord("V")
    """That who said hello knows the secret; stream 0."""
    REQUEST = ord("Q")
    """Opens a call; the caller sends pieces after it."""
    REQUEST_ALONE = ord("q")
    """Opens a call; the caller sends no pieces."""
    PIECE = ord("D")
    LAST_PIECE = ord("R")
    """A piece, and the end of what this side sends."""
    END = ord("E")
    """This side sends nothing more."""
    PART = ord("B")
    """The beginning of what the next frame of the same call continues."""
    WRITTEN = ord("A")
    """The caller's client has the reply."""
    NOT_WRITTEN = ord("N")
    CANCEL = ord("C")
    """The call is over. Its payload is a :class:`CancelReason`."""
    CREDIT = ord("U")
    """So many bytes were read: of a call, or, on stream 0, of all calls of the link."""


class CancelReason(IntEnum):
    """Why a node ended a call."""

    CANCELLED = 0
    """It wants nothing more of it."""
    NO_HANDLER = 1
    """It answers no calls of this kind."""
    BUSY = 2
    """It has too many calls open."""
    FAILED = 3
    """Its handler raised an exception."""
    LOOP = 4
    """The request has gone over too many links."""
    ANSWERED = 5
    """Its handler has answered, and reads no further pieces."""
    SLOW = 6
    """Too much of it lies unread for too long, while the link has little room left for other calls."""


class Frame(NamedTuple):
    """One frame."""

    stream: int
    """Which call; odd numbers are those of the node that opened the connection."""
    type: int
    payload: bytes = b""


class FrameError(Exception):
    """The other node broke the protocol of links. The link is closed."""


def pack(frames: Sequence[Frame]) -> bytes:
    """Several frames as one message: what is sent in one turn of the event loop costs one frame of the WebSocket."""
    parts = []
    for stream, kind, payload in frames:
        parts.append(_HEAD.pack(len(payload), stream, kind))
        parts.append(payload)
    return b"".join(parts)


def unpack(message: bytes) -> Iterator[Frame]:
    """The reverse of :func:`pack`.

    Raises:
        FrameError: the message ends within a frame.
    """
    at, end = 0, len(message)
    while at < end:
        if end - at < _HEAD.size:
            raise FrameError("expected a whole frame, got a part of one")
        length, stream, kind = _HEAD.unpack_from(message, at)
        at += _HEAD.size
        if end - at < length:
            raise FrameError("expected a whole frame, got a part of one")
        yield Frame(stream, kind, message[at : at + length])
        at += length


class Request(NamedTuple):
    """What a frame that opens a call says."""

    kind: str
    hops: int
    head: bytes
    body: bytes

    def encode(self) -> bytes:
        """The payload of :attr:`FrameType.REQUEST`."""
        kind = self.kind.encode()
        return b"".join((_REQUEST.pack(len(kind), self.hops, len(self.head)), kind, self.head, self.body))

    @classmethod
    def decode(cls, payload: bytes) -> Request:
        """The reverse of :meth:`encode`.

        Raises:
            FrameError: it is no such payload.
        """
        if len(payload) < _REQUEST.size:
            raise FrameError(f"expected a request of {_REQUEST.size} bytes at least, got {len(payload)}")
        kind_bytes, hops, head_bytes = _REQUEST.unpack_from(payload)
        kind_end = _REQUEST.size + kind_bytes
        head_end = kind_end + head_bytes
        if len(payload) < head_end or kind_bytes > MAX_KIND_CHARACTERS:
            raise FrameError(f"expected a request with a head of {head_bytes} bytes, got {len(payload)} bytes in all")
        try:
            kind = payload[_REQUEST.size : kind_end].decode("ascii")
        except UnicodeDecodeError:
            raise FrameError("expected a kind of call in ASCII") from None
        return cls(kind, hops, payload[kind_end:head_end], payload[head_end:])


def encode_credit(amount: int) -> bytes:
    """The payload of :attr:`FrameType.CREDIT`."""
    return _CREDIT.pack(amount)


def decode_credit(payload: bytes) -> int:
    """The reverse of :func:`encode_credit`.

    Raises:
        FrameError: it is no such payload.
    """
    if len(payload) != _CREDIT.size:
        raise FrameError(f"expected a credit of {_CREDIT.size} bytes, got {len(payload)}")
    amount: int = _CREDIT.unpack(payload)[0]
    return amount
