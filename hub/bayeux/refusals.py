"""Answers to messages that are refused, and what every message has to satisfy."""

from __future__ import annotations

from hub.bayeux.messages import CONNECT, HANDSHAKE, SUBSCRIBE, UNSUBSCRIBE, Incoming
from hub.bayeux.replies import echo, failure, field_error, head
from hub.bayeux.session import BayeuxContext
from hub.core.errors import RefusedError, WireError
from hub.core.field_error import FieldError


class Refusals:
    """Makes the replies of one server to messages that it refuses, and counts them."""

    __slots__ = ("_context",)

    def __init__(self, context: BayeuxContext) -> None:
        self._context = context

    def check(self, message: Incoming) -> None:
        """Check what every message must satisfy, whatever its channel.

        Raises:
            RefusedError: TOO_LARGE or CHANNEL_MISSING.
            FieldError: a common member has the wrong type.
        """
        if message.size > self._context.limits.max_message_bytes:
            raise RefusedError(WireError.TOO_LARGE)
        if message.channel_text is None and message.text("channel") is None:
            raise RefusedError(WireError.CHANNEL_MISSING)
        message.check_common()

    def unknown(self, message: Incoming, *, spread: bool = False) -> bytes:
        """402; only a connect, and a handshake beside another one, is also told what to do about it
        (docs/protocol/bayeux.md#unknown-sessions). ``spread``: see :meth:`hub.bayeux.advice.Advice.handshake`.
        """
        self._context.counters.sessions_unknown += 1
        advised = message.channel in {CONNECT, HANDSHAKE}
        tail = self._context.advice.handshake(spread=spread) if advised else subscription_member(message)
        return failure(head(message), WireError.SESSION_UNKNOWN.text, tail)

    def invalid(self, message: Incoming, error: FieldError) -> bytes:
        """400, for a member of the wrong type."""
        self._context.counters.invalid_messages += 1
        text = WireError.SUBSCRIPTION_INVALID.text if error.field == "subscription" else field_error(error.field)
        return self.failed(message, text)

    def deleted(self, message: Incoming) -> bytes:
        """404, for a message that an extension refused."""
        return self.failed(message, WireError.MESSAGE_DELETED.text)

    def refused(self, message: Incoming, error: Exception) -> bytes:
        """What an exception of a handler becomes. One that is neither FieldError nor RefusedError is a fault of the server itself, or of an
        extension: it is reported, and answered with 500, so that the other messages of the request go on.
        """
        counters = self._context.counters
        if isinstance(error, FieldError):
            return self.invalid(message, error)
        if not isinstance(error, RefusedError):
            counters.failed += 1
            self._context.on_fault(self, error)
            return self.failed(message, WireError.INTERNAL.text)
        if error.error is WireError.SESSION_UNKNOWN:
            return self.unknown(message)
        if error.error is WireError.TOO_LARGE:
            counters.too_large += 1
        elif error.error in {WireError.CHANNEL_MISSING, WireError.DATA_MISSING, WireError.SUBSCRIPTION_MISSING}:
            counters.invalid_messages += 1
        return self.failed(message, error.error.text)

    def failed(self, message: Incoming, error: str) -> bytes:
        """A bad reply: behind the error stands the whole advice on a handshake or connect, else the subscription as it came."""
        if message.channel == HANDSHAKE:
            tail = self._context.advice.none
        elif message.channel == CONNECT:
            advice = self._context.advice
            tail = advice.later if error == WireError.CREDENTIAL_DENIED.text else advice.retry
        else:
            tail = subscription_member(message)
        return failure(head(message), error, tail)


def subscription_member(message: Incoming) -> bytes:
    """``subscription`` as it came, on replies to subscribe and unsubscribe (docs/protocol/bayeux.md#replies)."""
    return echo(message, "subscription") if message.channel in {SUBSCRIBE, UNSUBSCRIBE} else b""
