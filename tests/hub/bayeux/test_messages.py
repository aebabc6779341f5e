"""From bytes to messages: what is refused as a whole, what is wrong with one message alone, and what is kept verbatim."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.bayeux.messages import BatchTooLargeError, EmptyRequestError, Incoming, MalformedError, read_request
from hub.core.frames import array
from hub.core.limits import Limits
from tests.hub.bayeux.harness import NONE, RETRY, Bayeux, handshake

LIMITS = Limits()


def one(payload: bytes) -> Incoming:
    (message,) = read_request(payload, LIMITS)
    return message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"   ",
        b"{",
        b"[{}",
        b"[{}] x",
        b"{},{}",
        b"{}]",
        b"{} x",
        b"[{},]",
        b"[{}\x00]",
        b"\xef\xbb\xbf[{}]",
        b'[{"data":"\xff"}]',
        b'[{"data":"\xed\xa0\x80"}]',
        b'[{"data":01}]',
        b'[{"data":1.}]',
        b'[{"data":.5}]',
        b'[{"data":+1}]',
        b'[{"data":1e}]',
        b'[{"data":NaN}]',
        b'[{"data":-Infinity}]',
        b'[{"data":"\\x"}]',
        b'[{"data":"\\u12g4"}]',
        b'[{"data":"\n"}]',
        b'[{"data":[1,]}]',
        b'[{"data":{"a":1,}}]',
        b"[{'data':1}]",
        b"[{data:1}]",
        b'[{"data":tru}]',
    ],
)
def test_not_json(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(payload, LIMITS)


@pytest.mark.parametrize("payload", [b"null", b"1", b'"x"', b"true", b"[1]", b"[{},1]", b"[[{}]]", b'[{},"x"]', b"[null]"])
def test_not_messages(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(payload, LIMITS)


def test_empty_array_is_told_apart() -> None:
    with pytest.raises(EmptyRequestError):
        read_request(b" [ ] ", LIMITS)


def test_bare_object_is_one_message() -> None:
    assert one(b' {"channel":"/a"} ').text("channel") == "/a"


def test_depth_is_bounded() -> None:
    deepest = b"[" * 62 + b"]" * 62  # within one array and one object
    assert one(b'[{"data":%b}]' % deepest).raw("data") == deepest
    with pytest.raises(MalformedError):
        read_request(b'[{"data":[%b]}]' % deepest, LIMITS)


def test_hostile_depth_does_not_reach_the_parser() -> None:
    with pytest.raises(MalformedError):
        read_request(b"[" * 500_000, LIMITS)


def test_brackets_in_texts_are_not_depth() -> None:
    assert one(b'[{"data":"%b"}]' % (b"[" * 200)).raw("data") is not None


def test_batch_is_bounded() -> None:
    assert len(read_request(b"[%b]" % b",".join([b"{}"] * 100), LIMITS)) == 100
    with pytest.raises(BatchTooLargeError):
        read_request(b"[%b]" % b",".join([b"{}"] * 101), LIMITS)


@pytest.mark.parametrize(
    "data", [b"1.10", b"18446744073709551617", b"1e-400", b'{"b" : 1 ,\n"a":2}', b'"\\u00e9\\/"', b"null", b'""', b"-0"]
)
def test_data_is_kept_verbatim(data: bytes) -> None:
    assert bytes(one(b'[{ "data" : %b }]' % data).fields["data"]) == data


def test_non_ascii_is_escaped_once() -> None:
    message = one('[{"data":"é👋\\u00e9"}]'.encode())
    assert message.raw("data") == b'"\\u00e9\\ud83d\\udc4b\\u00e9"'


@pytest.mark.parametrize("element", [b"{}", b"1"])
def test_large_batch_is_refused_before_it_is_looked_at(element: bytes) -> None:
    with pytest.raises(BatchTooLargeError):
        read_request(b"[%b]" % b",".join([element] * 100_000), LIMITS)


def test_last_of_repeated_members_counts() -> None:
    assert one(b'[{"channel":"/a","channel":"/b"}]').text("channel") == "/b"


def test_sizes_are_those_of_the_messages() -> None:
    text = b'{"channel":"/a","data":"%b"}' % (b"x" * 40_000)
    assert [message.size for message in read_request(b"[%b, %b ]" % (text, text), LIMITS)] == [len(text), len(text)]


@pytest.mark.parametrize(
    ("message", "extra"),
    [
        ({"channel": "/a", "data": 1, "clientId": "c", "id": "1", "advice": {}, "successful": True, "error": "e"}, {}),
        ({"subscription": "/a", "connectionType": "x", "version": "1", "minimumVersion": "1", "supportedConnectionTypes": []}, {}),
        ({"authentication": {"token": "t"}}, {}),
        ({"priority": 3, "größe": [1.5]}, {"priority": 3, "größe": [1.5]}),
        ({"ext": {}}, {}),
        ({"ext": {"ack": 1}}, {"ext": {"ack": 1}}),
        ({"ext": {"authentication": {"token": "t"}}}, {}),
        ({"ext": {"authentication": {"token": "t"}, "trace": "x"}}, {"ext": {"trace": "x"}}),
        ({'"': 1, "\\": 2}, {'"': 1, "\\": 2}),
    ],
)
def test_extra_holds_the_unknown_members(message: dict[str, Any], extra: dict[str, Any]) -> None:
    encoded = one(json.dumps([message]).encode()).extra()
    assert encoded.isascii()
    assert json.loads(b'{"x":0%b}' % encoded) == {"x": 0, **extra}


# -- one wrong message among good ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"channel": 1}, "400:channel:message_invalid"),
        ({"channel": ["/a"]}, "400:channel:message_invalid"),
        ({"channel": None}, "400::channel_missing"),
        ({}, "400::channel_missing"),
        ({"channel": ""}, "405::channel_invalid"),
        ({"channel": "a"}, "405::channel_invalid"),
        ({"channel": "/a b"}, "405::channel_invalid"),
        ({"channel": "/a//b"}, "405::channel_invalid"),
        ({"channel": "/" + "a" * 255}, "405::channel_invalid"),
        ({"channel": "/a" * 17}, "405::channel_invalid"),
        ({"channel": "/ä"}, "405::channel_invalid"),
        ({"channel": "/a", "clientId": 1}, "400:clientId:message_invalid"),
        ({"channel": "/a", "clientId": {}}, "400:clientId:message_invalid"),
        ({"channel": "/a", "clientId": None}, "402::session_unknown"),
        ({"channel": "/a", "id": {}}, "400:id:message_invalid"),
        ({"channel": "/a", "id": [1]}, "400:id:message_invalid"),
        ({"channel": "/a", "id": True}, "400:id:message_invalid"),
        ({"channel": "/a", "ext": []}, "400:ext:message_invalid"),
        ({"channel": "/a", "ext": "x"}, "400:ext:message_invalid"),
        ({"channel": "/a", "advice": "x"}, "400:advice:message_invalid"),
        ({"channel": "/meta/connect", "advice": {"timeout": "0"}}, "400:advice.timeout:message_invalid"),
        ({"channel": "/meta/connect", "advice": {"timeout": 1.5}}, "400:advice.timeout:message_invalid"),
        ({"channel": "/meta/connect", "advice": {"interval": "0"}}, "400:advice.interval:message_invalid"),
        ({"channel": "/meta/connect", "connectionType": 1}, "400:connectionType:message_invalid"),
        ({"channel": "/meta/subscribe", "subscription": 1}, "403::subscription_invalid"),
        ({"channel": "/meta/subscribe", "subscription": {}}, "403::subscription_invalid"),
        ({"channel": "/meta/subscribe", "subscription": [1]}, "403::subscription_invalid"),
        ({"channel": "/meta/subscribe", "subscription": []}, "403::subscription_invalid"),
        ({"channel": "/meta/subscribe", "subscription": None}, "403::subscription_missing"),
        ({"channel": "/meta/unsubscribe"}, "403::subscription_missing"),
    ],
)
async def test_wrong_member_is_answered_and_harms_no_other(wrong: dict[str, Any], error: str) -> None:
    client = await Bayeux().client()
    message = {"id": "7", "clientId": client.id, "data": 1, **wrong}
    good = [client.message("/a", id=number, data=number) for number in (1, 2)]
    before, reply, after = await client.post(good[0], message, good[1])
    assert (before["successful"], after["successful"]) == (True, True)
    assert (reply["successful"], reply["error"]) == (False, error)
    assert reply.get("id") == (None if "id" in wrong else "7")
    assert reply.get("advice") == (RETRY if wrong.get("channel") == "/meta/connect" else None)


@pytest.mark.parametrize("wrong", [{"ext": 1}, {"supportedConnectionTypes": "long-polling"}, {"supportedConnectionTypes": [1]}, {"id": []}])
async def test_wrong_member_of_a_handshake(wrong: dict[str, Any]) -> None:
    (reply,) = await Bayeux().post(handshake(**wrong))
    (name,) = wrong
    assert (reply["successful"], reply["error"], reply["advice"]) == (False, f"400:{name}:message_invalid", NONE)


@pytest.mark.parametrize("identifier", ["5", "ü", "", 5, -1.5, 12345678901234567890123])
async def test_id_is_echoed_as_it_came(identifier: object) -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.message("/a", id=identifier, data=1))
    assert reply["id"] == identifier


async def test_id_is_left_out_where_there_was_none() -> None:
    client = await Bayeux().client()
    (reply,) = await client.post({"channel": "/a", "clientId": client.id, "data": 1})
    assert reply == {"channel": "/a", "successful": True}


async def test_numbers_that_nothing_can_hold() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    timeout = b'[{"channel":"/meta/connect","clientId":"%b","advice":{"timeout":%b}}]' % (client.id.encode(), b"1" * 5000)
    assert b'"400:advice.timeout:message_invalid"' in array((await bayeux.request(timeout)).parts())
    token = b'[{"channel":"/meta/handshake","supportedConnectionTypes":["websocket"],"ext":{"authentication":{"token":1e999}}}]'
    assert b'"400:ext.authentication:message_invalid"' in array((await bayeux.request(token)).parts())


@pytest.mark.parametrize("number", [b"1e400", b"9" * 5000], ids=["1e400", "5,000 digits"])
@pytest.mark.parametrize(("member", "field"), [(b'"data":[%b]', "data"), (b'"data":1,"more":{"n":%b}', "message")], ids=["data", "more"])
async def test_published_numbers_that_readers_may_refuse_are_refused_alone(number: bytes, member: bytes, field: str) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    bad = b'{"channel":"/a","clientId":"%b",%b}' % (client.id.encode(), member % number)
    good = b'{"channel":"/a","clientId":"%b","data":"1e400"}' % client.id.encode()
    first, second = json.loads(array((await bayeux.request(b"[%b,%b]" % (bad, good), client.peer)).parts()))
    assert first == {"channel": "/a", "successful": False, "error": f"400:{field}:message_invalid"}
    assert second == {"channel": "/a", "successful": True}


async def test_large_message_is_refused_alone() -> None:
    client = await Bayeux().client()
    large = client.message("/a", data="x" * LIMITS.max_message_bytes)
    reply, good = await client.post(large, client.message("/a", id="10", data=1))
    assert reply == {"id": "9", "channel": "/a", "successful": False, "error": "413::message_too_large"}
    assert good == {"id": "10", "channel": "/a", "successful": True}
    assert client.bayeux.server.counters.too_large == 1


async def test_message_of_the_limit_passes() -> None:
    client = await Bayeux().client()
    frame = len(json.dumps(client.message("/a", data="")))
    (reply,) = await client.post(client.message("/a", data="x" * (LIMITS.max_message_bytes - frame)))
    assert reply["successful"]


def test_size_is_that_of_the_senders_own_text() -> None:
    """Escaped, each letter would be six bytes; a lone surrogate escape elsewhere in a large request changes nothing."""
    letters = '[{"channel":"/a","data":"%s"}]' % ("ж" * 30_000)
    (message,) = read_request(letters.encode(), LIMITS)
    assert message.size <= LIMITS.max_message_bytes
    large = letters.replace("[", '[{"channel":"/a","data":"' + "x" * 70_000 + r'\ud83d"},')
    sizes = [each.size for each in read_request(large.encode(), LIMITS)]
    assert sizes[0] > LIMITS.max_message_bytes
    assert sizes[1] == len(letters.encode()) - 2
