"""A Bayeux client for asyncio, over WebSocket or long-polling. It reconnects and subscribes again by itself, and resumes log channels."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal

import msgspec
from yarl import URL

from hub.client.address import BAYEUX_PATH, checked_url, proxy_of
from hub.client.conversation import ALL, INVALID_REPLAY_ID, NEW, Conversation, Message, Outgoing, encode_data, is_unknown_session
from hub.client.credentials import Credential, Credentials
from hub.client.errors import (
    BayeuxError,
    ClosedError,
    ConnectionLostError,
    NotSentError,
    PublishError,
    RemoteCallError,
    ReplayError,
    RequestTooLargeError,
    SubscribeError,
)
from hub.client.routes import Routes
from hub.client.session_manager import Ask, SessionManager, State, Timeouts
from hub.client.subscription import Gap, Overflow, Subscribing, Subscription
from hub.client.transports import LONG_POLLING, WEBSOCKET

SERVICE: Final = "/service/"
MAX_MESSAGES: Final = 50
"""Messages in one request: hubs take 100."""
PART_BYTES: Final = 256 * 1024
"""Data in one request of several messages: hubs take 1 MiB, other servers may be stricter."""


class BayeuxClient:
    """A client of a Bayeux server, CX Event Hub's or another. Use it in ``async with``.

    Args:
        url: The server, such as ``http://localhost:8080``; ``/cometd`` is added where there is no path. It is reached through the HTTP
            proxy of the variables ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, if there is one.
        token: A bearer token, or a function (asynchronous or not) that gives the present one.
        api_key: An API key, or such a function.
        credentials_in: ``headers`` sends them with each request; ``ext`` sends them only in the handshake's ``ext.authentication``.
        headers: More headers for each request.
        transports: Those that may be used, the preferred one first: of ``websocket`` and ``long-polling``.
        ack: Ask for the ack extension: a lost connection loses no message. Over WebSocket each batch then takes a round trip.
        resume: Ask for positions on log channels, and resume from them in a new session: the loss of a session loses no message of a log
            channel. The server puts the position into the data, as ``event.replayId``.
        open_within_s: Seconds after which :meth:`open` gives up.
        request_timeout_s: Seconds that a publish, a subscribe or a call may take, including a reconnect.
        max_network_delay_s: Seconds after which a connect counts as lost, counted from when the server should have answered it.
        backoff_s: After a failure the client waits 0, 1, 2, ... times this, up to ``max_backoff_s``, and less at random.
        max_backoff_s: The longest such pause.
        max_message_bytes: The largest frame or response that the client accepts.
        max_request_bytes: The largest request that the client sends. Hubs accept 1 MiB, and close a WebSocket over which more comes.
        on_state: Called with the state and its reason when either changes. It must not raise.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Credential = "",
        api_key: Credential = "",
        credentials_in: Literal["headers", "ext"] = "headers",
        headers: Mapping[str, str] | None = None,
        transports: Sequence[str] = (WEBSOCKET, LONG_POLLING),
        ack: bool = True,
        resume: bool = True,
        open_within_s: float = 30.0,
        request_timeout_s: float = 30.0,
        max_network_delay_s: float = 10.0,
        backoff_s: float = 1.0,
        max_backoff_s: float = 60.0,
        max_message_bytes: int = 64 * 1024 * 1024,
        max_request_bytes: int = 1024 * 1024,
        on_state: Callable[[State, str], object] | None = None,
    ) -> None:
        if not transports or not set(transports) <= {WEBSOCKET, LONG_POLLING}:
            raise ValueError(f"transports: expected some of {WEBSOCKET} and {LONG_POLLING}, got {list(transports)}")
        if credentials_in not in {"headers", "ext"}:
            raise ValueError(f"credentials_in: expected headers or ext, got {credentials_in!r}")
        self._request_timeout_s = request_timeout_s
        self._on_state = on_state
        self._conversation = Conversation(ack=ack, positions=resume)
        self._routes = Routes()
        self._calls: dict[str, asyncio.Future[Message]] = {}
        self._leaving: dict[str, asyncio.Task[BayeuxError | None]] = {}
        """The tasks that unsubscribe from a pattern."""
        address = _checked(url)
        self._session_manager = SessionManager(
            address,
            proxy_of(address),
            self._conversation,
            Credentials(token, api_key, in_ext=credentials_in == "ext", headers=headers or {}),
            transports,
            Timeouts(
                open_within_s=open_within_s,
                request_timeout_s=request_timeout_s,
                max_network_delay_s=max_network_delay_s,
                backoff_s=backoff_s,
                max_backoff_s=max_backoff_s,
            ),
            max_message_bytes,
            max_request_bytes,
            self,
        )

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._session_manager.state

    @property
    def reason(self) -> str:
        """The reason of the present state."""
        return self._session_manager.reason

    @property
    def reconnects(self) -> int:
        """How often a connection was lost and the same session continued over a new one."""
        return self._session_manager.reconnects

    @property
    def rehandshakes(self) -> int:
        """How often the client made a new session after the first one."""
        return self._session_manager.rehandshakes

    @property
    def client_id(self) -> str | None:
        """The id of the present session. Keep it secret: some servers let whoever has it act for this client."""
        return self._conversation.client_id

    @property
    def transport(self) -> str | None:
        """The transport in use, ``websocket`` or ``long-polling``."""
        return None if self._session_manager.transport is None else self._session_manager.transport.name

    # opening and closing

    async def __aenter__(self) -> BayeuxClient:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def open(self) -> None:
        """Make a session.

        Raises:
            HandshakeDeniedError: the server does not let the client in.
            ConnectionLostError: no server answered within ``open_within_s``.
            ProtocolError: the server at this address does not speak Bayeux.
        """
        await self._session_manager.open()

    async def close(self) -> None:
        """Disconnect, if there is a connection, and end within about 2 seconds. Messages in subscriptions can still be read."""
        for task in self._leaving.values():
            task.cancel()
        await self._session_manager.close()

    # methods for users of the client

    def subscribe(
        self,
        *patterns: str,
        replay: int | None = None,
        max_queue: int = 10_000,
        on_overflow: Overflow = "raise",
        on_gap: Gap = "raise",
    ) -> Subscribing:
        """Subscribe to channels, and to patterns such as ``/a/*`` and ``/a/**``: ``await`` it, or use it in ``async with``.

        Args:
            patterns: At least one channel or pattern.
            replay: On log channels, where to begin: the position of the last message that you have, ALL or NEW.
            max_queue: See :class:`~hub.client.subscription.Subscription`, also for the next two.
            on_overflow: See there.
            on_gap: See there.

        Raises:
            ReplayError: the server cannot replay from there.
            SubscribeError: the server refuses.
            ConnectionLostError: there was no answer in time.
        """
        if not patterns:
            raise ValueError("expected at least one channel or pattern, got none")
        if replay is not None and (taken := [pattern for pattern in patterns if self._routes.has(pattern)]):
            raise ValueError(f"{taken[0]} is subscribed to already: a replay would repeat there what has come; unsubscribe first")

        def made() -> Subscription:
            return Subscription(patterns, replay=replay, max_queue=max_queue, on_overflow=on_overflow, on_gap=on_gap, give_up=self._give_up)

        made()  # wrong options raise here, not when the result is awaited

        async def subscribe() -> Subscription:
            subscription = made()
            self._routes.add(subscription)  # before the request: snapshots come before the reply
            try:
                await self._subscribe(subscription)
            except BaseException as error:
                free = self._routes.remove(subscription)
                subscription.end()
                # the server may have subscribed nevertheless, or have accepted the patterns before the one that it refused
                if not isinstance(error, NotSentError | ClosedError) and not (isinstance(error, SubscribeError) and len(patterns) == 1):
                    self._leave(free)
                raise
            return subscription

        return Subscribing(subscribe)

    async def publish(self, channel: str, data: Any) -> None:
        """Publish. Returns when the server has confirmed it.

        Args:
            channel: A channel, not a pattern.
            data: Any value that ``msgspec`` can write as JSON; a :class:`msgspec.Raw` is sent unchanged.

        Raises:
            PublishError: the server refused the message, or it is too large.
            NotSentError: there was no connection in time: the message has not arrived.
            ConnectionLostError: no answer came: the message may have arrived, or not.
        """
        try:
            (reply,) = await self._session_manager.request(lambda: [self._conversation.publish(channel, data)], repeatable=False)
        except RequestTooLargeError as error:
            raise _too_large(channel, error) from None
        if not reply.successful:
            raise PublishError(channel, reply.error)

    async def publish_many(self, messages: Iterable[tuple[str, Any]]) -> list[PublishError | None]:
        """Publish (channel, data) pairs, at most 50 in one request. They arrive in their order.

        Returns:
            For each message, None, or the error with which the server refused it.

        Raises:
            TypeError: some data cannot be written as JSON; nothing was sent.
            NotSentError: there was no connection in time. The error's ``answers`` are those to the first messages; the others were not
                sent.
            ConnectionLostError: no answer came. The error's ``answers`` are those to the first messages. The next messages, at most 50,
                may have arrived or not; the others were not sent.
        """
        pairs = [(channel, encode_data(data)) for channel, data in messages]
        answers: list[PublishError | None] = []
        for part in _parts(pairs):
            try:
                replies = await self._session_manager.request(partial(self._publishes, part), repeatable=False)
            except RequestTooLargeError as error:
                answers += [_too_large(channel, error) for channel, _ in part]
                continue
            except BayeuxError as error:
                failed = type(error)(str(error))  # a new error: other callers may have got the same one
                failed.answers = answers
                raise failed from error
            answers += [None if r.successful else PublishError(channel, r.error) for r, (channel, _) in zip(replies, part, strict=True)]
        return answers

    async def call(self, target: str, data: Any = None, *, timeout_s: float | None = None) -> Any:
        """Make a remote call as CometD defines it: publish on ``/service/TARGET``, and return the data of the answer.

        Raises:
            RemoteCallError: the call failed on the server.
            PublishError: the server refused the call, or it is too large.
            ConnectionLostError: no result came within ``timeout_s``, or the session ended; the server may have served the call.
        """
        channel = SERVICE + target.lstrip("/")
        within_s = self._request_timeout_s if timeout_s is None else timeout_s
        identifier = ""
        result: asyncio.Future[Message]

        def build() -> list[Outgoing]:
            nonlocal identifier, result
            self._forget_call(identifier)
            message = self._conversation.publish(channel, data)
            identifier = message["id"]
            self._calls[identifier] = result = asyncio.get_running_loop().create_future()
            return [message]

        try:
            async with asyncio.timeout(within_s):
                (reply,) = await self._session_manager.request(build, repeatable=False, within_s=within_s)
                if not reply.successful:
                    raise PublishError(channel, reply.error)
                message = await result
        except RequestTooLargeError as error:
            raise _too_large(channel, error) from None
        except TimeoutError:
            raise ConnectionLostError(f"{target}: no result came within {within_s:g} s") from None
        finally:
            self._forget_call(identifier)
        if message.successful is False:
            raise RemoteCallError(target, message.data)
        return message.data

    def _forget_call(self, identifier: str) -> None:
        result = self._calls.pop(identifier, None)
        if result is not None and result.done() and not result.cancelled():
            result.exception()  # mark the exception as seen: the caller got another one

    def _publishes(self, pairs: Iterable[tuple[str, Any]]) -> list[Outgoing]:
        return [self._conversation.publish(channel, data) for channel, data in pairs]

    # methods that the session manager calls

    def on_message(self, message: Message) -> None:
        """See :class:`hub.client.session_manager.User`."""
        call = self._calls.get(message.id) if message.id is not None and message.channel.startswith(SERVICE) else None
        if call is None:
            self._abandon(self._routes.deliver(message))
        elif not call.done():
            call.set_result(message)

    def on_position(self, position: int, asked: int) -> None:
        """See :class:`hub.client.session_manager.User`."""
        self._routes.reached(position, asked)

    async def on_session(self, ask: Ask) -> None:
        """See :class:`hub.client.session_manager.User`: subscribe to everything again and resume log channels. A refused subscription
        ends.
        """
        self._fail_calls(ConnectionLostError("the session of the call has ended"))
        self._routes.restart()
        all_of_them = self._routes.patterns()
        # many patterns in one request, so that they begin together; a server refuses such a request as a whole, so its patterns are then
        # tried one by one
        wanted = deque(all_of_them[start : start + MAX_MESSAGES] for start in range(0, len(all_of_them), MAX_MESSAGES))
        while wanted:
            part = {pattern: position for pattern, position in wanted.popleft() if self._routes.has(pattern)}
            if not part:
                continue
            (reply,) = await ask([self._conversation.subscribe(part)])
            if is_unknown_session(reply.error):
                raise ConnectionLostError("the new session is unknown already")
            if reply.successful:
                subscriptions = dict.fromkeys(subscription for pattern in part for subscription in self._routes.of(pattern))
                self._abandon(self._routes.begin(reply, part, subscriptions, self._conversation.sent))
            elif len(part) > 1:
                wanted += [[each] for each in part.items()]
            else:
                for pattern in part:
                    wanted.append(self._refused(pattern, reply.error))

    def on_end(self, failure: BayeuxError) -> None:
        """See :class:`hub.client.session_manager.User`."""
        self._fail_calls(failure)
        for subscription in self._routes.all():
            subscription.end(None if isinstance(failure, ClosedError) else failure)

    def on_state(self, state: State, reason: str) -> None:
        """See :class:`hub.client.session_manager.User`."""
        if self._on_state is not None:
            self._on_state(state, reason)

    def _fail_calls(self, failure: BayeuxError) -> None:
        for call in self._calls.values():
            if not call.done():
                call.set_exception(failure)

    # subscriptions

    async def _subscribe(self, subscription: Subscription) -> None:
        """Subscribe. The request is repeated after a reconnect, which is no error."""

        def build() -> list[Outgoing]:
            wanted = subscription.positions
            join = self._routes.join(subscription, self._conversation.sent + 1)
            return [self._conversation.subscribe(wanted if join is None else {**wanted, join.beside: None})]

        while leaving := {task for pattern in subscription.patterns if (task := self._leaving.get(pattern)) is not None}:
            await asyncio.wait(leaving)  # over long-polling the subscribe might overtake the unsubscribe
        try:
            (reply,) = await self._session_manager.request(build, repeatable=True)
        except RequestTooLargeError as error:
            raise SubscribeError(", ".join(subscription.patterns), f"413::{error}") from None
        if not reply.successful:
            raise _refusal(subscription.patterns, reply.error)
        self._abandon(self._routes.begin(reply, subscription.patterns, [subscription], self._conversation.sent))

    def _refused(self, pattern: str, error: str) -> list[tuple[str, int | None]]:
        """The new session refused a pattern of the last one. Returns the pattern with another position to try, or an empty list."""
        refusal = _refusal([pattern], error)
        again: dict[str, int | None] = {}
        for subscription in self._routes.of(pattern):
            if isinstance(refusal, ReplayError) and subscription.on_gap != "raise":
                position = ALL if subscription.on_gap == "all" else NEW
                subscription.cursors[pattern].since = position
                again[pattern] = min(position, again.get(pattern) or NEW)
            else:
                free = self._routes.remove(subscription)
                subscription.end(refusal)
                self._leave([other for other in free if other != pattern])
        return list(again.items())

    async def _give_up(self, subscription: Subscription, within_s: float | None) -> None:
        """Unsubscribe from the patterns that no other subscription has. Without a connection, the request is sent when there is one."""
        task = self._leave(self._routes.remove(subscription))
        if task is None or not self._session_manager.is_ready:
            return
        await asyncio.wait([task], timeout=within_s)
        if within_s is None and not task.cancelled() and (error := task.result()) is not None:
            raise error

    def _abandon(self, subscriptions: Iterable[Subscription]) -> None:
        """Remove subscriptions that ended because their queue overflowed, and unsubscribe from their patterns."""
        for subscription in subscriptions:
            self._leave(self._routes.remove(subscription))

    def _leave(self, patterns: Sequence[str]) -> asyncio.Task[BayeuxError | None] | None:
        """Begin to unsubscribe from patterns. Returns the task; None if there are no patterns or the client has ended."""
        if not patterns or self._session_manager.failure is not None:
            return None
        task = asyncio.create_task(self._unsubscribe(patterns))
        self._leaving |= dict.fromkeys(patterns, task)
        task.add_done_callback(lambda _: self._left(patterns, task))
        return task

    def _left(self, patterns: Sequence[str], task: asyncio.Task[BayeuxError | None]) -> None:
        for pattern in patterns:
            if self._leaving.get(pattern) is task:
                del self._leaving[pattern]

    async def _unsubscribe(self, patterns: Sequence[str]) -> BayeuxError | None:
        """Unsubscribe from those patterns that no subscription has again meanwhile. Returns the error, or None."""

        def build() -> list[Outgoing]:
            free = [pattern for pattern in patterns if not self._routes.has(pattern)]
            return [self._conversation.unsubscribe(free)] if free else []

        try:
            await self._session_manager.request(build, repeatable=True)
        except BayeuxError as error:
            return error  # the next session does not subscribe to them
        return None


def _checked(url: str) -> URL:
    found = checked_url(url)
    return found.with_path(BAYEUX_PATH) if found.path in {"", "/"} else found


def _refusal(patterns: Sequence[str], error: str) -> SubscribeError:
    kind = ReplayError if error.startswith(INVALID_REPLAY_ID) else SubscribeError
    return kind(", ".join(patterns), error)


def _too_large(channel: str, error: RequestTooLargeError) -> PublishError:
    return PublishError(channel, f"413::{error}")


def _parts(pairs: Sequence[tuple[str, msgspec.Raw]]) -> Iterator[list[tuple[str, msgspec.Raw]]]:
    """Split messages into requests of at most MAX_MESSAGES messages and PART_BYTES bytes of data; a larger message is a request alone."""
    part: list[tuple[str, msgspec.Raw]] = []
    size = 0
    for channel, data in pairs:
        if part and (len(part) == MAX_MESSAGES or size + len(data) > PART_BYTES):
            yield part
            part, size = [], 0
        part.append((channel, data))
        size += len(data)
    if part:
        yield part
