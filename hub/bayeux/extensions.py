"""Extensions: code of a hub's users that sees incoming and outgoing messages and may change or refuse them.

An extension is a subclass of :class:`Extension`; the setting ``extensions`` names it. ``docs/extensions.md`` is its guide.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from hub.bayeux.server import BayeuxServer
    from hub.bayeux.session import ServerSession

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ExtensionMessage:
    """One message as an extension sees it: a mapping of its members. A member is decoded when it is looked at, and written anew only when
    it is set, so that what nobody touches passes verbatim.

    Reading gives a copy: to change ``data`` or ``ext``, set them.
    """

    __slots__ = ("_members", "changed")

    def __init__(self, members: dict[str, msgspec.Raw]) -> None:
        self._members = members
        self.changed = False

    @property
    def channel(self) -> str:
        """The channel; empty when there is none that is a text."""
        channel = self.get("channel")
        return channel if isinstance(channel, str) else ""

    @property
    def data(self) -> Any:
        """The data as a Python value, None when there is none."""
        return self.get("data")

    @data.setter
    def data(self, value: Any) -> None:
        self["data"] = value

    @property
    def ext(self) -> dict[str, Any]:
        """A copy of ``ext``; empty when there is none."""
        ext = self.get("ext")
        return ext if isinstance(ext, dict) else {}

    @ext.setter
    def ext(self, value: dict[str, Any]) -> None:
        self["ext"] = value

    def get(self, name: str, default: Any = None) -> Any:
        """A member as a Python value."""
        raw = self._members.get(name)
        return default if raw is None else msgspec.json.decode(raw)

    def __getitem__(self, name: str) -> Any:
        return msgspec.json.decode(self._members[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self._members[name] = msgspec.Raw(json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii"))
        self.changed = True

    def __delitem__(self, name: str) -> None:
        del self._members[name]
        self.changed = True

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    @property
    def members(self) -> dict[str, msgspec.Raw]:
        """The members, each as its JSON text."""
        return self._members

    def encode(self) -> bytes:
        """The whole message as ASCII JSON text."""
        parts = (b"%b:%b" % (json.dumps(name).encode("ascii"), bytes(value)) for name, value in self._members.items())
        return b"{%b}" % b",".join(parts)


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
        """The server is there: keep it, register services (``bayeux.services``)."""

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


FaultReport = Callable[[object, Exception], object]
"""Called with an exception of an extension or a service."""


class Extensions:
    """All extensions of a server. While there are none, :attr:`none` says so, and nothing of this costs anything."""

    __slots__ = ("_extensions", "_on_fault", "faults", "refused")

    def __init__(self, extensions: Iterable[Extension], on_fault: FaultReport) -> None:
        self._extensions: tuple[Extension, ...] = tuple(extensions)
        self._on_fault = on_fault
        self.refused = 0
        """Messages that an extension refused or dropped."""
        self.faults = 0
        """Exceptions of extensions."""

    @property
    def none(self) -> bool:
        """Whether there are none."""
        return not self._extensions

    def started(self, bayeux: BayeuxServer) -> None:
        """Tell every extension that the server is there."""
        for extension in self._extensions:
            extension.started(bayeux)

    def session_opened(self, session: ServerSession) -> tuple[SessionExtension, ...]:
        """The session's own extensions."""
        made: list[SessionExtension] = []
        for extension in self._extensions:
            try:
                own = extension.session_opened(session)
            except Exception as fault:
                self._failed(extension, fault)
            else:
                if own is not None:
                    made.append(own)
        return tuple(made)

    async def incoming(self, session: ServerSession | None, message: ExtensionMessage) -> bool:
        """Whether the message may go on; it may have been changed."""
        calls: list[tuple[Any, Any]] = [(extension, session) for extension in self._extensions]
        if session is not None:
            calls += [(own, session) for own in session.extensions]
        for extension, of in calls:
            try:
                passes = extension.incoming(of, message)
                if inspect.isawaitable(passes):
                    passes = await passes
            except Exception as fault:
                self._failed(extension, fault)
                passes = False
            if not passes:
                self.refused += 1
                return False
        return True

    def published(self, channel: str, data: bytes, extra: bytes) -> tuple[bytes, bytes] | None:
        """What becomes of ``data`` and ``extra`` (see :class:`hub.core.message.Message`) of what is published; None to drop it."""
        members = {"channel": msgspec.Raw(json.dumps(channel).encode("ascii")), "data": msgspec.Raw(data)}
        if extra:
            members |= _object.decode(b"{%b}" % extra[1:])
        message = ExtensionMessage(members)
        if not self._outgoing(self._extensions, None, message):
            self.refused += 1
            return None
        if not message.changed:
            return data, extra
        changed = message.members
        rest = {name: value for name, value in changed.items() if name not in {"channel", "data"}}
        encoded = ExtensionMessage(rest).encode()[1:-1]
        return bytes(changed.get("data", b"null")), b"," + encoded if encoded else b""

    def reply(self, session: ServerSession | None, reply: bytes) -> bytes:
        """A reply, or a message for one session, after all extensions have seen it."""
        message = ExtensionMessage(_object.decode(reply))
        self._outgoing((*self._extensions, *(session.extensions if session is not None else ())), session, message)
        return message.encode() if message.changed else reply

    def _outgoing(
        self, extensions: Sequence[Extension | SessionExtension], session: ServerSession | None, message: ExtensionMessage
    ) -> bool:
        for extension in reversed(extensions):
            try:
                if not extension.outgoing(session, message):  # type: ignore[arg-type]
                    return False
            except Exception as fault:
                self._failed(extension, fault)
                return False
        return True

    def _failed(self, extension: object, fault: Exception) -> None:
        self.faults += 1
        self._on_fault(extension, fault)
