"""The types of contact-centre events, and what the ``data`` of each holds (docs/protocol/events.md#types).

The structs validate the data of events, and the JSON Schemas that the ingest API publishes are made from them.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Any, Literal

import msgspec

# in Python, `$` alone also matches before a line feed at the end; `$(?!\n)` matches only at the end, in Python and in JSON Schema
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
"""An agent's, a queue's, a group's or an interaction's id: any text without control characters."""

Media = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$(?!\n)", examples=["voice", "chat", "email"])
]

VOICE = "voice"

CallType = Literal["inbound", "outbound", "internal", "consult"]


NUMBERS = "a number of at most 64 bits"
"""The numbers that ``userData`` may contain: integers from -2^63 to 2^64-1, and finite numbers of double precision. Snapshots (MessagePack)
and answers (JSON) cannot represent others."""

_LEAST_INTEGER = -(1 << 63)
_INTEGER_BOUND = 1 << 64
_SHOWN_BITS = 128
_SHOWN_PATH = 120


class NumberError(ValueError):
    """A number that the hub cannot store. ``path`` is its place in ``data`` (like ``userData.order.total``), ``got`` the number as text."""

    def __init__(self, path: str, number: float) -> None:
        bits = number.bit_length() if isinstance(number, int) else 0
        self.path = path if len(path) <= _SHOWN_PATH else f"{path[:_SHOWN_PATH]}..."
        self.got = f"an integer of {bits} bits" if bits > _SHOWN_BITS else repr(number)
        super().__init__(f"{self.path}: expected {NUMBERS}, got {self.got}")


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
    """An interaction enters a queue. Numbers anywhere in ``user_data`` have at most 64 bits; others raise :class:`NumberError`."""

    interaction_id: Id
    queue: Id
    media: Media = VOICE
    user_data: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.user_data:
            check_numbers("userData", self.user_data)


def check_numbers(path: str, user_data: dict[str, Any]) -> None:
    """Check that the hub can store every number in user data, at any depth; ``path`` is the place of the user data.

    Raises:
        NumberError: the hub cannot store a number; it names the first one.
    """
    if not _numbers_fit(user_data):
        raise NumberError(*_misfit(path, user_data))


def _numbers_fit(user_data: dict[str, Any]) -> bool:
    """Whether the hub can store every number in user data, at any depth."""
    nested: list[Iterable[Any]] = [user_data.values()]
    while nested:
        for value in nested.pop():
            if isinstance(value, int):
                if not _LEAST_INTEGER <= value < _INTEGER_BOUND:
                    return False
            elif isinstance(value, float):
                if not isfinite(value):
                    return False
            elif isinstance(value, dict):
                nested.append(value.values())
            elif isinstance(value, list | tuple):
                nested.append(value)
    return True


def _misfit(path: str, user_data: dict[str, Any]) -> tuple[str, float]:
    """The place of the first number that does not fit, and the number. Not part of the check, which is faster without the places."""
    entered: list[tuple[str, Any]] = [(path, user_data)]
    while True:
        place, value = entered.pop()
        if isinstance(value, int | float):
            if not _numbers_fit({"": value}):
                return place, value
        elif isinstance(value, dict):
            entered.extend((f"{place}.{name}", inner) for name, inner in reversed(value.items()))
        elif isinstance(value, list | tuple):
            entered.extend((f"{place}[{index}]", value[index]) for index in reversed(range(len(value))))


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
    """An interaction exists from now on. ``external_id`` is what another system knows it by; numbers anywhere in ``user_data`` have at most
    64 bits, others raise :class:`NumberError`.
    """

    interaction_id: Id
    media: Media
    subtype: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    external_id: Id | None = None
    user_data: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.user_data:
            check_numbers("userData", self.user_data)


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


ENDS: frozenset[type[EventData]] = frozenset(
    (AgentLogout, InteractionAbandoned, InteractionReleased, InteractionRejected, InteractionFinished)
)
"""Events that end a state. A late one is accepted nevertheless: without it the state would last for ever."""


class Event(msgspec.Struct, frozen=True):
    """One event, checked. ``time_ms`` is milliseconds since 1970 UTC: the time that counts. (source, id) tells repeats apart."""

    type: str
    time_ms: int
    source: str
    id: str
    data: EventData
    arrival: bool = False
    """Whether ``time_ms`` is the time of arrival, because the producer gave none."""

    @property
    def never_late(self) -> bool:
        """Whether the event is accepted even if newer events of the same object came before; then it gets the time of the newest."""
        return self.arrival or type(self.data) in ENDS


def json_schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the ``data`` of one event type.

    Raises:
        KeyError: there is no such type.
    """
    (described,), definitions = msgspec.json.schema_components([EVENT_TYPES[event_type]], ref_template="#/$defs/{name}")
    shape = dict(definitions[described["$ref"].removeprefix("#/$defs/")])
    if event_type == "cx.interaction.distributed":
        # __post_init__ of these two types checks this, which the types of their fields do not express
        shape["oneOf"] = [_given("toAgentId"), _given("toQueue")]
    elif event_type == "cx.interaction.abandoned":
        shape["anyOf"] = [_given("queue"), _given("agentId")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"/ingest/v1/schemas/{event_type}",
        **shape,
        "title": event_type,
    }


def _given(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}
