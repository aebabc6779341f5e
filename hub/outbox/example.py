"""Sends examples: one POST to an endpoint, at once and without retries, so that its owner sees whether the endpoint works."""

from __future__ import annotations

import json
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from hub.core.field_error import FieldError
from hub.core.ports import Clock
from hub.outbox.archive_store import Attempt
from hub.outbox.delivery_worker import Sends
from hub.outbox.models import Endpoint, OutboxEvent


class Example(Protocol):
    """A family's examples of its events, by event type."""

    def example(self, event_type: str) -> bytes:
        """The body of an example of this event type, with ids that do not exist."""
        ...

    @property
    def example_types(self) -> tuple[str, ...]:
        """The event types of which there are examples."""
        ...


class TooManyExamplesError(Exception):
    """The tenant has the maximum number of examples under way; the text says how many."""


class Examples:
    """Sends examples to endpoints."""

    __slots__ = ("_clock", "_find", "_most", "_sender", "_timeout_s", "_under_way")

    def __init__(self, sender: Sends, clock: Clock, timeout_s: float, find: Callable[[], Mapping[str, Example]], most: int = 4) -> None:
        """``find`` returns the examples by event type. A tenant may have at most ``most`` examples under way at once: they wait for their
        receivers, and the limits of deliveries do not apply to them.
        """
        self._most = most
        self._under_way: Counter[str] = Counter()
        self._sender = sender
        self._clock = clock
        self._timeout_s = timeout_s
        self._find = find

    async def send(self, endpoint: Endpoint, event_type: str) -> Attempt:
        """POST an example of a type, or of the first type that the endpoint wants.

        Raises:
            FieldError: there is no example of this type.
            TooManyExamplesError: the tenant has too many examples under way.
        """
        known = self._find()
        event_type = event_type or self._first(endpoint, known)
        if event_type not in known:
            raise FieldError.of_value("type", f"one of {', '.join(sorted(known)) or 'no types'}", event_type)
        operation_id = str(uuid.uuid4())
        event = OutboxEvent(
            0,
            endpoint.tenant,
            event_type,
            "example",
            "",
            operation_id,
            secrets.token_hex(16),
            endpoint.id,
            known[event_type].example(event_type),
            self._clock.wall_ms(),
        )
        if self._under_way[endpoint.tenant] >= self._most:
            raise TooManyExamplesError(f"at most {self._most} examples of a tenant are under way at once (outbox.examples)")
        self._under_way[endpoint.tenant] += 1
        try:
            outcome = await self._sender.send(endpoint, event, 1, endpoint.policy.timeout_ms / 1000 or self._timeout_s)
        finally:
            self._under_way[endpoint.tenant] -= 1
            if not self._under_way[endpoint.tenant]:
                del self._under_way[endpoint.tenant]
        return Attempt(1, outcome.at_ms, outcome.duration_ms, outcome.status, outcome.error, outcome.body)

    def _first(self, endpoint: Endpoint, known: Mapping[str, Example]) -> str:
        for event_type in sorted(known):
            probe = OutboxEvent(0, endpoint.tenant, event_type, "", "", "", "", "", b"", 0)
            if not endpoint.types or endpoint.wants(probe):
                return event_type
        return next(iter(sorted(known)), "")


class GenericExample:
    """The example of a hub whose families have none: it shows only whether the endpoint can be reached."""

    example_types = ("hub.example",)

    def example(self, event_type: str) -> bytes:
        """See :class:`Example`."""
        return json.dumps({"type": event_type, "data": {"example": True}}).encode()
