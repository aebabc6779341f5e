"""What can go wrong between a Bayeux client and its server, as exceptions whose texts say what to do."""

from __future__ import annotations

from collections.abc import Sequence


class BayeuxError(Exception):
    """The base of all errors of :class:`hub.client.BayeuxClient`."""

    answers: Sequence[PublishError | None] = ()
    """Of ``publish_many``: what the server answered to the first messages before this happened, None where it took one."""


class ConnectionLostError(BayeuxError):
    """The server could not be reached, or went away, before it answered. A publish may have arrived nevertheless."""


class NotSentError(ConnectionLostError):
    """There was no connection over which to send it: nothing has arrived, it may be repeated."""


class CredentialError(NotSentError):
    """The function that gives the token or the API key failed."""


class RequestTooLargeError(BayeuxError):
    """The server does not take a request of this size: nothing of it was done."""


class ProtocolError(BayeuxError):
    """What came is not Bayeux: is there a Bayeux server at this address?"""


class HandshakeDeniedError(BayeuxError):
    """The server does not let the client in: the credentials are missing, wrong or expired."""


class ServerDisconnectedError(BayeuxError):
    """The server ended the session for good (``/meta/disconnect``, or the advice ``reconnect: none``)."""


class ClosedError(BayeuxError):
    """The client was closed, or never opened: use it in ``async with``."""


class RefusedError(BayeuxError):
    """The server refused one message.

    Args:
        channel: The channel of the message that was refused.
        error: The server's words, such as ``403:denied:publish_denied``.
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
    """The server cannot replay from the position that was asked for: something may be missing. Subscribe with ALL, or with NEW."""


class PublishError(RefusedError):
    """The server refused a publish."""


class RemoteCallError(BayeuxError):
    """A remote call failed on the server.

    Args:
        target: What was called.
        data: The server's data of the failure, whatever it is.
    """

    def __init__(self, target: str, data: object) -> None:
        super().__init__(f"{target}: {data}")
        self.target = target
        self.data = data


class OverflowedError(BayeuxError):
    """A subscription's consumer was too slow: more messages waited than its queue holds. Those were handed out; later ones are lost."""
