"""Writes the row of an event, in the transaction of the change that causes the event."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import Final, Unpack

from hub.core.ports import Clock
from hub.outbox.models import EVERY_ENDPOINT, NewEvent, OutboxEvent
from hub.storage.transactions import Transaction

COLUMNS: Final = "id, tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin"
"""The columns of an :class:`hub.outbox.models.OutboxEvent`, in its order."""

_WAITS = "EXISTS (SELECT 1 FROM outbox_events p WHERE p.dispatched = 0 AND p.tenant = ? AND p.key = ? AND p.lease_owner <> ?)"
"""Whether an older event of the key is not dispatched yet, and this process has no lease of it."""

_INSERT = (
    "INSERT INTO outbox_events"  # noqa: S608
    " (tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin, lease_owner,"
    f" lease_until_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CASE WHEN {_WAITS} THEN '' ELSE ? END,"
    f" CASE WHEN {_WAITS} THEN 0 ELSE ? END) RETURNING id, lease_owner"
)


class EventRecorder:
    """Part of :class:`hub.outbox.models.Recorder`. ``hand_over`` is called with each event when it is on disk, on the event loop, in the
    order of ids. ``has_room`` says whether this process has a place in memory for another event of a tenant. If it has none, or an older
    event of the key waits in the database, the event waits there until a process claims it. A lease lasts ``lease_ms``.
    """

    __slots__ = ("_clock", "_hand_over", "_has_room", "_lease_ms", "owner")

    def __init__(
        self,
        owner: str,
        clock: Clock,
        *,
        hand_over: Callable[[OutboxEvent, bool], object],
        has_room: Callable[[str], bool],
        lease_ms: int = 30_000,
    ) -> None:
        self.owner = owner
        self._lease_ms = lease_ms
        self._clock = clock
        self._hand_over = hand_over
        self._has_room = has_room

    def rewrite(self, transaction: Transaction, tenant: str, event_type: str, key: str, change: Callable[[bytes], bytes | None]) -> int:
        """See :meth:`hub.outbox.models.Recorder.rewrite`."""
        rows = transaction.rows(
            "SELECT id, body FROM outbox_events WHERE dispatched = 0 AND tenant = ? AND key = ? AND type = ?", (tenant, key, event_type)
        )
        changed = [(new, identifier) for identifier, body in rows if (new := change(bytes(body))) is not None]
        for each in changed:
            transaction.run("UPDATE outbox_events SET body = ? WHERE id = ?", each)
        return len(changed)

    def add(self, transaction: Transaction, **event: Unpack[NewEvent]) -> OutboxEvent:
        """See :meth:`hub.outbox.models.Recorder.add`."""
        tenant, key = event["tenant"], event["key"]
        now = self._clock.wall_ms()
        content = (
            tenant,
            event["type"],
            key,
            event.get("media", ""),
            event.get("operation_id") or str(uuid.uuid4()),
            event.get("trace_id") or secrets.token_hex(16),
            event.get("endpoint", EVERY_ENDPOINT),
            event["body"],
            now,
            event.get("origin", ""),
        )
        owner, until_ms = (self.owner, now + self._lease_ms) if self._has_room(tenant) else ("", 0)
        waits = (tenant, key, self.owner)
        row = transaction.row(_INSERT, (*content, *waits, owner, *waits, until_ms))
        assert row is not None
        leased = bool(row[1])
        recorded = OutboxEvent(row[0], *content)
        transaction.after_commit(lambda: self._hand_over(recorded, leased))
        return recorded
