"""Raw Bayeux clients, with one interface for three transports. They send exactly what a test says, and interpret only which reply belongs
to which request.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.conformance.rules import EVERY
from tests.conformance.wire import PATIENCE_S, Endpoint

Message = dict[str, Any]

HELD_FOR_S = 0.05
"""How long a connect must stay unanswered to count as held, in seconds: a server that does not hold it answers at once."""


def is_reply(message: Message) -> bool:
    """Whether a message from the server answers a request: events and results of remote calls have ``data``
    (docs/protocol/bayeux.md#replies).
    """
    return "data" not in message


class Pending:
    """One request or frame that was sent, and the messages that have arrived for it so far."""

    def __init__(self, messages: Sequence[Message], answer: Awaitable[list[Message]]) -> None:
        self.messages = messages
        self._answer = asyncio.ensure_future(answer)

    @property
    def done(self) -> bool:
        """Whether the answer has arrived, or cannot arrive any more."""
        return self._answer.done()

    async def result(self, patience_s: float = PATIENCE_S) -> list[Message]:
        """All messages that came, in the order of the wire, up to the last reply: over HTTP those of the response, on a WebSocket those
        that came since the request was sent, without the replies to others.

        Raises:
            TimeoutError: it was not answered.
            AssertionError: it was answered by something else than messages, such as an HTTP error.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._answer), patience_s)
        except TimeoutError:
            raise TimeoutError(f"not answered within {patience_s:.0f} s: {self.messages}") from None

    async def reply(self, patience_s: float = PATIENCE_S) -> Message:
        """The reply to the last message of the request."""
        return [message for message in await self.result(patience_s) if is_reply(message)][-1]

    async def abandon(self) -> None:
        """Give up the request; over HTTP this ends the connection."""
        self._answer.cancel()
        await asyncio.wait([self._answer])
        if not self._answer.cancelled():
            self._answer.exception()  # retrieved, since nobody waits for it any more


