import contextlib
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.events import (
    EVENT_TYPES,
    AgentLogin,
    Event,
    InteractionQueued,
    NumberError,
    decode_data,
    decode_event,
    decode_identity,
    encode_cloudevent,
    encode_event,
    format_time,
    json_schema,
    parse_time,
)
from tests.channels.examples import PAIRS, REQUIRED, WHOLE, WRONG
from tests.channels.json_schemas import validator


def _data(event_type: str, data: dict[str, Any]) -> Any:
    return decode_data(event_type, msgspec.json.encode(data))


# -- data -----------------------------------------------------------------------------------------------------------------------


def test_there_is_an_example_of_every_type() -> None:
    assert list(WHOLE) == list(EVENT_TYPES) == list(REQUIRED)


@pytest.mark.parametrize("event_type", WHOLE)
def test_a_whole_example_is_read_in_full(event_type: str) -> None:
    read = _data(event_type, WHOLE[event_type])
    fields = {field.encode_name: getattr(read, field.name) for field in msgspec.structs.fields(read)}
    lists_as_tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in WHOLE[event_type].items()}
    assert {name: value for name, value in fields.items() if value is not None} == lists_as_tuples


@pytest.mark.parametrize("event_type", WHOLE)
def test_only_the_required_fields_are_enough(event_type: str) -> None:
    data = {name: WHOLE[event_type][name] for name in REQUIRED[event_type]}
    if event_type == "cx.interaction.distributed":
        data["toQueue"] = "sales"
    elif event_type == "cx.interaction.abandoned":
        data["queue"] = "sales"
    _data(event_type, data)
    validator(json_schema(event_type)).validate(data)


@pytest.mark.parametrize("event_type", WHOLE)
def test_fields_that_the_hub_does_not_know_are_let_pass(event_type: str) -> None:
    data = {**WHOLE[event_type], "somethingNew": 1}
    _data(event_type, data)
    validator(json_schema(event_type)).validate(data)


@pytest.mark.parametrize(("event_type", "field", "wrong"), WRONG)
def test_a_wrong_field_is_refused(event_type: str, field: str, wrong: list[dict[str, Any]]) -> None:
    for data in wrong:
        with pytest.raises(msgspec.ValidationError):
            _data(event_type, data)


@pytest.mark.parametrize(("event_type", "data"), PAIRS)
def test_a_broken_pair_is_refused(event_type: str, data: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="expected"):
        _data(event_type, data)


def test_media_of_a_login_is_voice_when_nothing_is_said() -> None:
    assert _data("cx.agent.login", {"agentId": "a"}) == AgentLogin(agent_id="a", media=("voice",))


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", ["n", "list", "tuple"])
def test_a_number_that_cannot_be_kept_is_refused_of_every_producer(number: float, place: str) -> None:
    user_data: dict[str, Any] = {"ok": [1, True, "x", None, 0.5], "x": {"n": number, "list": [0, number], "tuple": (0, number)}[place]}
    with pytest.raises(NumberError, match=r"^userData\.x(\[1\])?: expected a number of at most 64 bits, got "):
        InteractionQueued(interaction_id="i", queue="q", user_data=user_data)


def test_the_place_of_a_number_is_cut() -> None:
    with pytest.raises(NumberError) as caught:
        InteractionQueued(interaction_id="i", queue="q", user_data={"x" * 10_000: 1 << 64})
    assert len(caught.value.path) == 123


def test_a_record_with_a_number_that_cannot_be_kept_is_refused() -> None:
    record = b'{"type":"cx.interaction.queued","time":1,"source":"s","id":"i","data":{"interactionId":"i","queue":"q","userData":{"n":%d}}}'
    assert decode_event(record % ((1 << 64) - 1)).id == "i"
    with pytest.raises(ValueError, match="64 bits"):
        decode_event(record % (1 << 64))


# -- schemas --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", WHOLE)
def test_a_schema_is_one_of_2020_12_and_takes_the_whole_example(event_type: str) -> None:
    schema = json_schema(event_type)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    validator(schema).validate(WHOLE[event_type])


@pytest.mark.parametrize(("event_type", "field", "wrong"), WRONG)
def test_a_schema_refuses_what_the_hub_refuses(event_type: str, field: str, wrong: list[dict[str, Any]]) -> None:
    judge = validator(json_schema(event_type))
    assert [data for data in wrong if judge.is_valid(data)] == []


@pytest.mark.parametrize(("event_type", "data"), PAIRS)
def test_a_schema_refuses_a_broken_pair(event_type: str, data: dict[str, Any]) -> None:
    assert not validator(json_schema(event_type)).is_valid(data)


def test_there_is_no_schema_of_an_unknown_type() -> None:
    with pytest.raises(KeyError):
        json_schema("cx.unknown")


