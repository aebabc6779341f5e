"""How two nodes show each other that they know the secret, before a connection carries anything else.

The node that opened the connection says hello with a nonce, the other one answers with its own; then each sends an HMAC over both nonces
and both incarnations, the first one first. Nothing of an earlier conversation can be used again, since both nonces are new, and
neither side's proof is the other's, since each names its direction (docs/scaling.md#frames-of-a-link).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from hub.cluster.link.frames import Frame, FrameType

VERSIONS: Final = (1,)
"""The versions of the protocol that this node speaks."""

NONCE_BYTES: Final = 32
MAX_HELLO_BYTES: Final = 1024
"""Bytes of a message before both have shown that they know the secret."""

_FINGERPRINT: Final = b"cx-event-hub: the secret of a node"


class Refusal(StrEnum):
    """Why a connection does not become a link."""

    SECRET = "secret"  # noqa: S105  # no secret: a word
    VERSION = "version"
    NODE = "node"
    DUPLICATE = "duplicate"
    CROSSED = "crossed"
    """Both nodes opened a connection at a time: the other one becomes the link."""
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    CROWDED = "crowded"


class HelloError(Exception):
    """The connection does not become a link."""

    def __init__(self, reason: Refusal, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Hello(msgspec.Struct, frozen=True):
    """Who is there."""

    incarnation: str
    nonce: str
    versions: tuple[int, ...] = VERSIONS
    to: str = ""
    """The node that is wanted."""


_hello: Final = msgspec.json.Decoder(Hello)


class Me(NamedTuple):
    """What a node shows of itself."""

    incarnation: str
    secret: bytes


def fingerprint(secret: bytes) -> str:
    """Tells two secrets apart, and tells nobody what they are."""
    return hmac.digest(secret, _FINGERPRINT, hashlib.sha256).hex()[:16]


class Handshake:
    """One side of it. The side that was called asks ``on_proven`` for a reason to refuse the other, once that has shown that it knows the
    secret.
    """

    __slots__ = ("_dialled", "_me", "_mine", "_on_proven", "_theirs", "done", "peer", "with_itself")

    def __init__(self, me: Me, *, wanted: str = "", on_proven: Callable[[str], Refusal | None] = lambda _: None) -> None:
        """``wanted``: the node to which this one opened the connection; empty: the other opened it."""
        self._me = me
        self._dialled = bool(wanted)
        self._on_proven = on_proven
        self._mine = Hello(me.incarnation, secrets.token_hex(NONCE_BYTES), to=wanted)
        self._theirs: Hello | None = None
        self.done = False
        """Whether both have shown that they know the secret."""
        self.peer = ""
        """The incarnation of the other node, as soon as that is shown."""
        self.with_itself = wanted == me.incarnation
        """Whether this node has opened a connection to itself, or has been called by itself."""

    def first(self) -> list[Frame]:
        """What the side that opened the connection says first."""
        return [Frame(0, FrameType.HELLO, msgspec.json.encode(self._mine))]

    def receive(self, frame: Frame) -> list[Frame]:
        """Take a frame; returns what is to be sent.

        Raises:
            HelloError: the connection is to be closed.
        """
        if frame.stream == 0 and frame.type == FrameType.HELLO and self._theirs is None:
            return self._take_hello(frame.payload)
        if frame.stream == 0 and frame.type == FrameType.PROOF and self._theirs is not None:
            return self._take_proof(self._theirs, frame.payload)
        raise HelloError(Refusal.MALFORMED, f"expected a hello, got a frame of type {frame.type}")

    def _take_hello(self, payload: bytes) -> list[Frame]:
        try:
            theirs = _hello.decode(payload)
        except msgspec.MsgspecError as error:
            raise HelloError(Refusal.MALFORMED, f"expected a hello: {error}") from None
        if len(theirs.nonce) != 2 * NONCE_BYTES:
            raise HelloError(Refusal.MALFORMED, f"expected a nonce of {NONCE_BYTES} bytes, got {len(theirs.nonce)} characters")
        if not set(VERSIONS) & set(theirs.versions):
            raise HelloError(Refusal.VERSION, f"expected a protocol of version {VERSIONS}, got {theirs.versions}")
        self._theirs = theirs
        if self._dialled:
            if theirs.incarnation != self._mine.to:
                raise HelloError(Refusal.NODE, f"expected node {self._mine.to}, got {theirs.incarnation}")
            return [self._proof()]
        if theirs.to != self._me.incarnation:
            raise HelloError(Refusal.NODE, f"expected a call of node {self._me.incarnation}, got one of {theirs.to}")
        return self.first()

    def _take_proof(self, theirs: Hello, payload: bytes) -> list[Frame]:
        if not hmac.compare_digest(payload, self._digest(theirs, dialler=not self._dialled)):
            raise HelloError(Refusal.SECRET, f"node {theirs.incarnation} has another secret (HUB_SECRET)")
        self.peer = theirs.incarnation
        self.with_itself = self.peer == self._me.incarnation
        if not self._dialled:
            refusal = self._on_proven(theirs.incarnation)
            if refusal is not None:
                raise HelloError(refusal, f"the nodes {self._me.incarnation} and {theirs.incarnation} have another connection")
        self.done = True
        return [] if self._dialled else [self._proof()]

    def _proof(self) -> Frame:
        assert self._theirs is not None
        return Frame(0, FrameType.PROOF, self._digest(self._theirs, dialler=self._dialled))

    def _digest(self, theirs: Hello, *, dialler: bool) -> bytes:
        """The proof of the side that opened the connection, or of the other."""
        one, other = (self._mine, theirs) if self._dialled else (theirs, self._mine)
        said = ["link", one.nonce, other.nonce, one.incarnation, other.incarnation, "dialler" if dialler else "listener"]
        return hmac.digest(self._me.secret, "\n".join(said).encode(), hashlib.sha256)
