"""Events and endpoints as the tests need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.core.time_slice import TimeSlice
from hub.outbox.models import Endpoint, OutboxEvent, Secret
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.recorder import EventRecorder
from hub.storage.transactions import Operation
from hub.transports.runtime import AsyncioLoop, SystemClock
from tests.world import ManualClock


def a_slice() -> TimeSlice:
    """Of the running loop."""
    return TimeSlice(SystemClock(), AsyncioLoop())


def endpoint(identifier: str = "ep_1", **changes: Any) -> Endpoint:
    """An endpoint of the tenant acme."""
    given = {"tenant": "acme", "url": "http://receiver.example/hook", "secrets": (Secret("s3cret"),), **changes}
    return Endpoint(identifier, **given)


def outcome(status: int = 200, failure: Failure = Failure.NONE, **changes: Any) -> Outcome:
    """One attempt."""
    made = Outcome(status, failure, "" if failure is Failure.NONE else failure.value, b"", None, 1_000_000, 5)
    return made._replace(**changes)


class Recording:
    """Records events without anybody who dispatches them."""

    def __init__(self, clock: ManualClock, *, leased: bool = False) -> None:
        self.handed: list[tuple[OutboxEvent, bool]] = []
        self._recorder = EventRecorder(
            "me", clock, hand_over=lambda event, lease: self.handed.append((event, lease)), has_room=lambda _tenant: leased
        )

    def add(self, key: str = "k1", type: str = "thing.started", tenant: str = "acme", **more: Any) -> Operation[OutboxEvent]:
        given = {"body": b'{"a":1}', **more}
        return lambda tx: self._recorder.add(tx, tenant=tenant, type=type, key=key, **given)

    def rewrite(self, event: OutboxEvent, change: Callable[[bytes], bytes | None]) -> Operation[int]:
        return lambda tx: self._recorder.rewrite(tx, event.tenant, event.type, event.key, change)
