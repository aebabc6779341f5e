"""The vocabulary of contact-centre events: the one thing that every family may import (docs/protocol/events.md#types).

An event comes in as a CloudEvent; what its ``data`` holds depends on ``type``. The structs below are the whole truth of that: they
validate, and the JSON Schemas that the ingest API publishes are made from them.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from math import isfinite
from typing import Annotated, Any, Literal, Protocol

import msgspec

# `$` alone would let a line feed at the end pass in Python; with what follows it means the end, here and in JSON Schema
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
"""An agent's, a queue's, a group's or an interaction's id: any text without control characters."""

Media = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$(?!\n)", examples=["voice", "chat", "email"])
]

VOICE = "voice"

CallType = Literal["inbound", "outbound", "internal", "consult"]


NUMBERS = "a number of at most 64 bits"
"""What ``userData`` may hold of numbers: integers from -2^63 to 2^64-1, and finite ones of double precision. Snapshots (MessagePack) and
answers (JSON) have no form for others."""

_LEAST_INTEGER = -(1 << 63)
_INTEGER_BOUND = 1 << 64
_SHOWN_BITS = 128
_SHOWN_PATH = 120


class NumberError(ValueError):
    """A number that the hub cannot keep. ``path`` is where in ``data`` (like ``userData.order.total``), ``got`` what came, as text."""

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
    """Check that every number in user data, however deep, is one that can be kept; ``path`` is where the data stands.

    Raises:
        NumberError: the first that is not.
    """
    if not _numbers_fit(user_data):
        raise NumberError(*_misfit(path, user_data))


def _numbers_fit(user_data: dict[str, Any]) -> bool:
    """Whether every number in it, however deep, is one that can be kept."""
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
    """The first number that does not fit, with its place. Apart from the check: the places of those that fit need not be written out."""
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
"""Events that end something. One that comes late is taken all the same: without it, what it ends would go on for ever."""


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
        """Whether the event is taken even if newer ones of the same object came before; it then counts at the time of the newest."""
        return self.arrival or type(self.data) in ENDS


class RefusedEventError(ValueError):
    """An event that is not taken. The text is ``field: expected ...; got ...``; ``field`` names a field of the event."""


class LateEventError(RefusedEventError):
    """An event is older than one that was already taken for the same object. The text is ``time: expected ..., got ...`` and says which
    object and by how much."""


def json_schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the ``data`` of one event type.

    Raises:
        KeyError: there is no such type.
    """
    (described,), definitions = msgspec.json.schema_components([EVENT_TYPES[event_type]], ref_template="#/$defs/{name}")
    shape = dict(definitions[described["$ref"].removeprefix("#/$defs/")])
    if event_type == "cx.interaction.distributed":
        # what the two shapes' own checks ask for, which the types alone do not say
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


# -- time ---------------------------------------------------------------------------------------------------------------

_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_S = 86_400
_YEAR_10000_MS = (date.max.toordinal() + 1 - _EPOCH_DAY) * _DAY_S * 1000
"""Times from here on have no form in RFC 3339, whose years have four digits."""


def parse_time(text: str) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time; digits below a millisecond are cut off. As ISO 8601 has it, the zone may be without
    a colon (``+0000``), and seconds may be missing; a time without a zone is UTC.

    A leap second (``23:59:60`` UTC, RFC 3339 section 5.7) is the instant after it, as in POSIX time.

    Raises:
        ValueError: not such a time, or one before 1970 or after 9999 UTC; the text says what was expected.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("an RFC 3339 time, like 2026-03-01T09:30:00.250Z")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hour, offset_minute = match.group(7, 8, 9, 10)
    offset_s = 0
    if sign is not None:
        if int(offset_hour) > 23 or int(offset_minute) > 59:
            raise ValueError("a zone between -23:59 and +23:59")
        offset_s = (int(offset_hour) * 3600 + int(offset_minute) * 60) * (-1 if sign == "-" else 1)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("a time of day between 00:00:00 and 23:59:60")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError("a day that is in the calendar") from None
    seconds = days * _DAY_S + hour * 3600 + minute * 60 + second - offset_s
    if second == 60 and seconds % _DAY_S != 0:
        raise ValueError("a leap second only at 23:59:60 UTC")
    milliseconds = seconds * 1000 + int((fraction or "")[:3].ljust(3, "0"))
    if milliseconds < 0:
        raise ValueError("a time not before 1970-01-01T00:00:00Z")
    if milliseconds >= _YEAR_10000_MS:
        # its own year had four digits, but the zone moves it
        raise ValueError("a time before the year 10000 UTC")
    return milliseconds


