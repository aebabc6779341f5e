"""The replay extension as Salesforce defines it: a handshake turns it on, a subscribe names the position to replay from
(docs/protocol/bayeux.md#replay).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from hub.bayeux.messages import Incoming
from hub.core.field_error import FieldError
from hub.core.subscriptions import EVERYTHING

NEW_ONLY = -1
ALL_RETAINED = -2

_POSITION = re.compile(rb'"?(-1|-2|[0-9]{1,19})"?')
_map = msgspec.json.Decoder(dict[str, msgspec.Raw])


def asks_for_replay(message: Incoming) -> bool:
    """Whether a handshake has ``ext.replay``, with any value but false and null."""
    ext = message.members("ext")
    return ext is not None and bytes(ext.get("replay", b"false")) not in {b"false", b"null"}


def positions(message: Incoming, patterns: Iterable[str]) -> dict[str, int] | None:
    """The position after which a subscribe wants each of its patterns. ``ext.replay`` is a map of channel to -1 (only new messages), -2
    (all that is kept) or a position, each a number or a numeric text. Returns None when there is no map. Channels that the request does not
    subscribe to are ignored, for clients send the positions of all channels that they ever subscribed to.

    Raises:
        FieldError: it is no such map.
    """
    ext = message.members("ext")
    if ext is None or "replay" not in ext:
        return None
    raw = bytes(ext["replay"])
    if raw in {b"true", b"false", b"null"}:  # the form of a handshake: some clients send it with every message
        return None
    try:
        asked = _map.decode(raw)
    except msgspec.MsgspecError:
        raise FieldError.of_json("ext.replay", "a map of channel to -1, -2 or a position", raw) from None
    found: dict[str, int] = {}
    for pattern in patterns:
        if pattern not in asked:
            continue
        value = bytes(asked[pattern])
        if not _POSITION.fullmatch(value) or (value[:1] == b'"') != (value[-1:] == b'"'):
            raise FieldError.of_json("ext.replay", "a map of channel to -1, -2 or a position", value)
        position = int(value.strip(b'"'))
        if position != NEW_ONLY:
            found[pattern] = EVERYTHING if position == ALL_RETAINED else position
    return found


def invalid_position(position: int) -> str:
    """The error of a subscribe from a position that the log cannot replay from. Salesforce's clients look for these words."""
    return (
        f"400::The replayId {{{position}}} you provided was invalid. "
        "Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
    )
