"""The vocabulary of contact-centre events: the one thing that every family may import (contract part 7).

An event comes in as a CloudEvent; what its ``data`` holds depends on ``type``. The structs below are the whole truth of that: they
validate, and the JSON Schemas that the ingest API publishes are made from them.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An agent's, a queue's, a group's or an interaction's id: any text without control characters."""

Media = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", examples=["voice", "chat", "email"])]

VOICE = "voice"

CallType = Literal["inbound", "outbound", "internal", "consult"]


class EventData(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The ``data`` of one event type."""


class AgentLogin(EventData, frozen=True, kw_only=True):
    """An agent logs in on one or more media."""

    agent_id: Id
    place_id: Id | None = None
    dn: Id | None = None
    media: tuple[Media, ...] = (VOICE,)
    groups: tuple[Id, ...] | None = None


class AgentLogout(EventData, frozen=True, kw_only=True):
    """An agent logs out, of one medium or of all."""

    agent_id: Id
    media: Media | None = None


class AgentReady(EventData, frozen=True, kw_only=True):
    """An agent waits for the next interaction."""

    agent_id: Id
    media: Media | None = None


class AgentNotReady(EventData, frozen=True, kw_only=True):
    """An agent does not take interactions."""

    agent_id: Id
    media: Media | None = None
    reason: Annotated[str, msgspec.Meta(max_length=255)] | None = None


class AgentAfterCallWork(EventData, frozen=True, kw_only=True):
    """An agent finishes the paperwork of an interaction."""

    agent_id: Id
    media: Media | None = None
    interaction_id: Id | None = None


class InteractionQueued(EventData, frozen=True, kw_only=True):
    """An interaction enters a queue."""

    interaction_id: Id
    queue: Id
    media: Media = VOICE
    user_data: dict[str, object] | None = None


class InteractionDistributed(EventData, frozen=True, kw_only=True):
    """An interaction leaves a queue, for an agent or for another queue: exactly one of the two."""

    interaction_id: Id
    queue: Id
    to_agent_id: Id | None = None
    to_queue: Id | None = None

    def __post_init__(self) -> None:
        if (self.to_agent_id is None) == (self.to_queue is None):
            raise ValueError("expected exactly one of toAgentId and toQueue")


class InteractionAbandoned(EventData, frozen=True, kw_only=True):
    """The caller gave up, while waiting in a queue or while an agent's phone rang."""

    interaction_id: Id
    queue: Id | None = None
    agent_id: Id | None = None

    def __post_init__(self) -> None:
        if self.queue is None and self.agent_id is None:
            raise ValueError("expected queue or agentId")


class InteractionRinging(EventData, frozen=True, kw_only=True):
    """An interaction is offered to an agent."""

    interaction_id: Id
    agent_id: Id
    queue: Id | None = None
    media: Media | None = None


class InteractionDialing(EventData, frozen=True, kw_only=True):
    """An agent dials."""

    interaction_id: Id
    agent_id: Id
    queue: Id | None = None
    media: Media | None = None


class InteractionEstablished(EventData, frozen=True, kw_only=True):
    """Agent and customer are connected."""

    interaction_id: Id
    agent_id: Id
    call_type: CallType
    queue: Id | None = None
    media: Media | None = None


class InteractionHeld(EventData, frozen=True, kw_only=True):
    """An agent puts an interaction on hold."""

    interaction_id: Id
    agent_id: Id


class InteractionRetrieved(EventData, frozen=True, kw_only=True):
    """An agent takes an interaction back from hold."""

    interaction_id: Id
    agent_id: Id


class InteractionReleased(EventData, frozen=True, kw_only=True):
    """An agent's part in an interaction ends."""

    interaction_id: Id
    agent_id: Id


class InteractionRejected(EventData, frozen=True, kw_only=True):
    """An agent let an interaction ring out, or refused it."""

    interaction_id: Id
    agent_id: Id
    reason: Literal["missed", "refused"]


class InteractionTransferred(EventData, frozen=True, kw_only=True):
    """An interaction moves from one agent to another."""

    interaction_id: Id
    from_agent_id: Id
    to_agent_id: Id


class InteractionStarted(EventData, frozen=True, kw_only=True):
    """An interaction exists from now on."""

    interaction_id: Id
    media: Media
    subtype: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=255)] | None = None


class InteractionFinished(EventData, frozen=True, kw_only=True):
    """An interaction is over."""

    interaction_id: Id
    media: Media
    subtype: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=255)] | None = None


class GroupChanged(EventData, frozen=True, kw_only=True):
    """Who belongs to a group: the whole list, every time."""

    group_id: Id
    kind: Literal["agents", "queues"]
    members: tuple[Id, ...]


EVENT_TYPES: dict[str, type[EventData]] = {
    "cx.agent.login": AgentLogin,
    "cx.agent.logout": AgentLogout,
    "cx.agent.ready": AgentReady,
    "cx.agent.notready": AgentNotReady,
    "cx.agent.aftercallwork": AgentAfterCallWork,
    "cx.interaction.queued": InteractionQueued,
    "cx.interaction.distributed": InteractionDistributed,
    "cx.interaction.abandoned": InteractionAbandoned,
    "cx.interaction.ringing": InteractionRinging,
    "cx.interaction.dialing": InteractionDialing,
    "cx.interaction.established": InteractionEstablished,
    "cx.interaction.held": InteractionHeld,
    "cx.interaction.retrieved": InteractionRetrieved,
    "cx.interaction.released": InteractionReleased,
    "cx.interaction.rejected": InteractionRejected,
    "cx.interaction.transferred": InteractionTransferred,
    "cx.interaction.started": InteractionStarted,
    "cx.interaction.finished": InteractionFinished,
    "cx.group.changed": GroupChanged,
}
"""Every event type and the shape of its data."""

TYPE_NAMES: dict[type[EventData], str] = {shape: name for name, shape in EVENT_TYPES.items()}


class Event(msgspec.Struct, frozen=True):
    """One event, checked. ``time_ms`` is milliseconds since 1970 UTC: the time that counts. (source, id) tells repeats apart."""

    type: str
    time_ms: int
    source: str
    id: str
    data: EventData


class LateEventError(ValueError):
    """An event is older than one that was already taken for the same object; the text says which and by how much."""


EVENT_STREAM = "events"
"""The stream of the event log, one for each tenant, that ingest appends to and that consumers are rebuilt from."""


class EventConsumer(Protocol):
    """A family that lives on events. Ingest calls it; the role under which it is found is ``event-consumer``."""

    def check(self, tenant: str, event: Event) -> None:
        """Called before the event is logged, in its order.

        Raises:
            LateEventError: the event comes too late to be taken.
        """
        ...

    def consume(self, tenant: str, events: Sequence[tuple[int, Event]]) -> None:
        """Take events that are in the log now, each with its position there. Must not raise for an event that ``check`` let pass."""
        ...


EVENT_CONSUMER = "event-consumer"
"""The role of an :class:`EventConsumer` among a family's services."""


class EventSink(Protocol):
    """Where events go in: validation is done, repeats and order are looked after behind it. Offered by ingest under its role."""

    async def accept(self, tenant: str, events: Sequence[Event]) -> list[str]:
        """Take events; one outcome for each: ``accepted``, ``duplicate``, or a sentence that says why it was refused.

        Returns when every accepted event is on disk.
        """
        ...


EVENT_SINK = "event-sink"
"""The role of the :class:`EventSink` among a family's services."""
