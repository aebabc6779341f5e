"""Envelopes on a channel of Redis, version 2.

``2`` and the class come first. A log message goes on with ``l<position> <previous> ``, which the script writes, for it gives the position;
an event or state with ``e``. Then follow the header's line, for many logins their hashes, the extra members and the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hub.bus.interface import Envelope, EnvelopeError
from hub.redis.header import LOGIN_BYTES, Header, HeaderError

VERSION = b"2"


class Received(NamedTuple):
    """What was on a channel."""

    envelope: Envelope
    logins: Sequence[str]
    """To whom an envelope goes that is for many logins; empty: to the envelope's audience."""
    epoch: int


def header_of(envelope: Envelope, *, epoch: int = 0, logins: int = 0) -> bytes:
    """The header's line, which is published and recorded alike."""
    topic = envelope.topic
    return Header(
        topic.audience, topic.channel, envelope.delivery, len(envelope.extra), envelope.origin, envelope.sequence, epoch, logins
    ).encode()


def login_bytes(login: str) -> bytes | None:
    """A login as it stands before a message for many; None for one that is no hash, to whom a message goes by itself."""
    try:
        raw = bytes.fromhex(login)
    except ValueError:
        return None
    return raw if len(raw) == LOGIN_BYTES and raw.hex() == login else None


def decode(tenant: str, payload: bytes) -> Received:
    """What a channel of ``tenant`` brought.

    Raises:
        EnvelopeError: no envelope, or of a version that this node does not know.
    """
    if payload[:1] != VERSION:
        raise EnvelopeError(f"expected an envelope of version 2, got {payload[:20]!r}")
    position = previous = None
    begin = 2
    try:
        if payload[1:2] == b"l":
            numbers_end = payload.index(b" ", payload.index(b" ", begin) + 1)
            first, second = payload[begin:numbers_end].split(b" ")
            position, previous = int(first), int(second)
            begin = numbers_end + 1
        elif payload[1:2] != b"e":
            raise EnvelopeError(f"expected a log message or an event, got {payload[:20]!r}")
        line_end = payload.index(b"\n", begin)
        header = Header.decode(payload[begin:line_end])
    except HeaderError as error:
        raise EnvelopeError(str(error)) from error
    except ValueError as error:
        raise EnvelopeError(f"expected an envelope, got {payload[:40]!r}") from error
    begin = line_end + 1
    logins: list[str] = []
    if header.logins:
        end = begin + header.logins * LOGIN_BYTES
        if end > len(payload):
            raise EnvelopeError(f"expected {header.logins} logins, got {payload[:40]!r}")
        hashes = payload[begin:end].hex()
        logins = [hashes[at : at + 2 * LOGIN_BYTES] for at in range(0, len(hashes), 2 * LOGIN_BYTES)]
        begin = end
    split = begin + header.extra_bytes
    envelope = Envelope(
        header.topic(tenant), header.delivery, payload[split:], payload[begin:split], position, previous, header.origin, header.sequence
    )
    return Received(envelope, logins, header.epoch)
