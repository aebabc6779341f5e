from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.events import EVENT_TYPES, NUMBERS, AgentReady, Event
from channels.ingest.cloudevents import EventError, parse_event, split_document, split_lines
from tests.channels.examples import PAIRS, WHOLE, WRONG
from tests.channels.ingest.support import cloudevent


def _parse(event: Any) -> Event:
    return parse_event(event if isinstance(event, bytes) else orjson.dumps(event), arrived_ms=777, max_depth=64)


def _refused(event: Any) -> EventError:
    with pytest.raises(EventError) as caught:
        _parse(event)
    return caught.value


def test_a_good_event() -> None:
    assert _parse(cloudevent()) == Event("cx.agent.ready", 1_772_366_340_000, "/switch", "1", AgentReady(agent_id="ana.lopez"))


@pytest.mark.parametrize("event_type", WHOLE)
def test_every_type(event_type: str) -> None:
    event = _parse(cloudevent(type=event_type, data=WHOLE[event_type]))
    assert event.type == event_type
    assert type(event.data) is EVENT_TYPES[event_type]


@pytest.mark.parametrize("time", [{}, {"time": None}])
def test_without_a_time_the_arrival_counts(time: dict[str, Any]) -> None:
    event = cloudevent()
    del event["time"]
    assert _parse(event | time).time_ms == 777


@pytest.mark.parametrize(
    "members",
    [
        {"specversion": None},
        {"data_base64": None},
        {"subject": "x"},
        {"datacontenttype": "application/json"},
        {"traceparent": 5},
        {"comexample": {"deep": [1]}},
    ],
)
def test_what_does_not_matter_is_let_pass(members: dict[str, Any]) -> None:
    assert _parse(cloudevent(**members)).id == "1"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", 5, "text"),
        ("id", "", "at least 1 char"),
        ("id", "a\x00", "control characters"),
        ("id", "x" * 1025, "at most 1024 char"),
        ("id", None, "text"),
        ("source", [], "text"),
        ("source", "", "at least 1 char"),
        ("type", 5, "text"),
        ("type", "cx.agent.dancing", "cx.agent.login, cx.agent.logout"),
        ("specversion", "0.3", "1.0"),
        ("specversion", 1.0, "text or null"),
        ("time", "yesterday", "RFC 3339"),
        ("time", 1772366340, "text or null"),
        ("time", "2026-03-01T11", "RFC 3339"),
        ("data", None, "object with the fields of cx.agent.ready"),
        ("data", [], "an object"),
        ("data", "x", "an object"),
        ("data_base64", "e30=", "data is a JSON object"),
    ],
)
def test_a_wrong_attribute_is_named_with_what_was_expected_and_what_came(field: str, value: Any, expected: str) -> None:
    fault = _refused(cloudevent(**{field: value}))
    assert fault.field == field
    assert expected in fault.expected
    if value is None:
        assert fault.got in ("nothing", "null")
    else:
        assert fault.got[:20] == orjson.dumps(value).decode()[:20]
    assert str(fault) == f"{field}: expected {fault.expected}, got {fault.got}"


@pytest.mark.parametrize("field", ["id", "source", "type", "data"])
def test_a_missing_attribute_is_named(field: str) -> None:
    event = cloudevent()
    del event[field]
    fault = _refused(event)
    assert (fault.field, fault.got) == (field, "nothing")


@pytest.mark.parametrize(("event_type", "field", "wrong"), WRONG)
def test_a_wrong_field_of_data_is_named(event_type: str, field: str, wrong: list[dict[str, Any]]) -> None:
    for data in wrong:
        fault = _refused(cloudevent(type=event_type, data=data))
        assert fault.field.partition("[")[0] == f"data.{field}"
        assert fault.expected
        assert "`" not in fault.expected
        assert field in data or fault.got == "nothing"


@pytest.mark.parametrize(("event_type", "data"), PAIRS)
def test_a_broken_pair_of_data_is_explained(event_type: str, data: dict[str, Any]) -> None:
    fault = _refused(cloudevent(type=event_type, data=data))
    assert fault.field == "data"
    assert fault.got == orjson.dumps(data).decode()


def test_a_field_within_a_list_is_named_with_its_place() -> None:
    fault = _refused(cloudevent(type="cx.agent.login", data={"agentId": "a", "media": ["voice", 5]}))
    assert (fault.field, fault.expected, fault.got) == ("data.media[1]", "text", "5")


def test_the_choices_are_listed() -> None:
    fault = _refused(cloudevent(type="cx.group.changed", data={"groupId": "g", "kind": "people", "members": []}))
    assert (fault.field, fault.expected, fault.got) == ("data.kind", "one of agents, queues", '"people"')


def test_a_long_value_is_cut() -> None:
    assert len(_refused(cloudevent(data={"agentId": ["x" * 5000]})).got) < 200


def test_two_members_of_one_name_are_no_fault_of_ours() -> None:
    fault = _refused(b'{"id":"1","source":"s","type":"cx.agent.login","data":{"agentId":"a","media":[5],"media":"voice"}}')
    assert (fault.field, fault.expected) == ("data.media[0]", "text")


_QUEUED = b'{"id":"1","source":"s","type":"cx.interaction.queued","data":{"interactionId":"i","queue":"q","userData":{"n":%b}}}'


@pytest.mark.parametrize(("number", "got"), [(b"1e999", '{"n":"1e999"}'), (b"1" * 5000, '{"n":"1111')])
def test_a_number_beyond_every_bound(number: bytes, got: str) -> None:
    fault = _refused(_QUEUED % number)
    assert fault.field.startswith("data.userData")
    assert fault.expected == NUMBERS
    assert fault.got.startswith(got)


