"""Encodes and decodes events: in the JSON form of CloudEvents 1.0, and as records of the event log."""

import msgspec

from channels.events.time_text import format_time
from channels.events.types import EVENT_TYPES, Event, EventData


class _CloudEvent(msgspec.Struct):
    id: str
    source: str
    type: str
    time: str
    data: EventData
    specversion: str = "1.0"


class _Record(msgspec.Struct):
    """A record of the event log. ``arrived`` is when the hub accepted the event: after a restart, repeats are recognised with it."""

    type: str
    time: int
    source: str
    id: str
    data: EventData
    arrived: int
    untimed: bool | msgspec.UnsetType = msgspec.UNSET
    """Present and true if the producer gave no time."""


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
    """Decode and check the ``data`` of an event.

    Raises:
        KeyError: there is no such type.
        msgspec.ValidationError: a field is missing or wrong; the text names it, what was expected and what came. Its ``__cause__`` is
            :class:`NumberError` if a number does not fit.
        msgspec.DecodeError, UnicodeDecodeError: the data is not JSON.
    """
    return _data_decoders[event_type].decode(data)


def encode_cloudevent(event: Event) -> bytes:
    """Encode an event in the JSON form of CloudEvents 1.0, as producers send it (docs/protocol/events.md#requests)."""
    return _encoder.encode(_CloudEvent(event.id, event.source, event.type, format_time(event.time_ms), event.data))


def encode_event(event: Event, arrived_ms: int = 0) -> bytes:
    """Encode a record of the event log: ``{"type","time","source","id","data","arrived"}``, times in milliseconds since 1970 UTC, and
    ``"untimed":true`` if the producer gave no time.
    """
    untimed = True if event.arrival else msgspec.UNSET
    return _encoder.encode(_Record(event.type, event.time_ms, event.source, event.id, event.data, arrived_ms, untimed))


def decode_event(record: bytes) -> Event:
    """Decode a record that :func:`encode_event` made.

    Raises:
        ValueError: it is not a record of the event log.
    """
    try:
        raw = _record_decoder.decode(record)
        return Event(raw.type, raw.time, raw.source, raw.id, decode_data(raw.type, raw.data), raw.untimed)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"expected a record of the event log, got {record[:80]!r}: {error!r}") from error


def decode_identity(record: bytes) -> tuple[str, str, int]:
    """Decode only ``(source, id, arrived_ms)`` of a record.

    Raises:
        ValueError: it is not a record of the event log.
    """
    try:
        identity = _identity_decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a record of the event log, got {record[:80]!r}: {error!r}") from error
    return identity.source, identity.id, identity.arrived