# -- time -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T09:30:00.250Z", 1_772_357_400_250),
        ("2026-03-01t09:30:00.25z", 1_772_357_400_250),
        ("2026-03-01T10:30:00.250+01:00", 1_772_357_400_250),
        ("2026-03-01T04:00:00.250-05:30", 1_772_357_400_250),
        ("2026-03-01T09:30:00.2509999999999Z", 1_772_357_400_250),
        ("2026-03-01T09:30:00.0-00:00", 1_772_357_400_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("9999-12-31T23:59:59+01:00", 253_402_297_199_000),
        ("2017-01-01T00:59:60.5+01:00", 1_483_228_800_500),
    ],
)
def test_a_time_is_read(text: str, time_ms: int) -> None:
    assert parse_time(text) == time_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "RFC 3339"),
        ("now", "RFC 3339"),
        ("2026-03-01", "RFC 3339"),
        ("2026-03-01 09:30:00Z", "RFC 3339"),
        ("2026-03-01T09:30:00.Z", "RFC 3339"),
        ("2026-03-01T09:30:00,5Z", "RFC 3339"),
        ("2026-03-01T09:30:00+01", "RFC 3339"),
        ("2026-03-01T09", "RFC 3339"),
        ("2026-03-01T09:30.5", "RFC 3339"),
        ("2026-03-01T09:30:00+2400", "zone"),
        ("2026-03-01T09:30:00Z ", "RFC 3339"),
        ("2026-03-01T09:30:00Z\n", "RFC 3339"),
        ("٢٠٢٦-03-01T09:30:00Z", "RFC 3339"),
        ("1772357400250", "RFC 3339"),
        ("2026-02-29T09:30:00Z", "calendar"),
        ("2026-13-01T09:30:00Z", "calendar"),
        ("2026-00-01T09:30:00Z", "calendar"),
        ("0000-01-01T00:00:00Z", "calendar"),
        ("2026-03-01T24:00:00Z", "time of day"),
        ("2026-03-01T09:60:00Z", "time of day"),
        ("2026-03-01T09:30:61Z", "time of day"),
        ("2026-03-01T09:30:60Z", "leap second"),
        ("2026-03-01T09:30:00+24:00", "zone"),
        ("2026-03-01T09:30:00+01:60", "zone"),
        ("1969-12-31T23:59:59Z", "1970"),
        ("1970-01-01T00:00:00+01:00", "1970"),
        ("9999-12-31T23:59:59-01:00", "year 10000"),
        ("9999-12-31T23:59:59.999-00:01", "year 10000"),
        ("9999-12-31T23:59:60Z", "year 10000"),
    ],
)
def test_what_is_no_time_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_time(text)


_zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29), timezones=_zones))
def test_every_time_that_python_writes_is_read_as_python_reads_it(moment: datetime) -> None:
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_time(moment.isoformat()) == expected


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_that_was_written_is_read_again(time_ms: int) -> None:
    assert parse_time(format_time(time_ms)) == time_ms


@given(st.text(alphabet="0123456789-:TtZz+. ", max_size=32))
def test_any_other_text_is_refused_and_nothing_worse(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_time(text) >= 0


@given(st.datetimes(datetime(9999, 12, 30), datetime.max), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_every_time_that_is_taken_can_be_written(moment: datetime, offset: int) -> None:
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    with contextlib.suppress(ValueError):
        assert parse_time(format_time(time_ms := parse_time(f"{moment:%Y-%m-%dT%H:%M:%S}{zone}"))) == time_ms


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-03-01T09:30:00+0000", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30:00.25-0530", "2026-03-01T15:00:00.25Z"),
        ("2026-03-01T09:30Z", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30:15", "2026-03-01T09:30:15Z"),
        ("2026-03-01t09:30:15.125", "2026-03-01T09:30:15.125Z"),
        ("2026-03-01T09:30+01:00", "2026-03-01T08:30:00Z"),
    ],
)
def test_forms_that_programs_write_are_taken_and_without_a_zone_are_utc(text: str, same: str) -> None:
    assert parse_time(text) == parse_time(same)


# -- bytes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", WHOLE)
def test_a_record_is_read_as_it_was_written(event_type: str) -> None:
    event = Event(event_type, 1_772_357_400_250, "/switch/é", "n-1", _data(event_type, WHOLE[event_type]))
    record = encode_event(event, 1_772_357_400_999)
    assert decode_event(record) == event
    assert decode_identity(record) == ("/switch/é", "n-1", 1_772_357_400_999)


@pytest.mark.parametrize("event_type", WHOLE)
def test_a_cloudevent_has_the_form_of_cloudevents_1_0(event_type: str) -> None:
    event = Event(event_type, 1_772_357_400_250, "/switch", "n-1", _data(event_type, WHOLE[event_type]))
    written = msgspec.json.decode(encode_cloudevent(event))
    data = written.pop("data")
    assert written == {
        "specversion": "1.0",
        "id": "n-1",
        "source": "/switch",
        "type": event_type,
        "time": "2026-03-01T09:30:00.250Z",
    }
    assert _data(event_type, data) == event.data


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b'{"type":"x","time":1,"source":"s","id":"i","data":{}}', b'{"type":"\xff"}'])
def test_what_is_no_record_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="record of the event log"):
        decode_event(record)
    if b"time" not in record:
        with pytest.raises(ValueError, match="record of the event log"):
            decode_identity(record)
