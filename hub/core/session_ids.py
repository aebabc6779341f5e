"""The ids of sessions. Each begins with the incarnation of the process that made it, so that any node of the hub knows whose session it is
(docs/scaling.md#sessions).
"""

from __future__ import annotations

import re
import secrets
from typing import Final

INCARNATION_CHARACTERS: Final = 12
"""Hexadecimal digits of an incarnation, the random name that a process takes when it starts: 48 bits."""

_SHOWN_CHARACTERS: Final = 16

PUBLIC_ID_CHARACTERS: Final = INCARNATION_CHARACTERS + _SHOWN_CHARACTERS
"""Characters of a session's id that may be shown: the incarnation, and 64 random bits."""

_CLIENT_ID_BYTES: Final = 24
"""192 random bits, of which the first 64 may be shown: a clientId is all that some sessions ask for, so 128 bits stay secret."""

_CLIENT_ID: Final = re.compile(rf"[0-9a-f]{{{INCARNATION_CHARACTERS + 2 * _CLIENT_ID_BYTES}}}")


def new_incarnation() -> str:
    """The random name of a process: it takes one when it starts, and keeps it until it ends."""
    return secrets.token_hex(INCARNATION_CHARACTERS // 2)


def new_client_id(incarnation: str) -> str:
    """The clientId of a new Bayeux session. Whoever knows it may be taken for the session's client."""
    return incarnation + secrets.token_hex(_CLIENT_ID_BYTES)


def new_stream_id(incarnation: str) -> str:
    """The id of a new session of ``/ws`` or ``/events``. It is no secret: it names the session, and no request is served for it."""
    return incarnation + secrets.token_hex(_SHOWN_CHARACTERS // 2)


def incarnation_of(client_id: str) -> str | None:
    """The incarnation of the process that made a clientId; None for a text that no process of a hub makes."""
    return client_id[:INCARNATION_CHARACTERS] if _CLIENT_ID.fullmatch(client_id) else None
