"""Recording events: the one row that is written where something happens, in the transaction in which it happens."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import Final

from hub.core.ports import Clock
from hub.outbox.model import EVERY_ENDPOINT, OutboxEvent
from hub.storage.transactions import Transaction

LEASE_MS: Final = 30_000
"""How long a hub may take to dispatch an event before another one does."""

COLUMNS: Final = "id, tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin"
"""The columns of an :class:`hub.outbox.model.OutboxEvent`, in its order."""

_INSERT = (
    "INSERT INTO outbox_events (tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin, lease_owner,"
    " lease_until_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)


class EventRecorder:
    """Part of :class:`hub.outbox.model.Recorder`. ``hand_over`` gets each event when it is on disk, on the event loop, in the order of ids;
    ``has_room`` tells whether this process dispatches it from there: else it is left for whoever claims it.
    """

    __slots__ = ("_clock", "_hand_over", "_has_room", "owner")

    def __init__(self, owner: str, clock: Clock, *, hand_over: Callable[[OutboxEvent, bool], object], has_room: Callable[[], bool]) -> None:
        self.owner = owner
        self._clock = clock
        self._hand_over = hand_over
        self._has_room = has_room

    def add(
        self,
        transaction: Transaction,
        *,
        tenant: str,
        type: str,
        key: str,
        body: bytes,
        media: str = "",
        endpoint: str = EVERY_ENDPOINT,
        operation_id: str = "",
        trace_id: str = "",
        origin: str = "",
    ) -> OutboxEvent:
        """See :meth:`hub.outbox.model.Recorder.add`."""
        operation_id = operation_id or str(uuid.uuid4())
        trace_id = trace_id or secrets.token_hex(16)
        now = self._clock.wall_ms()
        leased = self._has_room()
        lease = (self.owner, now + LEASE_MS) if leased else ("", 0)
        row = transaction.row(_INSERT, (tenant, type, key, media, operation_id, trace_id, endpoint, body, now, origin, *lease))
        assert row is not None
        event = OutboxEvent(row[0], tenant, type, key, media, operation_id, trace_id, endpoint, body, now, origin)
        transaction.after_commit(lambda: self._hand_over(event, leased))
        return event