@pytest.mark.parametrize(
    ("number", "got"),
    [
        (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"1" * 4000, "an integer of 13285 bits"),
    ],
)
def test_an_integer_beyond_64_bits_is_named_with_its_place(number: bytes, got: str) -> None:
    fault = _refused(_QUEUED % (b'[1,{"m":%b}]' % number))
    assert (fault.field, fault.expected, fault.got) == ("data.userData.n[1].m", NUMBERS, got)


@pytest.mark.parametrize("number", [18446744073709551615, -9223372036854775808, 1.7976931348623157e308])
def test_user_data_keeps_the_largest_numbers(number: float) -> None:
    assert msgspec.to_builtins(_parse(_QUEUED % orjson.dumps(number)).data)["userData"] == {"n": number}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "JSON text"),
        (b"nonsense", "JSON text"),
        (b'{"id":"1"', "JSON text"),
        (b'{"id":"1"} {"id":"2"}', "JSON text"),
        (b'{"id":NaN}', "JSON text"),
        (b'{"id":"\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"id":"1"}', "JSON text"),
        (b'{"x":' + b"[" * 64 + b"]" * 64 + b"}", "at most 64 levels"),
        (b"[" * 100_000, "at most 64 levels"),
        (b"[]", "an object"),
        (b'"x"', "an object"),
        (b"null", "an object"),
    ],
)
def test_what_is_no_event_at_all(text: bytes, expected: str) -> None:
    fault = _refused(text)
    assert fault.field == "event"
    assert expected in fault.expected


def test_as_deep_as_may_be() -> None:
    assert _parse(b'{"id":"1","source":"s","type":"cx.agent.ready","data":{"agentId":"a"},"x":' + b"[" * 63 + b"]" * 63 + b"}").id == "1"


@given(st.binary(max_size=60) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(orjson.dumps))
def test_anything_is_refused_and_nothing_worse(text: bytes) -> None:
    with pytest.raises(EventError):
        _parse(text)


def test_a_fault_further_on_than_the_first_wrong_field() -> None:
    fault = _refused(b'{"id":5,"x":Infinity}')
    assert (fault.field, fault.expected) == ("event", "JSON text")


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_any_value_in_any_field_is_taken_or_explained(event_type: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(WHOLE[event_type])))
    try:
        _parse(cloudevent(type=event_type, data={**WHOLE[event_type], field: data.draw(_json)}))
    except EventError as fault:
        # a pair of fields may be what is wrong now
        assert fault.field.startswith(f"data.{field}") or fault.field == "data"  # noqa: PT017


# -- splitting ------------------------------------------------------------------------------------------------------------------


def _split(body: bytes, *, one: bool = True, many: bool = True) -> list[bytes]:
    return [bytes(part) for part in split_document(body, one=one, many=many)]


def test_an_object_is_one_and_an_array_is_many() -> None:
    assert _split(b' {"a": 1} ') == [b'{"a": 1}']
    assert _split(b'[{"a":1}, 5,[ ]]') == [b'{"a":1}', b"5", b"[ ]"]
    assert _split(b"\n[]") == []


@pytest.mark.parametrize(
    ("body", "one", "many", "expected", "got"),
    [
        (b"", True, True, "JSON text", "nothing"),
        (b"  \n", True, True, "JSON text", "nothing"),
        (b"{", True, True, "JSON text", "fault"),
        (b"[1,]", True, True, "JSON text", "fault"),
        (b"[1]]", True, True, "JSON text", "fault"),
        (b"[" * 100_000, True, True, "depth", "nested"),
        (b"[]", True, False, "an event (a JSON object)", "an array"),
        (b"{}", False, True, "an array of events", "an object"),
        (b"5", True, True, "an event (a JSON object) or an array of events", "5"),
    ],
)
def test_what_is_no_document_of_events(body: bytes, one: bool, many: bool, expected: str, got: str) -> None:
    with pytest.raises(EventError) as caught:
        _split(body, one=one, many=many)
    assert caught.value.field == "body"
    assert expected in caught.value.expected
    assert got in caught.value.got


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n\r\n  \n", []),
        (b"a", [b"a"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\n\n b \n", [b"a", b"b"]),
    ],
)
def test_lines(body: bytes, lines: list[bytes]) -> None:
    assert list(split_lines(body)) == lines


def test_half_a_character_harms_nothing_but_itself() -> None:
    whole = msgspec.json.encode(cloudevent(source="/s"))
    halved = whole.replace(b'"/s"', rb'"/s\ud83d"')
    events = [_parse(bytes(part)) for part in split_document(b"[%b,%b]" % (halved, whole), one=False, many=True)]
    assert [event.source for event in events] == ["/s�", "/s"]


def _taken(event: Any) -> Any:
    try:
        return _parse(event).data
    except EventError:
        return None


@pytest.mark.parametrize("event_type", WHOLE)
def test_a_field_of_data_that_may_be_missing_may_be_null(event_type: str) -> None:
    """What is refused when it is null is refused when it is missing, too."""
    for name in WHOLE[event_type]:
        missing = {key: value for key, value in WHOLE[event_type].items() if key != name}
        null = {**missing, name: None}
        assert _taken(cloudevent(type=event_type, data=null)) == _taken(cloudevent(type=event_type, data=missing))


def test_nul_in_any_text_is_refused() -> None:
    data = {"interactionId": "1", "queue": "sales", "userData": {"a": ["\x00"]}}
    assert (_refused(cloudevent(type="cx.interaction.queued", data=data)).field) == "data"
    data["userData"] = {"a": "\\u0000"}
    assert _parse(cloudevent(type="cx.interaction.queued", data=data)).id == "1"
