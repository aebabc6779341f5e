"""Remembers tokens that clients have asked about (RFC 7662 section 4): a server may ask about every request of its own."""

from __future__ import annotations

from collections import OrderedDict

from channels.auth.counters import AuthCounters
from hub.core.ports import Clock
from hub.security.gate import Gate
from hub.security.grants_store import GrantsStore
from hub.security.oauth.models import Client
from hub.security.oauth.ports import Shown


class IntrospectedTokens:
    """Clients with tokens of theirs, as the database had them when it last told of a change.

    Whatever ends a token, changes a client or disables a user is such a change. A node forgets everything at once when it has made one, and
    when it hears of one: as late as a session of the token ends (:mod:`hub.security.following`). Nothing is remembered of unknown tokens,
    of wrong secrets, or of refresh tokens, whose use is no such change.
    """

    __slots__ = ("_clock", "_counters", "_found", "_gate", "_max", "_state", "_store")

    def __init__(self, store: GrantsStore, gate: Gate, clock: Clock, counters: AuthCounters, maximum: int) -> None:
        """``maximum`` is the setting ``auth.max_introspected``."""
        self._clock = clock
        self._counters = counters
        self._found: OrderedDict[tuple[str, str], tuple[Client, Shown]] = OrderedDict()
        self._gate = gate
        self._max = maximum
        self._store = store
        self._state = self._now()

    def __len__(self) -> int:
        return len(self._found)

    async def client(self, client_id: str) -> Client | None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.client`."""
        return await self._store.client(client_id)

    async def client_and_token(self, client_id: str, digest: str) -> tuple[Client | None, Shown | None]:
        """See :meth:`hub.security.oauth.ports.OAuthStore.client_and_token`."""
        state = self._now()
        if state != self._state:
            self._found.clear()
            self._state = state
        place = (client_id, digest)
        known = self._found.get(place)
        if known is not None and not self._gate.directory.stale:
            if known[1].expires_ms is None or self._clock.wall_ms() < known[1].expires_ms:
                self._found.move_to_end(place)
                self._counters.introspections_remembered += 1
                return known
            del self._found[place]
        client, shown = await self._store.client_and_token(client_id, digest)
        if client is not None and shown is not None and not shown.refresh and state == self._now() == self._state:
            self._found[place] = (client, shown)
            if len(self._found) > self._max:
                self._found.popitem(last=False)
        return client, shown

    def _now(self) -> tuple[int, int, int]:
        """What differs after each change that this node has made or heard of."""
        return self._gate.directory.generation, self._gate.following.made, self._store.ended
