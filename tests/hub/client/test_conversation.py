from typing import Any

import msgspec
import orjson
import pytest

from hub.client import ALL, ProtocolError
from hub.client.conversation import Advice, Conversation, Heard, Message, Reply, encode


def read(conversation: Conversation, *messages: dict[str, Any]) -> list[Heard]:
    heard: list[Heard] = []
    conversation.receive(orjson.dumps(messages), heard.append)
    return heard


def shaken(*, ack: bool = True, positions: bool = True, ext: dict[str, Any] | None = None) -> Conversation:
    conversation = Conversation(ack=ack, positions=positions)
    request = conversation.handshake(["websocket"])
    reply = {"id": request["id"], "channel": "/meta/handshake", "successful": True, "clientId": "c1"}
    read(conversation, reply | {"ext": {"ack": True, "replay": True} if ext is None else ext})
    return conversation


def test_handshake_asks_for_the_extensions_and_shows_credentials() -> None:
    assert Conversation().handshake(["websocket", "long-polling"], {"token": "t"}) == {
        "id": "1",
        "channel": "/meta/handshake",
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": ["websocket", "long-polling"],
        "ext": {"ack": True, "replay": True, "authentication": {"token": "t"}},
    }


def test_plain_handshake_has_no_ext() -> None:
    assert "ext" not in Conversation(ack=False, positions=False).handshake(["websocket"])


def test_connects_carry_the_last_batch() -> None:
    conversation = shaken()
    first = conversation.connect("websocket", at_once=True)
    assert first["ext"] == {"ack": 0}
    assert first["advice"] == {"timeout": 0}
    read(conversation, {"id": first["id"], "channel": "/meta/connect", "successful": True, "ext": {"ack": 7}})
    second = conversation.connect("websocket", at_once=False)
    assert second["ext"] == {"ack": 7}
    assert "advice" not in second


def test_without_the_servers_word_nothing_is_acknowledged() -> None:
    conversation = shaken(ext={})
    assert "ext" not in conversation.connect("websocket", at_once=True)


def test_a_new_handshake_forgets_the_old_session() -> None:
    conversation = shaken()
    request = conversation.handshake(["websocket"])
    assert "clientId" not in request
    assert conversation.client_id is None
    assert conversation.ack is None


def test_subscribe_says_from_where() -> None:
    request = shaken().subscribe({"/a": ALL, "/b/**": 12, "/c": None})
    assert request["subscription"] == ["/a", "/b/**", "/c"]
    assert request["ext"] == {"replay": {"/a": -2, "/b/**": 12}}
    assert request["clientId"] == "c1"


def test_data_is_kept_as_it_came() -> None:
    heard: list[Heard] = []
    shaken().receive(b'[{"channel":"/a","data":{"price":1.10,"big":18446744073709551616}}]', heard.append)
    (message,) = heard
    assert isinstance(message, Message)
    assert message.text == '{"price":1.10,"big":18446744073709551616}'
    assert message.data == {"price": 1.1, "big": 2**64}


@pytest.mark.parametrize("data", ["null", "false", "0", '""', "[]", "{}"])
def test_falsy_data_is_data(data: str) -> None:
    heard: list[Heard] = []
    shaken().receive(f'[{{"channel":"/a","data":{data}}}]', heard.append)
    assert isinstance(heard[0], Message)
    assert heard[0].text == data


def test_positions_stand_in_the_data_or_beside_it() -> None:
    found = read(
        shaken(),
        {"channel": "/a", "data": {"event": {"replayId": 5}, "x": 1}},
        {"channel": "/a", "data": "text", "replayId": 6},
        {"channel": "/a", "data": {"event": "replayId"}},
    )
    assert [message.position for message in found if isinstance(message, Message)] == [5, 6, None]


def test_who_did_not_ask_for_positions_reads_none_out_of_others_data() -> None:
    (message,) = read(shaken(positions=False, ext={}), {"channel": "/a", "data": {"event": {"replayId": 5}}})
    assert isinstance(message, Message)
    assert message.position is None


def test_advice_keeps_the_time_that_it_does_not_mention() -> None:
    conversation = shaken()
    read(conversation, {"id": "9", "channel": "/meta/connect", "successful": True, "advice": {"reconnect": "retry", "timeout": 20000}})
    read(conversation, {"id": "9", "channel": "/meta/connect", "successful": False, "advice": {"reconnect": "handshake"}})
    assert conversation.advice == Advice(reconnect="handshake", interval=0, timeout=20000)


def test_a_publish_reply_is_no_message() -> None:
    (reply,) = read(shaken(), {"id": "4", "channel": "/a", "successful": False, "error": "403::denied"})
    assert isinstance(reply, Reply)
    assert (reply.id, reply.successful, reply.error) == ("4", False, "403::denied")


def test_an_answer_to_a_call_says_how_it_went() -> None:
    (message,) = read(shaken(), {"id": "4", "channel": "/service/x", "successful": False, "data": 1})
    assert isinstance(message, Message)
    assert (message.id, message.successful, message.data) == ("4", False, 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "'<html>'"),
        (b"", "''"),
        (b'{"channel":"/a"}', "array"),
        (b"[1]", "object"),
        (b'[{"data":1}]', "a channel"),
        (b'[{"channel":3}]', "str"),
        (b'[{"channel":"/a","data":"\xff"}]', "Bayeux messages"),
        (b'[{"channel":"/meta/handshake","successful":true}]', "clientId"),
    ],
)
def test_what_is_not_bayeux_is_said_so(body: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match="expected") as raised:
        Conversation().receive(body, lambda heard: None)
    assert why in str(raised.value)


def test_raw_data_is_sent_as_it_is() -> None:
    message = shaken().publish("/a", msgspec.Raw(b'{"price":1.10}'))
    assert b'"data":{"price":1.10}' in encode([message])


def test_what_is_no_json_is_refused_before_it_is_sent() -> None:
    with pytest.raises(TypeError, match="object"):
        encode([shaken().publish("/a", object())])
