"""The tokens of participants (docs/protocol/participants.md#tokens): signed, not stored. Whether the participant is still there is asked
of the database by whoever reads one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from enum import StrEnum
from typing import Final

import msgspec

from hub.core.ports import Clock

MAX_LENGTH: Final = 1_000
"""Characters of a token: the bound that Amazon's clients are told."""

CONNECTION_S: Final = 24 * 3600
"""Seconds that a connection token lives."""

SOCKET_S: Final = 100
"""Seconds in which the URL of a WebSocket must be connected."""

_VERSION: Final = 1


class Purpose(StrEnum):
    """What a token is for."""

    PARTICIPANT = "p"
    """To make connections, for as long as the participant is there."""
    CONNECTION = "c"
    """To call everything else."""
    SOCKET = "w"
    """To open a WebSocket."""


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token says."""

    v: int = 0
    t: str
    """The tenant."""
    c: str
    """The chat: the id of its interaction."""
    p: str
    """The participant."""
    r: str
    """The role of the participant."""
    k: Purpose
    exp: int | None = None
    """When it ends, in milliseconds since 1970 UTC; None: with the participant."""
    m: int = 0
    """When the participant was let in, in milliseconds since 1970 UTC: a later tenant of the same name may have another one of the same
    id. 0: the token was made before there was this.
    """
    a: str = ""
    """Which credential it ends with: see :attr:`channels.files.participants.models.Participant.admission`."""


class InvalidTokenError(Exception):
    """A token was not made by this hub for this purpose, or its time is over. The text says which."""


_decoder: Final = msgspec.json.Decoder(Token)
_encode: Final = msgspec.json.Encoder().encode


class Tokens:
    """Makes and reads the tokens of one hub."""

    __slots__ = ("_clock", "_key")

    def __init__(self, secret: bytes, clock: Clock) -> None:
        """``secret`` is ``HUB_SECRET``: all nodes of a hub have the same."""
        self._key = hmac.digest(secret, b"participant tokens v1", "sha256")
        self._clock = clock

    def make(
        self, purpose: Purpose, *, tenant: str, contact: str, participant: str, role: str, made_ms: int = 0, admission: str = ""
    ) -> tuple[str, int | None]:
        """A token, and when it ends, in milliseconds since 1970 UTC; None: with the participant."""
        lasts_s = {Purpose.PARTICIPANT: None, Purpose.CONNECTION: CONNECTION_S, Purpose.SOCKET: SOCKET_S}[purpose]
        ends_ms = None if lasts_s is None else self._clock.wall_ms() + lasts_s * 1000
        content = _encode(Token(v=_VERSION, t=tenant, c=contact, p=participant, r=role, k=purpose, exp=ends_ms, m=made_ms, a=admission))
        return f"{_text(content)}.{_text(hmac.digest(self._key, content, 'sha256'))}", ends_ms

    def read(self, text: str, purpose: Purpose) -> Token:
        """Read a token.

        Raises:
            InvalidTokenError: it was not made by this hub, is for another purpose, or has expired.
        """
        content, signature = _split(text)
        if not hmac.compare_digest(hmac.digest(self._key, content, "sha256"), signature):
            raise InvalidTokenError("the token was not made by this hub")
        try:
            token = _decoder.decode(content)
        except msgspec.MsgspecError:  # of a later version
            raise InvalidTokenError("the token is of another version of the hub") from None
        if token.v != _VERSION or token.k is not purpose:
            raise InvalidTokenError(f"expected {_NAMES[purpose]}, got another token")
        if token.exp is not None and token.exp <= self._clock.wall_ms():
            raise InvalidTokenError(f"the time of {_NAMES[purpose]} is over")
        return token


_NAMES: Final = {
    Purpose.PARTICIPANT: "the ParticipantToken",
    Purpose.CONNECTION: "the ConnectionToken",
    Purpose.SOCKET: "the token of a WebSocket",
}


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _split(text: str) -> tuple[bytes, bytes]:
    """The content and the signature of a token. Base64 has several texts for the same bytes: only the one that the hub writes is taken."""
    parts = text.split(".") if text.isascii() and 0 < len(text) <= MAX_LENGTH else ()
    try:
        content, signature = (base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True) for part in parts)
    except (binascii.Error, ValueError):
        raise InvalidTokenError("expected a token of this hub") from None
    if f"{_text(content)}.{_text(signature)}" != text:
        raise InvalidTokenError("expected a token of this hub")
    return content, signature