class Client(ABC):
    """One client with one transport. Its session is that of the last successful handshake, or what a test writes to ``client_id``."""

    transport: str

    def __init__(self, endpoint: Endpoint, *, token: str | None = None, suffix: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        """``token`` goes with each handshake as ``ext.authentication``; ``suffix`` stands behind the endpoint's path; ``headers`` go with
        each request, or with the opening of the WebSocket.
        """
        self.endpoint = endpoint
        self.token = token
        self.suffix = suffix
        self.headers = list(headers)
        self.client_id: str | None = None
        self.advice: Message = {}
        """The advice of the handshake."""
        self.events: deque[Message] = deque()
        """Events that have arrived and that :meth:`receive` has not returned yet."""
        self.delivers_on_connect = False
        """Whether the server sends events with connect replies only, as it does with the ack extension."""
        self._ids = itertools.count(1)
        self._pending: list[Pending] = []

    # -- the wire ---------------------------------------------------------------------------------------------------

    @abstractmethod
    async def send(self, *messages: Message) -> Pending:
        """Send messages in one request or frame, unchanged. Returns when they are written."""

    @abstractmethod
    async def send_text(self, text: str) -> list[Message]:
        """Send a JSON text unchanged, in one request or frame. Returns the messages up to the last reply."""

    async def exchange(self, *messages: Message) -> list[Message]:
        """Send messages in one request or frame and wait for all replies. Returns all messages, in the order in which they arrived."""
        return await (await self.send(*messages)).result()

    async def ask(self, channel: str, **members: Any) -> Message:
        """Send one message, with an id and the clientId. Returns its reply."""
        return await (await self.send(self.message(channel, **members))).reply()

    async def close(self) -> None:
        """Give up pending requests, and end the connections. The session stays with the server."""
        for pending in self._pending:
            await pending.abandon()
        self._pending.clear()

    def _sent(self, messages: Sequence[Message], answer: Awaitable[list[Message]]) -> Pending:
        pending = Pending(messages, answer)
        self._pending = [one for one in self._pending if not one.done]
        self._pending.append(pending)
        return pending

    def _arrived(self, messages: Sequence[Message]) -> None:
        self.events.extend(message for message in messages if not is_reply(message))

    # -- messages ---------------------------------------------------------------------------------------------------

    def message(self, channel: str, **members: Any) -> Message:
        """Make a message with a new ``id`` and the ``clientId`` of the session. ``members`` are added; one that is None is removed."""
        built: Message = {"id": str(next(self._ids)), "channel": channel, "clientId": self.client_id, **members}
        return {name: value for name, value in built.items() if value is not None or name == "data"}

    def handshake_message(self, **members: Any) -> Message:
        """What CometD's JavaScript client sends (docs/protocol/bayeux.md#javascript-client)."""
        standard: Message = {"version": "1.0", "minimumVersion": "1.0", "supportedConnectionTypes": list(EVERY)}
        built = {**self.message("/meta/handshake", clientId=None), **standard, **members}
        if self.token is not None:
            ext = built.get("ext") or {}
            built["ext"] = {"authentication": {"token": self.token}, **ext}
        return {name: value for name, value in built.items() if value is not None}

    def connect_message(self, *, timeout: int | None = None, **members: Any) -> Message:
        """A connect; ``timeout`` in ms goes as ``advice.timeout``."""
        if timeout is not None:
            members = {"advice": {"timeout": timeout}, **members}
        return self.message("/meta/connect", connectionType=self.transport, **members)

    # -- conversation -----------------------------------------------------------------------------------------------

    async def handshake(self, **members: Any) -> Message:
        """Shake hands. Returns the reply, whether it succeeded or not."""
        reply = await (await self.send(self.handshake_message(**members))).reply()
        if reply.get("successful"):
            self.client_id = reply["clientId"]
            self.advice = reply.get("advice", {})
        return reply

    async def start(self, **members: Any) -> Message:
        """Shake hands and connect once; both must succeed. Returns the reply to the handshake."""
        reply = await self.handshake(**members)
        assert reply.get("successful") is True, f"handshake: {reply}"
        connected = await self.connect(timeout=0)
        assert connected.get("successful") is True, f"first connect: {connected}"
        return reply

    async def connect(self, *, timeout: int | None = None, **members: Any) -> Message:
        """Connect. Returns the reply when it has arrived."""
        return await (await self.send(self.connect_message(timeout=timeout, **members))).reply()

    async def hold(self, *, timeout: int | None = None, **members: Any) -> Pending:
        """Send a connect that the server must hold. Returns when the server has read it.

        Raises:
            AssertionError: it was answered at once.
        """
        held = await self.send(self.connect_message(timeout=timeout, **members))
        await self.settle()
        await asyncio.sleep(HELD_FOR_S)
        assert not held.done, f"expected a connect that is held, it was answered at once: {await held.result()}"
        return held

    @abstractmethod
    async def settle(self) -> None:
        """Return when the server has read everything that was sent."""

    async def subscribe(self, *channels: str, **members: Any) -> Message:
        """Subscribe to one channel or to an array of channels. Returns the reply."""
        return await self.ask("/meta/subscribe", subscription=channels[0] if len(channels) == 1 else list(channels), **members)

    async def unsubscribe(self, *channels: str, **members: Any) -> Message:
        """Unsubscribe from one channel or from an array of channels. Returns the reply."""
        return await self.ask("/meta/unsubscribe", subscription=channels[0] if len(channels) == 1 else list(channels), **members)

    async def publish(self, channel: str, data: Any, **members: Any) -> Message:
        """Publish a message. Returns the reply."""
        return await self.ask(channel, data=data, **members)

    async def disconnect(self, **members: Any) -> Message:
        """Disconnect. Returns the reply."""
        return await self.ask("/meta/disconnect", **members)

    async def receive(self, count: int = 1) -> list[Message]:
        """The next ``count`` events, in their order: those that have come already, then those that the transport brings, by connects where
        it needs them.

        Raises:
            TimeoutError: they did not come.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(self.events) < count:
                    await self._more_events()
        except TimeoutError:
            raise TimeoutError(f"expected {count} events within {PATIENCE_S:.0f} s, got {list(self.events)}") from None
        return [self.events.popleft() for _ in range(count)]

    async def receive_until(self, arrived: Callable[[Message], bool]) -> list[Message]:
        """Return every event up to the first one for which ``arrived`` is true, including that one."""
        events = await self.receive()
        while not arrived(events[-1]):
            events += await self.receive()
        return events

    async def _more_events(self) -> None:
        waiting = [one for one in self._pending if not one.done and any(m.get("channel") == "/meta/connect" for m in one.messages)]
        reply = await (waiting[-1].reply() if waiting else self.connect(timeout=1000))
        assert reply.get("successful") is True, f"a connect to fetch events: {reply}"


def decode(body: bytes | str) -> list[Message]:
    """An array of messages.

    Raises:
        AssertionError: it is something else; also when it has characters outside ASCII no decoder would stumble over.
    """
    messages = json.loads(body)
    assert isinstance(messages, list), f"expected an array of messages, got {body[:300]!r}"
    assert all(isinstance(message, dict) for message in messages), f"expected messages that are objects, got {body[:300]!r}"
    return messages
