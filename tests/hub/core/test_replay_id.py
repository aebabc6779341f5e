"""The position inside the data: put into the publisher's own text, of which nothing else changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.delivery import DeliveryClass
from hub.core.message import Message
from hub.core.replay_id import into_event, with_replay_id


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"event":{}}', b'{"event":{"replayId":7}}'),
        (b'{"event":{ }}', b'{"event":{"replayId":7}}'),
        (b'{"event":{"type":"created"},"x":1.10}', b'{"event":{"replayId":7,"type":"created"},"x":1.10}'),
        (b' { "x" : 1e400, "event" :\n{ "a": [ ] } , "y" :2}', b' { "x" : 1e400, "event" :\n{"replayId":7,"a": [ ] } , "y" :2}'),
        # a publisher's own is replaced, in whatever way it is written
        (b'{"event":{"a":1,"replayId":"theirs","b":2}}', b'{"event":{"replayId":7,"a":1,"b":2}}'),
        (b'{"event":{"replayId":5}}', b'{"event":{"replayId":7}}'),
        (b'{"event":{"replay\\u0049d":5,"x":1.10}}', b'{"event":{"replayId":7,"x":1.10}}'),
        (b'{"\\u0065vent":{"x":1.10},"a":{"event":{"x":1.10}}}', b'{"event":{"replayId":7,"x":1.10},"a":{"event":{"x":1.10}}}'),
        # what is deeper, or a text, is not meant
        (b'{"a":{"event":{}},"event":{"x":1}}', b'{"a":{"event":{}},"event":{"replayId":7,"x":1}}'),
        (b'{"a":"event","event":{}}', b'{"a":"event","event":{"replayId":7}}'),
        (b'{"event":{"event":{"replayId":1}}}', b'{"event":{"replayId":7,"event":{"replayId":1}}}'),
        (b'{"a":{"event":{}}}', None),
        (b'{"a":"event"}', None),
        (b'{"event":1}', None),
        (b'{"event":[{}]}', None),
        (b'{"event":null}', None),
        (b'{"events":{}}', None),
        (b'["event",{}]', None),
        (b'"event"', None),
        (b"7", None),
    ],
)
def test_the_position_is_put_into_the_event(data: bytes, expected: bytes | None) -> None:
    assert into_event(data, 7) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["event", "replayId"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["event", "replayId", "a", "b"]), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_nothing_else_changes(value: object, indent: int | None, escaped: bool) -> None:
    text = json.dumps(value, indent=indent)
    data = (text.replace('"event"', '"\\u0065vent"') if escaped else text).encode()
    spliced = into_event(data, 7)
    if isinstance(value, dict) and isinstance(value.get("event"), dict):
        assert spliced is not None
        assert json.loads(spliced) == {**value, "event": {**value["event"], "replayId": 7}}
    else:
        assert spliced is None
    whole = with_replay_id(data, 7)
    has_place = isinstance(value, dict) and isinstance(value.get("event", {}), dict)
    assert (whole is not None) is has_place
    if whole is not None and isinstance(value, dict):
        assert json.loads(whole) == {**value, "event": {**value.get("event", {}), "replayId": 7}}


def test_every_subscriber_of_a_log_channel_gets_it_by_bayeux_and_nobody_by_another_endpoint() -> None:
    message = Message("/log", b'{"event":{"n":1},"x":1.10}', DeliveryClass.LOG, position=7)
    assert message.bayeux() == b'{"channel":"/log","data":{"event":{"replayId":7,"n":1},"x":1.10}}'
    assert message.replayable() is message.bayeux()  # one text, whoever asked
    assert b'"data":{"event":{"n":1},"x":1.10},"position":7' in message.dashboard()
    assert b'"data":{"event":{"n":1},"x":1.10}}\nid: 7' in message.sse()


def test_without_a_position_the_publishers_own_stays() -> None:
    assert Message("/free", b'{"event":{"replayId":1}}').bayeux() == b'{"channel":"/free","data":{"event":{"replayId":1}}}'
