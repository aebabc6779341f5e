"""Services: listeners on ``/service/`` channels, whose messages go to the server alone (Bayeux 1.0 section 2.4,
docs/protocol/bayeux.md#services).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from hub.bayeux.session import ServerSession
from hub.core.channels import SERVICE, candidates, check_channel, check_pattern
from hub.core.errors import RefusedError, WireError
from hub.core.field_error import FieldError
from hub.core.message import Message


@dataclass(frozen=True, slots=True)
class ServiceMessage:
    """What a client sent to a service channel."""

    channel: str
    data: Any
    id: str | None
    """The message's id, for services that answer with the same one."""


Listener = Callable[[ServerSession, ServiceMessage], Awaitable[None]]
"""Handles a message of a session; it may answer by ``session.deliver(channel, data)``."""

RemoteCall = Callable[[ServerSession, Any], Awaitable[Any]]
"""Handles the data of a remote call and returns the result's."""


class RemoteCallError(Exception):
    """Raised by the handler of a remote call: the client's call fails with ``data``."""

    def __init__(self, data: Any) -> None:
        super().__init__(str(data))
        self.data = data


class Services:
    """The listeners of service channels. A client's role decides whether it may publish there, as on any channel."""

    __slots__ = ("_calls", "_listeners", "_on_fault", "calls_failed")

    def __init__(self, on_fault: Callable[[object, Exception], object]) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._calls: dict[str, RemoteCall] = {}
        self._on_fault = on_fault
        self.calls_failed = 0
        """Remote calls whose handler raised another exception than :class:`RemoteCallError`."""

    def listen(self, pattern: str, listener: Listener) -> None:
        """Have ``listener`` handle what clients publish on a service channel, or on all channels that ``pattern`` matches.

        Raises:
            ValueError: it is no pattern below ``/service/``.
        """
        self._check(check_pattern(pattern))
        self._listeners.setdefault(pattern, []).append(listener)

    def remote(self, target: str, call: RemoteCall) -> None:
        """Serve CometD's remote calls to ``target``, which are published on ``/service/<target>``.

        Raises:
            ValueError: the target makes no channel, or has a handler already.
        """
        channel = check_channel(SERVICE + target.lstrip("/"))
        if channel in self._calls:
            raise ValueError(f"{channel} serves remote calls already")
        self._calls[channel] = call

    def _check(self, pattern: str) -> None:
        if not pattern.startswith(SERVICE):
            raise ValueError(f"expected a channel below {SERVICE}, got {pattern}")

    async def handle(self, session: ServerSession, channel: str, data: bytes, identifier: bytes | None) -> None:
        """Hand a message to all listeners. A remote call runs in the background, and its result is delivered when it ends.

        Raises:
            RefusedError: RATE_LIMITED when ``limits.max_calls`` calls of the session are under way; INTERNAL when a listener raised.
            FieldError: a number in ``data`` or ``id`` is beyond what a double holds.
        """
        call = self._calls.get(channel)
        listeners = [listener for candidate in candidates(channel) for listener in self._listeners.get(candidate, ())]
        if call is None and not listeners:
            return
        value = _decoded("data", data)
        if call is not None:
            most = session.hub.limits.max_calls
            if session.calls >= most:
                raise RefusedError(WireError.RATE_LIMITED, f"expected at most {most} calls at a time", channel=channel)
            session.calls += 1
            session.hub.loop.spawn(self._call(call, session, channel, value, identifier))
        text = _decoded("id", identifier) if identifier is not None else None
        message = ServiceMessage(channel, value, None if text is None else str(text))
        for listener in listeners:
            try:
                await listener(session, message)
            except RefusedError:
                raise
            except Exception as error:
                self._on_fault(listener, error)
                raise RefusedError(WireError.INTERNAL, channel=channel) from error

    async def _call(self, call: RemoteCall, session: ServerSession, channel: str, data: Any, identifier: bytes | None) -> None:
        successful = True
        try:
            try:
                answer = await call(session, data)
            except RemoteCallError as failure:
                successful = False
                answer = failure.data
            result = json.dumps(answer, separators=(",", ":"), allow_nan=False)
        except Exception as error:  # of the handler's, or a result that is no JSON: the client must not wait for ever
            self.calls_failed += 1
            self._on_fault(call, error)
            successful = False
            result = '"the server failed"'
        finally:
            session.calls -= 1
        echoed = b"" if identifier is None else b',"id":%b' % identifier
        extra = b'%b,"successful":%b' % (echoed, b"true" if successful else b"false")
        session.deliver_message(Message(channel, result.encode("ascii"), extra=extra))


def _decoded(field: str, text: bytes) -> Any:
    """A member as a Python value. That it is JSON has been checked; that Python can hold its numbers has not."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise FieldError.of_json(field, "numbers that a double holds", text) from None