def format_time(time_ms: int) -> str:
    """RFC 3339, in UTC with milliseconds: ``2026-03-01T09:30:00.250Z``."""
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


# -- events as bytes ----------------------------------------------------------------------------------------------------


class _CloudEvent(msgspec.Struct):
    id: str
    source: str
    type: str
    time: str
    data: EventData
    specversion: str = "1.0"


class _Record(msgspec.Struct):
    """A record of the event log. ``arrived`` is when the hub took the event: its repeats are told apart by that, also after a restart."""

    type: str
    time: int
    source: str
    id: str
    data: EventData
    arrived: int
    untimed: bool | msgspec.UnsetType = msgspec.UNSET
    """Present and true where the producer gave no time."""


class _RawRecord(msgspec.Struct):
    type: str
    time: int
    source: str
    id: str
    data: msgspec.Raw
    untimed: bool = False


class _Identity(msgspec.Struct):
    source: str
    id: str
    arrived: int


_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(_RawRecord)
_identity_decoder = msgspec.json.Decoder(_Identity)
_data_decoders = {name: msgspec.json.Decoder(shape) for name, shape in EVENT_TYPES.items()}


def decode_data(event_type: str, data: bytes | msgspec.Raw) -> EventData:
    """The ``data`` of an event, checked.

    Raises:
        KeyError: there is no such type.
        msgspec.ValidationError: a field is missing or wrong; the text says which, what was expected and what came. Its ``__cause__`` is
            :class:`NumberError` when that was it.
        msgspec.DecodeError, UnicodeDecodeError: not JSON text.
    """
    return _data_decoders[event_type].decode(data)


def encode_cloudevent(event: Event) -> bytes:
    """An event in the JSON form of CloudEvents 1.0, as producers send it (docs/protocol/events.md#requests)."""
    return _encoder.encode(_CloudEvent(event.id, event.source, event.type, format_time(event.time_ms), event.data))


def encode_event(event: Event, arrived_ms: int = 0) -> bytes:
    """A record of the event log: ``{"type","time","source","id","data","arrived"}``, times in milliseconds since 1970 UTC, and
    ``"untimed":true`` where the producer gave no time.
    """
    untimed = True if event.arrival else msgspec.UNSET
    return _encoder.encode(_Record(event.type, event.time_ms, event.source, event.id, event.data, arrived_ms, untimed))


def decode_event(record: bytes) -> Event:
    """The event that :func:`encode_event` wrote.

    Raises:
        ValueError: not such a record.
    """
    try:
        raw = _record_decoder.decode(record)
        return Event(raw.type, raw.time, raw.source, raw.id, decode_data(raw.type, raw.data), raw.untimed)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as fault:
        raise ValueError(f"expected a record of the event log, got {record[:80]!r}: {fault!r}") from fault


def decode_identity(record: bytes) -> tuple[str, str, int]:
    """``(source, id, arrived_ms)`` of a record, without looking at the rest.

    Raises:
        ValueError: not a record of the event log.
    """
    try:
        identity = _identity_decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise ValueError(f"expected a record of the event log, got {record[:80]!r}: {fault!r}") from fault
    return identity.source, identity.id, identity.arrived


# -- who takes them -----------------------------------------------------------------------------------------------------

EVENT_STREAM = "events"
"""The stream of the event log, one for each tenant, that ingest appends to and that consumers are rebuilt from."""


class EventConsumer(Protocol):
    """A family that lives on events. Ingest calls it; the role under which it is found is ``event-consumer``."""

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        """Called before the event is logged, in its order. With ``past`` it may be as old as it likes.

        Raises:
            RefusedEventError: the event is not to be taken: it comes too late, or is one too many of something.
        """
        ...

    def consume(self, tenant: str, events: Sequence[tuple[int, Event]]) -> None:
        """Take events that are in the log now, each with its position there. Must not raise for an event that ``check`` let pass."""
        ...


EVENT_CONSUMER = "event-consumer"
"""The role of an :class:`EventConsumer` among a family's services."""


class EventSinkError(Exception):
    """The event log could not be written: nothing of the call was taken, the same events may come again."""


ACCEPTED = "accepted"
DUPLICATE = "duplicate"


class EventSink(Protocol):
    """Where events go in: validation is done, repeats and order are looked after behind it. Offered by ingest under its role."""

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        """Take events; one outcome for each: ``accepted``, ``duplicate``, or a sentence that says why it was refused. With ``past`` the
        limit on their age does not apply.

        Returns when every accepted event is on disk.

        Raises:
            EventSinkError: the log could not be written.
        """
        ...


EVENT_SINK = "event-sink"
"""The role of the :class:`EventSink` among a family's services."""
