"""The header of what travels through Redis and lies in its streams: one line of JSON."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from hub.core.delivery import DeliveryClass
from hub.core.message import Topic

LOGIN_BYTES = 16
"""A login is a hash of so many bytes (:func:`hub.core.principal.login_key`)."""


class HeaderError(ValueError):
    """Bytes that are no header."""


class Header(NamedTuple):
    """What is said of a message beside its bytes; the tenant is said by the name of the channel or the key."""

    audience: str
    channel: str
    delivery: DeliveryClass
    extra_bytes: int
    origin: str
    sequence: int
    epoch: int = 0
    """The fence of the tenant's stat server that published it; 0: nobody's."""
    logins: int = 0
    """Before the message stand so many logins, ``LOGIN_BYTES`` each, to whom it goes; 0: it goes to ``audience``."""

    def encode(self) -> bytes:
        """One line of JSON, without the line's end."""
        fields: dict[str, object] = {
            "t": [self.audience, self.channel],
            "x": self.extra_bytes,
            "o": self.origin,
            "s": self.sequence,
            "d": self.delivery.value,
        }
        if self.epoch:
            fields["y"] = self.epoch
        if self.logins:
            fields["g"] = self.logins
        return orjson.dumps(fields)

    @classmethod
    def decode(cls, line: bytes) -> Header:
        """The reverse of :meth:`encode`; members that it does not know are ignored.

        Raises:
            HeaderError: it is no header.
        """
        try:
            fields = orjson.loads(line)
            audience, channel = fields["t"]
            header = cls(
                audience,
                channel,
                DeliveryClass(fields["d"]),
                fields["x"],
                fields["o"],
                fields["s"],
                fields.get("y", 0),
                fields.get("g", 0),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise HeaderError(f"expected the header of a message, got {line[:60]!r}: {error}") from error
        if not isinstance(header.audience, str) or not isinstance(header.channel, str) or not isinstance(header.origin, str):
            raise HeaderError(f"expected names as texts, got {line[:60]!r}")
        if any(not isinstance(number, int) or number < 0 for number in (header.extra_bytes, header.sequence, header.epoch, header.logins)):
            raise HeaderError(f"expected numbers that are not negative, got {line[:60]!r}")
        return header

    def topic(self, tenant: str) -> Topic:
        """Where it goes."""
        return Topic(tenant, self.audience, self.channel)
