"""Envelopes on a channel of Redis, in two versions (docs/scaling.md#two-versions-side-by-side).

An envelope begins with the digit of its version and a letter. For a log message the letter is ``l``, and ``<position> <previous> ``
follows: the script in Redis writes them, because it assigns the position. For an event or state the letter is ``e``. Then come the line of
the header, the hashes of the logins (only in a message for many logins), the extra members, and the data. Version 3 adds the letter ``n``,
a notice: the node that sends it could not publish states of the tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hub.bus.interface import Envelope, EnvelopeError
from hub.redis.header import LOGIN_BYTES, Header, HeaderError

VERSIONS: Final = (2, 3)
"""The versions that this node reads and writes, the oldest first."""

_DIGITS: Final = tuple(b"%d" % version for version in VERSIONS)


class Received(NamedTuple):
    """An envelope that came on a channel of Redis."""

    envelope: Envelope
    logins: Sequence[str]
    """The logins that the envelope is for; empty if it is for the audience of its topic."""
    notice: bool = False
    """Whether it says that states of the tenant were lost; then it has no data."""


def header_of(envelope: Envelope, *, epoch: int = 0, logins: int = 0) -> bytes:
    """The line of the header; it is the same when it is published and when it is recorded in the log."""
    topic = envelope.topic
    return Header(
        topic.audience, topic.channel, envelope.delivery, len(envelope.extra), envelope.origin, envelope.sequence, epoch, logins
    ).encode()


def login_bytes(login: str) -> bytes | None:
    """The bytes of a login for a message to many logins; None if the login is not a hash and needs a message of its own."""
    try:
        raw = bytes.fromhex(login)
    except ValueError:
        return None
    return raw if len(raw) == LOGIN_BYTES and raw.hex() == login else None


def decode(tenant: str, payload: bytes) -> Received:
    """Decode a message that came on a channel of ``tenant``.

    Raises:
        EnvelopeError: it is not an envelope, or has a version that this node does not know.
    """
    if payload[:1] not in _DIGITS:
        raise EnvelopeError(f"expected an envelope of version {' or '.join(map(str, VERSIONS))}, got {payload[:20]!r}")
    notice = payload[:2] == b"3n"
    position = previous = None
    begin = 2
    try:
        if payload[1:2] == b"l":
            numbers_end = payload.index(b" ", payload.index(b" ", begin) + 1)
            first, second = payload[begin:numbers_end].split(b" ")
            position, previous = int(first), int(second)
            begin = numbers_end + 1
        elif payload[1:2] != b"e" and not notice:
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
        header.topic(tenant),
        header.delivery,
        payload[split:],
        payload[begin:split],
        position,
        previous,
        header.origin,
        header.sequence,
        header.epoch,
    )
    return Received(envelope, logins, notice)
