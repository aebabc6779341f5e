"""The types of the outbox: events, endpoints, deliveries, outcomes; and the ports for families that use it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, NotRequired, Protocol, TypedDict, Unpack

from hub.offers import Port
from hub.storage.transactions import Transaction

EVERY_ENDPOINT: Final = ""
"""``OutboxEvent.endpoint`` of an event that goes to every endpoint of its tenant that wants its type."""

ASKING_ENDPOINTS: Final = "?"
"""``OutboxEvent.endpoint`` of an event that goes to those endpoints of its tenant that name its type; not to those that want all types, for
their receivers do not know it.
"""

NO_ENDPOINT: Final = "-"
"""``OutboxEvent.endpoint`` of an event that stays inside the hub."""


class OutboxEvent(NamedTuple):
    """An event, recorded in the transaction of the change that caused it. Consumers and deliveries are idempotent by ``id``."""

    id: int
    """Rises with each event; receivers see it in ``X-Hub-Sequence``."""
    tenant: str
    type: str
    """The event type, such as ``interaction.started``. Endpoints choose events by it."""
    key: str
    """Events of one tenant and key stay in order."""
    media: str
    """The medium; empty if the event has none. Endpoints may choose events by it, too."""
    operation_id: str
    """The same in every delivery and at every attempt; a UUID."""
    trace_id: str
    """``X-B3-TraceId``."""
    endpoint: str
    """The id of the only endpoint that the event is for, :data:`EVERY_ENDPOINT`, :data:`ASKING_ENDPOINTS` or :data:`NO_ENDPOINT`."""
    body: bytes
    """The body of the webhook, byte for byte."""
    at_ms: int
    origin: str = ""
    """The origin of the event, for the consumer of the family that recorded it."""


class NewEvent(TypedDict):
    """An event to record: the keyword arguments of :meth:`Recorder.add`, with the meaning of the fields of :class:`OutboxEvent`."""

    tenant: str
    type: str
    key: str
    body: bytes
    media: NotRequired[str]
    """Empty by default."""
    endpoint: NotRequired[str]
    """:data:`EVERY_ENDPOINT` by default."""
    operation_id: NotRequired[str]
    """A new UUID by default."""
    trace_id: NotRequired[str]
    """A new one by default, 32 hexadecimal digits."""
    origin: NotRequired[str]
    """Empty by default."""


class Secret(NamedTuple):
    """One secret of an endpoint. Each delivery is signed with every valid secret."""

    text: str
    until_ms: int | None = None
    """When the secret becomes invalid, in ms; None for the present one."""


class Success(StrEnum):
    """The HTTP statuses with which an endpoint takes a delivery."""

    EXACTLY_200 = "200"
    ANY_2XX = "2xx"


class Throttle(StrEnum):
    """Which deliveries wait after an endpoint answered 429."""

    ENDPOINT = "endpoint"
    """All deliveries to the endpoint wait for a while."""
    ORDER = "order"
    """Only the deliveries of the same key (one interaction, one consumer) wait, for as long as ``Retry-After`` says."""


class Policy(NamedTuple):
    """Which answers of an endpoint are a success, and what a 429 means. Times in ms. Stored as a list: add fields at the end, with a
    default.
    """

    success: Success = Success.ANY_2XX
    timeout_ms: int = 0
    """0: the setting ``outbox.timeout_s``."""
    refusal_is_final: bool = False
    """Whether a 4xx other than 408 and 429 ends the delivery: the receiver understood the request and refuses it."""
    throttle: Throttle = Throttle.ENDPOINT


DEFAULT_POLICY: Final = Policy()


@dataclass(slots=True)
class Endpoint:
    """A webhook endpoint: the URL that receives deliveries, and what it wants."""

    id: str
    tenant: str
    url: str
    secrets: tuple[Secret, ...]
    types: tuple[str, ...] = ()
    """The event types that it wants, such as ``interaction.*`` for all that begin with ``interaction.``; empty: all."""
    media: tuple[str, ...] = ()
    """The media that it wants; empty: all."""
    headers: dict[str, str] = field(default_factory=dict)
    """The endpoint's own headers, sent with each attempt."""
    description: str = ""
    concurrency: int = 0
    """Requests that may be under way at once; 0: the setting ``outbox.concurrency``."""
    enabled: bool = True
    disabled_reason: str = ""
    policy: Policy = DEFAULT_POLICY
    owner: str = ""
    """The family that owns the endpoint, such as ``messaging``; empty where an administrator created it."""
    created_ms: int = 0
    failing_since_ms: int | None = None
    """The time since which all attempts have failed; None after a success."""
    silent: int = 0
    """Time-outs and refused connections in a row, once there are as many as ``outbox.trip_after``; else 0."""
    closed_until_ms: int = 0
    """The time until which nothing is sent to it, in ms, because it did not answer or asked for a pause."""

    def wants(self, event: OutboxEvent) -> bool:
        """Whether an event goes to it."""
        if event.endpoint not in (EVERY_ENDPOINT, ASKING_ENDPOINTS):
            return event.endpoint == self.id
        if self.owner or event.tenant != self.tenant or (event.endpoint == ASKING_ENDPOINTS and not self.types):
            return False
        return (not self.types or any(_matches(wanted, event.type) for wanted in self.types)) and (
            not self.media or event.media in self.media
        )


