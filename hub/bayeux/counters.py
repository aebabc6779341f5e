"""The counters of the Bayeux transports; ``/metrics`` shows them."""

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class BayeuxCounters:
    """Each becomes ``hub_bayeux_<name>_total``."""

    METRICS: ClassVar = (
        CounterFamily(
            "handshakes",
            "Bayeux handshakes, by outcome.",
            "outcome",
            {
                "handshakes": "opened",
                "handshakes_denied": "denied",
                "handshakes_limited": "limited",
                "handshakes_unsupported": "unsupported",
            },
        ),
        CounterFamily(
            "connects_cut_short",
            "Connects that were not held to their end, by reason.",
            "reason",
            {"duplicate_connects": "replaced", "many_clients": "multiple_clients"},
        ),
        CounterFamily(
            "sessions_ended",
            "Bayeux sessions that ended, by who or what ended them.",
            "reason",
            {"disconnects": "client", "disconnected": "server", "expired": "expired", "revoked": "revoked"},
        ),
        CounterFamily(
            "messages_resent",
            "Messages that were sent again because the client had not acknowledged them.",
            "",
            {"resent": ""},
        ),
        CounterFamily(
            "errors",
            "Messages and requests that were answered with an error, by reason.",
            "reason",
            {
                "sessions_unknown": "session_unknown",
                "invalid_messages": "invalid_message",
                "too_large": "too_large",
                "publishes_refused": "publish_refused",
                "subscribes_refused": "subscribe_refused",
                "bad_requests": "bad_request",
                "failed": "internal",
            },
        ),
    )

    handshakes: int = 0
    """Handshakes that opened a session."""
    handshakes_denied: int = 0
    """Credentials missing, wrong or expired."""
    handshakes_limited: int = 0
    """Refused for a limit, or because the server stops."""
    handshakes_unsupported: int = 0
    """No common connection type."""
    connects: int = 0
    """Connects of all sessions."""
    duplicate_connects: int = 0
    """Held connects that a newer connect superseded."""
    disconnects: int = 0
    """Sessions that their client ended."""
    expired: int = 0
    """Sessions whose client sent nothing for too long."""
    disconnected: int = 0
    """Sessions that the server ended: by an administrator, by an extension, or for want of activity."""
    revoked: int = 0
    """Sessions whose credential was removed."""
    resent: int = 0
    """Messages that were sent again because the client had not acknowledged them."""
    many_clients: int = 0
    """Connects that were not held because as many of their browser were held already as may be."""
    resumed_by_id: int = 0
    """Times that a request without the session's cookie or credential went on with it by its clientId alone."""
    sessions_unknown: int = 0
    """Messages answered with ``402::session_unknown``."""
    invalid_messages: int = 0
    """Messages with a missing member, or one of the wrong type or form."""
    failed: int = 0
    """Messages answered with ``500``, because the server itself failed; the log shows the exception."""
    too_large: int = 0
    """Messages above ``max_message_bytes``."""
    unread_replies: int = 0
    """WebSockets that were closed because the client sent requests and read none of the replies."""
    publishes_refused: int = 0
    """Publishes that were answered with an error."""
    subscribes_refused: int = 0
    """Subscriptions that were answered with an error."""
    bad_requests: int = 0
    """Requests and frames that are not Bayeux at all: not JSON, too many messages, too large."""
