"""Every error that goes over the wire, once: its code, what it says, and what a client should do next.

Bayeux texts are CometD's (``code:args:text``, docs/protocol/bayeux.md#errors); client libraries act on them: 401 and 403 are read as
failures of authentication, so an unknown session is 402 and nothing else. Close codes: docs/protocol/dashboard.md#close-codes.
"""

from enum import Enum, IntEnum
from typing import Final


class WireError(Enum):
    """``(Bayeux error text, status code as dashboards and REST see it, what went wrong in words)``."""

    SESSION_UNKNOWN = ("402::session_unknown", 402, "the session is not known; shake hands again")
    HANDSHAKE_DENIED = ("403::handshake_denied", 403, "the credentials are missing, wrong or expired")
    CREDENTIAL_DENIED = ("403::credential_denied", 403, "the credential is wrong or expired, or it is another caller's")
    CHANNEL_MISSING = ("400::channel_missing", 400, "the field channel is missing")
    DATA_MISSING = ("400::data_missing", 400, "the field data is missing")
    FIELD_INVALID = ("400::message_invalid", 400, "a field has the wrong type")
    CHANNEL_INVALID = ("405::channel_invalid", 405, "the channel name is not valid, or cannot be published to")
    SUBSCRIPTION_MISSING = ("403::subscription_missing", 403, "the field subscription is missing")
    SUBSCRIPTION_INVALID = ("403::subscription_invalid", 403, "a subscription is not a valid channel or pattern")
    SUBSCRIBE_DENIED = ("403:denied:subscribe_denied", 403, "subscribing to this channel is not allowed")
    PUBLISH_DENIED = ("403:denied:publish_denied", 403, "publishing to this channel is not allowed")
    REPLAY_INVALID = ("400::replay_id_invalid", 400, "the position is not one that the log can replay from")
    MESSAGE_DELETED = ("404::message_deleted", 404, "an extension of the server refused the message")
    TOO_LARGE = ("413::message_too_large", 413, "the message is too large")
    RATE_LIMITED = ("429::rate_limited", 429, "a limit of this session or server is reached")
    INTERNAL = ("500::internal_error", 500, "the server failed; it is logged")
    UNAVAILABLE = ("503::unavailable", 503, "the server cannot read or write its log or database now")
    CONNECTION_TYPES = ("301::connection_types_unsupported", 301, "no common connection type")

    def __init__(self, text: str, code: int, reason: str) -> None:
        self.text = text
        self.code = code
        self.reason = reason


class RefusedError(Exception):
    """A request that the hub refuses. ``error`` decides the wire form, ``detail`` says what was expected and what came."""

    def __init__(self, error: WireError, detail: str = "", *, channel: str = "") -> None:
        super().__init__(detail or error.reason)
        self.error = error
        self.detail = detail or error.reason
        self.channel = channel

    @classmethod
    def denied(cls, error: WireError, why: str, channel: str) -> "RefusedError":
        """A caller may not do what ``error`` says, on a channel; ``why`` is :attr:`hub.core.decision.Decision.reason`, in words."""
        return cls(error, f"{error.reason}: {why}", channel=channel)


class CloseCode(IntEnum):
    """WebSocket close codes (docs/protocol/dashboard.md#close-codes; RFC 6455 section 7.4)."""

    NORMAL = 1000
    """The conversation ended as it should."""
    POLICY = 1008
    """Thousands of tiny frames in one read: what only an attack sends."""
    TOO_LARGE = 1009
    """A frame or message above ``max_request_bytes``."""
    INTERNAL = 1011
    """An error of the server; it is logged."""
    RESTARTING = 1012
    """The server stops; connect again."""
    UNAVAILABLE = 1013
    """Credentials cannot be looked up now: the database does not answer. Come back later."""
    BAD_MESSAGE = 4400
    """Not JSON, not UTF-8, too deep, or of an unknown shape."""
    NOT_AUTHENTICATED = 4401
    """No credential, a wrong or an expired one."""
    FORBIDDEN = 4403
    """An administrator ended the session, or a newer token was another caller's."""
    TOO_SLOW = 4408
    """The client read too slowly for a channel whose messages must not be dropped; come back and replay."""
    TOO_MANY = 4429
    """A limit on connections, commands or subscriptions."""


CREDENTIAL_UNVERIFIED: Final = "credentials cannot be looked up now; come back later"
"""Why a session is closed whose credential nobody can look up for too long."""

CREDENTIAL_ENDED: Final = "the credential has ended: it ran out, was removed or changed"
"""Why a session ends whose credential is gone. One text for all of it: what was removed leaves no row that could tell why."""