def unknown_types(wanted: Iterable[str], known: Collection[str]) -> list[str]:
    """Those of the types that an endpoint wants of which nothing ever comes; where no types are known, none are told."""
    return [each for each in wanted if known and not any(_matches(each, event_type) for event_type in known)]


def _matches(wanted: str, event_type: str) -> bool:
    return wanted == event_type or (wanted.endswith(".*") and event_type.startswith(wanted[:-1]))


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up. It can be replayed as long as it is kept."""


class Settled(NamedTuple):
    """How a delivery ended, for the family that recorded its event."""

    event: OutboxEvent
    delivery: int
    endpoint: str
    state: DeliveryState
    status: int
    """The HTTP status of the last attempt; 0 when there was no answer."""
    body: bytes
    """The answer's body, as much of it as is kept."""
    error: str
    """Why it was not delivered; empty if it was."""


class Consumer(Protocol):
    """Processes the events that a family records (``Parts.outbox_consumers``)."""

    @property
    def types(self) -> Collection[str]:
        """The event types that it processes."""
        ...

    async def consume(self, event: OutboxEvent) -> None:
        """Process an event inside the hub. Called at least once for each event, and in order for the events of a key. A second call for the
        same ``event.id`` must have no effect. If it raises, it is called again later.
        """
        ...

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """A delivery ended. Runs inside the transaction that records it, in the database's thread."""
        ...


class Recorder(Protocol):
    """The interface of the outbox for families (``Context.outbox``)."""

    def add(self, transaction: Transaction, **event: Unpack[NewEvent]) -> OutboxEvent:
        """Record an event in the transaction of its cause, so that both are on disk or neither."""
        ...

    def rewrite(self, transaction: Transaction, tenant: str, event_type: str, key: str, change: Callable[[bytes], bytes | None]) -> int:
        """Give events of a type and key that are not dispatched yet another body: ``change`` gets a body and returns the new one, or None
        to leave it. Returns how many were changed. An event that a process is handing over at this moment may go as it was.
        """
        ...

    def save_endpoint(self, transaction: Transaction, endpoint: Endpoint) -> None:
        """Make or change an endpoint that a family owns (``Endpoint.owner``). Deliveries follow the change at once."""
        ...

    def remove_endpoint(self, transaction: Transaction, endpoint: str) -> None:
        """Remove an endpoint that a family owns. Its pending deliveries become dead."""
        ...


RECORDER: Final = Port[Recorder]("the outbox's recorder")
"""The port by which the outbox offers itself to other families."""
