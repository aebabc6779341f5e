"""``/meta/subscribe`` (Bayeux 1.0 section 4.4)."""

from __future__ import annotations

import json

from hub.bayeux.counters import BayeuxCounters
from hub.bayeux.handlers.patterns import read_patterns
from hub.bayeux.messages import Incoming
from hub.bayeux.refusals import subscription_member
from hub.bayeux.replay import invalid_position, positions
from hub.bayeux.replies import ext, failure, head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.session import ServerSession
from hub.core.channels import SERVICE
from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub


class SubscribeHandler:
    """Begins subscriptions."""

    __slots__ = ("_counters", "_hub")

    def __init__(self, hub: Hub, counters: BayeuxCounters) -> None:
        self._hub = hub
        self._counters = counters

    async def handle(self, message: Incoming, session: ServerSession, batch: ResponseBatch) -> bytes:
        """MUST contain channel, clientId, subscription, a text or an array; MAY contain ext, id. An array is checked whole, then applied
        whole (docs/protocol/bayeux.md#subscribe). Subscribing to a ``/service/`` channel succeeds and does nothing.

        Raises:
            RefusedError: RATE_LIMITED; what :func:`read_patterns` and
                :meth:`hub.core.subscriptions.Subscriptions.subscribe` raise.
            FieldError: ``subscription`` or ``ext.replay`` has the wrong type.
        """
        try:
            patterns = read_patterns(message)
            if len(patterns) > self._hub.limits.max_subscriptions:  # before each of them is looked at
                raise RefusedError(WireError.RATE_LIMITED)
            broadcast = [pattern for pattern in patterns if not pattern.startswith(SERVICE)]
            since = positions(message, broadcast)
            result = await self._hub.subscriptions.subscribe(session, broadcast, since=since, strict=True)
        except RefusedError as refused:
            self._counters.subscribes_refused += 1
            if refused.error is WireError.REPLAY_INVALID and since is not None:
                return failure(head(message), invalid_position(since[refused.channel]), subscription_member(message))
            raise
        if since is not None:
            session.enable_replay()
        await result.start()
        members: dict[str, bytes] = {}
        begin = {o.pattern: o.position for o in result.outcomes if o.position is not None}
        if session.replay and (begin or since is not None):  # who asked from where is told of channels that keep no log by their absence
            members["replay"] = json.dumps(begin, separators=(",", ":")).encode("ascii")
        return success(head(message), subscription_member(message) + ext(members))
