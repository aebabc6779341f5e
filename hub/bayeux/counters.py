"""What the Bayeux doors count; ``/metrics`` reads it."""

from dataclasses import dataclass


@dataclass(slots=True)
class BayeuxCounters:
    """Each field becomes ``hub_bayeux_<field>``."""

    handshakes: int = 0
    """Handshakes that opened a session."""
    handshakes_denied: int = 0
    """Credentials missing, wrong or expired."""
    handshakes_limited: int = 0
    """Refused for a limit, or because the server stops."""
    handshakes_unsupported: int = 0
    """No common connection type."""
    connects: int = 0
    duplicate_connects: int = 0
    """Held connects that a newer one took the place of."""
    disconnects: int = 0
    """Sessions that ended because the client said so."""
    expired: int = 0
    """Sessions that ended because the client was not heard of any more."""
    disconnected: int = 0
    """Sessions that ended because the server said so: an administrator, an extension, or for want of activity."""
    revoked: int = 0
    """Sessions that ended because their credential was removed."""
    resent: int = 0
    """Messages that were sent again because the client had not acknowledged them."""
    many_clients: int = 0
    """Connects that were not held because their browser has as many held as it may."""
    sessions_unknown: int = 0
    """Messages answered with ``402::session_unknown``."""
    invalid_messages: int = 0
    """Messages with a missing member, or one of the wrong type or form."""
    failed: int = 0
    """Messages answered with ``500``, because the server itself failed at them: the log says at what."""
    too_large: int = 0
    """Messages above ``max_message_bytes``."""
    unread_replies: int = 0
    """WebSockets that were closed because the client asked and read none of the answers."""
    publishes_refused: int = 0
    subscribes_refused: int = 0
    bad_requests: int = 0
    """Requests and frames that are no Bayeux at all: not JSON, too many messages, too large."""
