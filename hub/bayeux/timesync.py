"""The timesync extension: how far the client's clock is from the server's (docs/protocol/bayeux.md#timesync)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hub.bayeux.messages import Incoming
from hub.core.field_error import FieldError

ACCURATE_MS = 25
"""A client whose offset is off by less is not answered, in ms: CometD's ``accuracyTarget``."""

_number = msgspec.json.Decoder(int | float)


class Timesync(NamedTuple):
    """One request for the time; all values are in milliseconds."""

    client_ms: int
    received_ms: int
    accuracy_ms: int

    def member(self, now_ms: int) -> bytes:
        """``{"tc","ts","p","a"}``: the client's time, the server's time when the request came, how long the server took until ``now_ms``,
        and by how much the client's clock is wrong.
        """
        return b'{"tc":%d,"ts":%d,"p":%d,"a":%d}' % (self.client_ms, self.received_ms, now_ms - self.received_ms, self.accuracy_ms)


def read_timesync(message: Incoming, wall_ms: Callable[[], int]) -> Timesync | None:
    """``ext.timesync`` of a handshake or connect, ``{"tc": client time, "l": lag, "o": offset}`` in ms. None when it is absent, or when the
    client's offset is accurate already. ``wall_ms`` gives the time, in ms since 1970.

    Raises:
        FieldError: it is no object of numbers, or has no ``tc``.
    """
    ext = message.members("ext")
    if ext is None or "timesync" not in ext:
        return None
    now_ms = wall_ms()
    raw = bytes(ext["timesync"])
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        client, lag, offset = (round(_number.decode(fields.get(name, b"0"))) for name in ("tc", "l", "o"))
    except (msgspec.MsgspecError, OverflowError):
        raise FieldError.of_json("ext.timesync", "an object of tc, l and o, numbers of milliseconds", raw) from None
    accuracy = client + offset + lag - now_ms
    if "tc" not in fields:
        raise FieldError.of_json("ext.timesync", "an object of tc, l and o, numbers of milliseconds", raw)
    return Timesync(client, now_ms, accuracy) if lag == 0 or abs(accuracy) >= ACCURATE_MS else None
