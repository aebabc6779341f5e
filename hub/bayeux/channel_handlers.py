"""The handlers of what clients do with channels: subscribe, unsubscribe, publish (Bayeux 1.0 sections 4.4, 4.5 and 5.1)."""

from __future__ import annotations

import json

from hub.bayeux.counters import BayeuxCounters
from hub.bayeux.exchange import Exchange
from hub.bayeux.messages import SUBSCRIBE, UNSUBSCRIBE, FieldError, Incoming, checked_numbers
from hub.bayeux.replay import invalid_position, positions
from hub.bayeux.replies import echo, ext, failure, head, success
from hub.bayeux.services import Services
from hub.bayeux.session import ServerSession
from hub.core.channels import META, SERVICE, InvalidChannelError, check_pattern
from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub


class ChannelHandlers:
    """One handler for each kind of request; what is refused, they raise, and the server answers."""

    __slots__ = ("_counters", "_hub", "_services")

    def __init__(self, hub: Hub, services: Services, counters: BayeuxCounters) -> None:
        self._hub = hub
        self._services = services
        self._counters = counters

    # -- /meta/subscribe, /meta/unsubscribe -------------------------------------------------------------------------

    async def subscribe(self, message: Incoming, session: ServerSession, exchange: Exchange) -> bytes:
        """MUST contain channel, clientId, subscription, a text or an array; MAY contain ext, id (Bayeux 1.0 section 4.4). An array is
        checked whole, then applied whole (docs/protocol/bayeux.md#subscribe). Subscribing to a ``/service/`` channel succeeds and does
        nothing.
        """
        try:
            patterns = self._patterns(message)
            if len(patterns) > self._hub.limits.max_subscriptions:  # before each of them is looked at
                raise RefusedError(WireError.RATE_LIMITED)
            broadcast = [pattern for pattern in patterns if not pattern.startswith(SERVICE)]
            since = positions(message, broadcast)
            new = [pattern for pattern in broadcast if pattern not in session.subscriptions]
            outcomes = await self._hub.subscribe(session, broadcast, since=since, strict=True)
        except RefusedError as refused:
            self._counters.subscribes_refused += 1
            if refused.error is WireError.REPLAY_INVALID and since is not None:
                return failure(head(message), invalid_position(since[refused.channel]), subscription_member(message))
            raise
        if since is not None:
            session.tell_positions()
        try:
            await self._hub.send_snapshots(session, broadcast)
        except Exception:
            self._hub.unsubscribe(session, new)  # who is told that it failed must not be subscribed all the same
            raise
        self._hub.replay(session)
        members: dict[str, bytes] = {}
        begin = {o.pattern: o.position for o in outcomes if o.position is not None}
        if session.replay and (begin or since is not None):  # who asked from where is told of channels that keep no log by their absence
            members["replay"] = json.dumps(begin, separators=(",", ":")).encode("ascii")
        return success(head(message), subscription_member(message) + ext(members))

    async def unsubscribe(self, message: Incoming, session: ServerSession, exchange: Exchange) -> bytes:
        """MUST contain channel, clientId, subscription; MAY contain ext, id (Bayeux 1.0 section 4.5). What is not there is no error."""
        self._hub.unsubscribe(session, self._patterns(message))
        return success(head(message), subscription_member(message))

    def _patterns(self, message: Incoming) -> list[str]:
        """The checked patterns of ``subscription``.

        Raises:
            RefusedError: SUBSCRIPTION_MISSING or SUBSCRIPTION_INVALID.
            FieldError: neither a text nor an array of texts.
        """
        patterns = message.subscriptions()
        if patterns is None:
            raise RefusedError(WireError.SUBSCRIPTION_MISSING)
        if not patterns:
            raise RefusedError(WireError.SUBSCRIPTION_INVALID, "expected at least one channel, got an empty array")
        for pattern in patterns:
            try:
                check_pattern(pattern)
            except InvalidChannelError as fault:
                raise RefusedError(WireError.SUBSCRIPTION_INVALID, str(fault), channel=pattern) from None
        return list(dict.fromkeys(patterns))

    # -- publish ----------------------------------------------------------------------------------------------------

    async def publish(self, message: Incoming, session: ServerSession, exchange: Exchange) -> bytes:
        """MUST contain channel, clientId, data; MAY contain ext, id (Bayeux 1.0 section 5.1). The reply never has ``data``: clients tell
        replies from events by that (docs/protocol/bayeux.md#publish).
        """
        channel = message.channel
        try:
            if channel.startswith(META):
                raise RefusedError(WireError.PUBLISH_DENIED, channel=channel)
            data = message.fields.get("data")  # null is data like any other
            if data is None:
                raise RefusedError(WireError.DATA_MISSING, channel=channel)
            text, extra = bytes(data), message.extra()
            checked_numbers(text, extra)
            await session.turns.take(self._hub.publish(session.principal, channel, text, extra=extra))
            if channel.startswith(SERVICE):
                await self._services.handle(session, channel, bytes(data), message.identifier)
        except (FieldError, RefusedError):
            self._counters.publishes_refused += 1
            raise
        return success(head(message))


def subscription_member(message: Incoming) -> bytes:
    """``subscription`` as it came, on replies to subscribe and unsubscribe (docs/protocol/bayeux.md#replies)."""
    return echo(message, "subscription") if message.channel in {SUBSCRIBE, UNSUBSCRIBE} else b""
