"""Extensions: code of a hub's users that sees incoming and outgoing messages and may change or refuse them.

An extension is a subclass of :class:`Extension`; the setting ``extensions`` names it. ``docs/extensions.md`` is its guide.
"""

from __future__ import annotations

from collections.abc import Awaitable

from hub.bayeux.extension_chain import ExtensionMessage as ExtensionMessage
from hub.bayeux.server import BayeuxServer
from hub.bayeux.session import ServerSession


class SessionExtension:
    """Looks at the messages of one session: an :class:`Extension` makes it in :meth:`Extension.session_opened`."""

    def incoming(self, session: ServerSession, message: ExtensionMessage) -> bool | Awaitable[bool]:
        """As :meth:`Extension.incoming`, for this session's messages."""
        return True

    def outgoing(self, session: ServerSession, message: ExtensionMessage) -> bool:
        """As :meth:`Extension.outgoing`, for replies and for what the server sends to this session alone. What is published to a channel
        does not pass here: that costs nothing per subscriber.
        """
        return True


class Extension:
    """Looks at all messages. Override what you need; nothing else is called. Extensions see incoming messages in the order of the setting,
    outgoing ones in the reverse order (as CometD's do).
    """

    def started(self, bayeux: BayeuxServer) -> None:
        """The server has started: keep it, register services (``bayeux.services``)."""

    def session_opened(self, session: ServerSession) -> SessionExtension | None:
        """A handshake has opened a session. What is returned sees its messages from now on."""
        return None

    def incoming(self, session: ServerSession | None, message: ExtensionMessage) -> bool | Awaitable[bool]:
        """A client's message, before anything is done with it; ``session`` is None for a handshake. May be ``async``.

        Returns False to refuse the message: the client is answered ``404::message_deleted``. An exception refuses it too, and is logged.
        """
        return True

    def outgoing(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        """A message on its way out: once for each message that is published, with ``session`` None, whoever published it, before it is
        delivered to anybody; and each reply to ``session``. Nothing can be awaited here.

        Returns False to drop a message that is published (it is counted). A reply cannot be dropped, for the client waits for it. An
        exception drops too, and is logged.
        """
        return True
