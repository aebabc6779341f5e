"""What can go wrong between a Bayeux client and its server, as exceptions whose texts say what to do."""

from __future__ import annotations

from collections.abc import Sequence


class BayeuxError(Exception):
    """The base of all errors of :class:`hub.client.BayeuxClient`."""

    answers: Sequence[PublishError | None] = ()
    """Of ``publish_many``: the server's answers to the first messages, before this error; None for each message that it accepted."""


class ConnectionLostError(BayeuxError):
    """The server could not be reached, or went away, before it answered. A publish may have arrived nevertheless."""


class NotSentError(ConnectionLostError):
    """The request was not sent, since there was no connection: nothing has arrived, and the request may be repeated."""


class CredentialError(NotSentError):
    """The function that gives the token or the API key failed."""


class RequestTooLargeError(BayeuxError):
    """The request is larger than the server accepts: the server has done nothing of it."""


class ProtocolError(BayeuxError):
    """The answer is not Bayeux: there may be no Bayeux server at this address."""


class HandshakeDeniedError(BayeuxError):
    """The server does not let the client in: the credentials are missing, wrong or expired."""


class ServerDisconnectedError(BayeuxError):
    """The server ended the session for good (``/meta/disconnect``, or the advice ``reconnect: none``)."""


class ClosedError(BayeuxError):
    """The client was closed, or not opened: use it in ``async with``."""


class RefusedError(BayeuxError):
    """The server refused one message.

    Args:
        channel: The channel of the message that was refused.
        error: The server's error text, such as ``403:denied:publish_denied``.
    """

    def __init__(self, channel: str, error: str) -> None:
        super().__init__(f"{channel}: {error}")
        self.channel = channel
        self.error = error

    @property
    def code(self) -> int | None:
        """The number in front of ``error`` (Bayeux 1.0 section 3.13: ``code:args:message``); None when there is none."""
        number = self.error.partition(":")[0]
        return int(number) if number.isascii() and number.isdigit() else None


class SubscribeError(RefusedError):
    """The server refused a subscription."""


class ReplayError(SubscribeError):
    """The server cannot replay from this position: messages may be missing. Subscribe with ALL, or with NEW."""


class PublishError(RefusedError):
    """The server refused a publish."""


class RemoteCallError(BayeuxError):
    """A remote call failed on the server.

    Args:
        target: The target of the call.
        data: The data of the server's answer, any JSON value.
    """

    def __init__(self, target: str, data: object) -> None:
        super().__init__(f"{target}: {data}")
        self.target = target
        self.data = data


class OverflowedError(BayeuxError):
    """A subscription's consumer was too slow, and its queue overflowed. The consumer got the messages in the queue; later ones are lost."""
