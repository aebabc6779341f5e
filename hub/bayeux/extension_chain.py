"""Runs the extensions of a server over its messages. :mod:`hub.bayeux.extensions` has the classes from which extensions are made."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from hub.bayeux.messages import Incoming

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


S = TypeVar("S")
T = TypeVar("T")
S_contra = TypeVar("S_contra", contravariant=True)


class SessionHooks(Protocol[S_contra]):
    """What is asked of an extension of one session; ``S`` is the sessions' class. See :class:`hub.bayeux.extensions.SessionExtension`."""

    def incoming(self, session: S_contra, message: ExtensionMessage, /) -> bool | Awaitable[bool]:
        """Whether a message of this session's client may go on."""
        ...

    def outgoing(self, session: S_contra, message: ExtensionMessage, /) -> bool:
        """Whether the extensions before this one are asked too."""
        ...


class Hooks(Protocol[S_contra]):
    """What is asked of an extension of the whole server. See :class:`hub.bayeux.extensions.Extension`."""

    def session_opened(self, session: S_contra, /) -> SessionHooks[S_contra] | None:
        """The extension of a session that a handshake has opened."""
        ...

    def incoming(self, session: S_contra | None, message: ExtensionMessage, /) -> bool | Awaitable[bool]:
        """Whether a client's message may go on."""
        ...

    def outgoing(self, session: S_contra | None, message: ExtensionMessage, /) -> bool:
        """Whether a message that is published may go on."""
        ...


FaultReport = Callable[[object, Exception], object]
"""Called with an extension, a service or the server, and the exception that it raised."""


class ExtensionChain(Generic[S]):
    """All extensions of a server. While there are none, :attr:`none` says so, and nothing of this costs anything."""

    __slots__ = ("_extensions", "_on_fault", "faults", "none", "refused")

    def __init__(self, extensions: Iterable[Hooks[S]], on_fault: FaultReport) -> None:
        self._extensions: tuple[Hooks[S], ...] = tuple(extensions)
        self._on_fault = on_fault
        self.none = not self._extensions
        """Whether there are no extensions."""
        self.refused = 0
        """Messages that an extension refused or dropped."""
        self.faults = 0
        """Exceptions that extensions raised."""

    def session_opened(self, session: S) -> tuple[SessionHooks[S], ...]:
        """The session's own extensions."""
        made: list[SessionHooks[S]] = []
        for extension in self._extensions:
            try:
                own = extension.session_opened(session)
            except Exception as error:
                self._failed(extension, error)
            else:
                if own is not None:
                    made.append(own)
        return tuple(made)

    async def incoming(self, session: S | None, own: Iterable[SessionHooks[S]], message: Incoming) -> Incoming | None:
        """A client's message as the extensions leave it; None when one of them refused it. ``own`` are the extensions of ``session``."""
        seen = ExtensionMessage(dict(message.fields))
        for extension in self._extensions:
            if not await self._passes(extension, extension.incoming, session, seen):
                return None
        if session is not None:
            for each in own:
                if not await self._passes(each, each.incoming, session, seen):
                    return None
        return Incoming(seen.members, message.size) if seen.changed else message

    async def _passes(
        self, extension: object, incoming: Callable[[T, ExtensionMessage], bool | Awaitable[bool]], session: T, message: ExtensionMessage
    ) -> bool:
        try:
            passes = incoming(session, message)
            if inspect.isawaitable(passes):
                passes = await passes
        except Exception as error:
            self._failed(extension, error)
            passes = False
        if not passes:
            self.refused += 1
        return bool(passes)

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

    def reply(self, session: S | None, own: Sequence[SessionHooks[S]], reply: bytes) -> bytes:
        """A reply, or a message for one session, after all extensions have seen it. ``own`` are the extensions of ``session``."""
        message = ExtensionMessage(_object.decode(reply))
        if session is None or self._outgoing(own, session, message):
            self._outgoing(self._extensions, session, message)
        return message.encode() if message.changed else reply

    def _outgoing(self, extensions: Sequence[Any], session: S | None, message: ExtensionMessage) -> bool:
        for extension in reversed(extensions):
            try:
                if not extension.outgoing(session, message):
                    return False
            except Exception as error:
                self._failed(extension, error)
                return False
        return True

    def _failed(self, extension: object, error: Exception) -> None:
        self.faults += 1
        self._on_fault(extension, error)
