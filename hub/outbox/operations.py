"""Operational events for administrators on ``/hub/operations``, recorded in the outbox like any other event."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from hub.core.hub import Hub
from hub.outbox.delivery_store import Work
from hub.outbox.models import NO_ENDPOINT, Endpoint, OutboxEvent, Recorder, Settled
from hub.storage.transactions import Transaction

CHANNEL: Final = "/hub/operations"

ENDPOINT_DISABLED: Final = "hub.endpoint.disabled"
DELIVERY_DEAD: Final = "hub.delivery.dead"


class Operations:
    """Records operational events, and publishes them as their :class:`hub.outbox.models.Consumer`."""

    types: Collection[str] = (ENDPOINT_DISABLED, DELIVERY_DEAD)

    __slots__ = ("_hub", "_recorder")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._recorder: Recorder | None = None

    def bind(self, recorder: Recorder) -> None:
        """Set the recorder, which is made later since it needs this object."""
        self._recorder = recorder

    def endpoint_disabled(self, transaction: Transaction, endpoint: Endpoint, reason: str) -> None:
        """Record that an endpoint was disabled because it failed."""
        self._record(transaction, endpoint.tenant, ENDPOINT_DISABLED, endpoint.id, {"url": endpoint.url, "reason": reason})

    def delivery_dead(self, transaction: Transaction, work: Work, error: str, status: int) -> None:
        """Record that a delivery was given up."""
        data = {"delivery": work.delivery, "event": work.event.type, "attempts": work.number, "status": status, "error": error}
        self._record(transaction, work.event.tenant, DELIVERY_DEAD, work.endpoint, data)

    def _record(self, transaction: Transaction, tenant: str, kind: str, endpoint: str, data: dict[str, Any]) -> None:
        assert self._recorder is not None
        body = json.dumps({"type": kind, "endpoint": endpoint, **data}).encode()
        self._recorder.add(transaction, tenant=tenant, type=kind, key=f"operations/{endpoint}", body=body, endpoint=NO_ENDPOINT)

    async def consume(self, event: OutboxEvent) -> None:
        """Publish an operational event on ``/hub/operations``."""
        await self._hub.publisher.emit(event.tenant, CHANNEL, event.body, idempotency_key=f"outbox-{event.id}")

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Never called: operational events are delivered to no endpoint."""
        raise AssertionError(f"an operational event was delivered: {delivery.event.type}")
