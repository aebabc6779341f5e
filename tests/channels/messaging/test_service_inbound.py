"""Messages that third parties bring: taken once and whole, told on the hub, kept as they were written; or refused, and why."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from channels.messaging import routes_third_party
from channels.messaging.parsing import read_inbound
from hub.storage.transactions import StorageError
from tests.channels.messaging.support import CONSUMER, MAIL, NEXUS, SMS, Exchange, receipt, signature, text_from, text_to

PATH = f"/{SMS}/messages"
RICH = {**text_from(), "type": "RichMedia"}


async def refused(exchange: Exchange, value: Any, *, channel: str = SMS, status: int = 400) -> tuple[str, str]:
    """(field, message) of a request that is refused."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    answer = await exchange.third("POST", f"/{channel}/messages", body)
    assert answer.status_code == status, answer.text
    told = answer.json()["status"]
    assert told["code"] == status
    assert set(told["detail"]) == {"field", "expected", "got"}
    return told["detail"]["field"], told["message"]


# -- taken ----------------------------------------------------------------------------------------------------------------


async def test_a_message_is_kept_and_told(exchange: Exchange) -> None:
    await exchange.channel()
    (identifier,) = await exchange.come(text_from("Grüße 😀", own=[1, {"a": None}]))
    await exchange.told(identifier, "received")
    (told,) = exchange.heard.messages()
    assert told == await exchange.rest("GET", f"{PATH}/{identifier}")
    assert told["message"] == text_from("Grüße 😀", own=[1, {"a": None}])
    assert (told["direction"], told["from"], told["type"]) == ("inbound", {"id": CONSUMER}, "Text")
    assert told["recipients"] == [{"id": SMS, "state": "received"}]


async def test_what_is_told_is_ascii(light: Exchange) -> None:
    await light.channel()
    (identifier,) = await light.come(text_from("Grüße 😀"))
    answer = await light.send("GET", f"/api/v1/messaging/channels{PATH}/{identifier}", headers={"Authorization": "Bearer desk"})
    assert answer.content.isascii()
    assert answer.json()["data"]["message"]["text"] == "Grüße 😀"


async def test_ids_rise_even_when_the_clock_does_not(exchange: Exchange) -> None:
    await exchange.channel()
    exchange.clock.now_ms = 2_000
    first = await exchange.come(text_from("1"), text_from("2"))
    exchange.clock.now_ms = 1_000
    second = await exchange.come(text_from("3"))
    exchange.clock.now_ms = 3_000
    assert [*first, *second, *await exchange.come(text_from("4"))] == ["2000-0", "2000-1", "2000-2", "3000-0"]


async def test_a_repeat_has_the_id_of_the_first(exchange: Exchange) -> None:
    await exchange.channel()
    first = await exchange.come(text_from(messageId="m1"))
    exchange.clock.now_ms += 5
    assert await exchange.come(text_from("again", messageId="m1"), text_from(messageId="m2"), text_from(messageId="m2")) != first
    assert (await exchange.come(text_from(messageId="m1"))) == first
    kept = (await exchange.rest("GET", PATH))["messages"]
    assert [each["messageId"] for each in kept] == ["m2", "m1"]
    assert (exchange.counters.inbound, exchange.counters.repeats) == (2, 3)


async def test_channels_do_not_share_ids_of_messages(light: Exchange) -> None:
    await light.channel()
    await light.channel("999")
    await light.come(text_from(messageId="m1"))
    await light.come(text_from(messageId="m1"), channel="999")
    assert light.counters.inbound == 2


async def test_an_email_comes_in(exchange: Exchange) -> None:
    await exchange.channel(MAIL, "email")
    message = {
        "channel": {"from": {"id": "ana@example.com", "name": "Ana"}, "to": [{"id": "help@company.com"}, {"id": "b@company.com"}]},
        "type": "Email",
        "subject": "Help",
        "context": {"replyTo": {"id": "ana@example.org"}},
        "content": [{"type": "text", "text": "I need help"}, {"type": "html", "text": "<p>I need help"}],
    }
    (identifier,) = await exchange.come(message, channel=MAIL)
    kept = await exchange.rest("GET", f"/{MAIL}/messages/{identifier}")
    assert kept["message"] == message
    assert [each["id"] for each in kept["recipients"]] == ["help@company.com", "b@company.com"]
    assert kept["from"] == {"id": "ana@example.com", "name": "Ana"}


async def test_messages_and_receipts_in_one_request(exchange: Exchange) -> None:
    await exchange.channel()
    out = await exchange.go(text_to())
    ids = await exchange.come(receipt(out), text_from("a"), receipt(out, "Removed"), text_from("b"))
    assert len(ids) == 2
    assert await exchange.state(out) == "removed"


async def test_a_large_message_is_told_without_what_it_says(exchange: Exchange) -> None:
    await exchange.channel()
    (identifier,) = await exchange.come(text_from("x" * 40_000))
    await exchange.told(identifier, "received")
    assert "message" not in exchange.heard.messages()[0]
    assert (await exchange.rest("GET", f"{PATH}/{identifier}"))["message"]["text"] == "x" * 40_000


async def test_a_name_that_stands_twice_counts_as_its_last(light: Exchange) -> None:
    """What was checked is what is kept: both parsers take the last one."""
    await light.channel()
    bad, good = json.dumps([{"type": "?"}, {"type": "?"}]), json.dumps([text_from("good")])
    body = f'{{"messages":{bad},"messages":{good}}}'.encode()
    answer = await light.third("POST", PATH, body)
    assert answer.status_code == 200, answer.text
    (identifier,) = answer.json()["data"]["ids"]
    assert (await light.rest("GET", f"{PATH}/{identifier}"))["message"] == text_from("good")


# -- refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: expected JSON text, got nothing"),
        (b"  ", "body: expected JSON text, got nothing"),
        (b"{", "body: expected JSON text, got a fault"),
        (b"\xff", "body: expected UTF-8"),
        (b"\xef\xbb\xbf{}", "body: expected JSON text, got a byte order mark"),
        (b'{"messages":[NaN]}', "body: expected JSON text, got a fault"),
        (b'{"messages":[{"type":"Text","text":1e999}]}', "body: expected numbers that a double holds"),
        (b"[]", 'body: expected an object with "messages", got []'),
        (b"{}", "messages: expected an array of at least one message, got null"),
        (b'{"messages":{}}', "messages: expected an array of at least one message, got {}"),
        (b'{"messages":[]}', "messages: expected an array of at least one message, got []"),
        (b'{"messages":[5]}', "messages.0: expected a message (a JSON object), got 5"),
    ],
    ids=["empty", "blank", "cut", "no-utf8", "bom", "nan", "huge", "list", "no-messages", "object", "none", "number"],
)
async def test_what_is_no_request(light: Exchange, body: bytes, said: str) -> None:
    await light.channel()
    _, message = await refused(light, body)
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "messages.1.type"),
        ({"type": "text"}, "messages.1.type"),
        ({"type": ["Text"]}, "messages.1.type"),
        ({"type": "Text", "text": "x"}, "messages.1.channel"),
        ({"type": "Text", "text": "x", "channel": 5}, "messages.1.channel"),
        (text_from(""), "messages.1.text"),
        ({**text_from(), "text": 5}, "messages.1.text"),
        (text_from(to=[]), "messages.1.channel.to"),
        (text_from(to=None), "messages.1.channel.to"),
        (text_from(to={"id": ""}), "messages.1.channel.to.0.id"),
        (text_from(to=[{"id": "1"}] * 101), "messages.1.channel.to"),
        (text_from(**{"from": {"id": 5}}), "messages.1.channel.from.id"),
        (text_from(**{"from": {"id": "x" * 256}}), "messages.1.channel.from.id"),
        (text_from(**{"from": {"id": "1\n"}}), "messages.1.channel.from.id"),
        (text_from(**{"from": {"id": "1", "name": "\u0000"}}), "messages.1.channel.from.name"),
        (text_from(messageId=5), "messages.1.channel.messageId"),
        (text_from(messageId=""), "messages.1.channel.messageId"),
        (text_from(messageId="x" * 256), "messages.1.channel.messageId"),
        ({**RICH, "content": []}, "messages.1.content"),
        ({**RICH, "content": [{"type": "text", "text": "x"}] * 51}, "messages.1.content"),
        ({**RICH, "content": [{"type": "page", "url": "https://a.example/"}]}, "messages.1.content.0"),
        ({**RICH, "content": [{"type": "image"}]}, "messages.1.content.0.url"),
        ({**RICH, "content": [{"type": "image", "url": "http://a.example/"}]}, "messages.1.content.0.url"),
        ({**RICH, "content": [{"type": "image", "url": "javascript:alert(1)"}]}, "messages.1.content.0.url"),
        ({**RICH, "content": [{"type": "image", "url": "https://a.example/" + "x" * 2048}]}, "messages.1.content.0.url"),
        ({**RICH, "content": [{"type": "image", "url": "genesys://nexus/none"}]}, "messages.1.content.0.url"),
        ({**RICH, "content": [{"type": "image", "url": "genesys://nexus/../../etc/passwd"}]}, "messages.1.content.0.url"),
        (receipt("m1", "Read"), "messages.1.status"),
        (receipt("m1", "delivered"), "messages.1.status"),
        (receipt(""), "messages.1.channel.messageId"),
        (receipt("m1", "Failed", 999), "messages.1.reasons.0.code"),
        ({**receipt("m1", "Failed"), "reasons": [{"code": "350"}]}, "messages.1.reasons.0.code"),
        ({**receipt("m1", "Failed"), "reasons": [{}]}, "messages.1.reasons.0.code"),
        (receipt("m1", "Delivered", 350), "messages.1.reasons"),
        (receipt("m1", "Failed", *[350] * 21), "messages.1.reasons"),
        ({**text_from(), "type": "Email"}, "messages.1.content"),
        ({**text_from(), "type": "Email", "content": [{"type": "text", "text": "x"}]}, "messages.1.type"),
    ],
)
async def test_a_message_that_is_wrong(light: Exchange, message: dict[str, Any], field: str) -> None:
    """The field is named, and nothing of the request is taken: not what was right before it either."""
    await light.channel()
    named, _ = await refused(light, {"messages": [text_from(), message]})
    assert named == field
    assert (await light.rest("GET", PATH))["messages"] == []
    assert light.counters.refused_requests == 1


async def test_a_channel_of_emails_takes_nothing_else(light: Exchange) -> None:
    await light.channel(MAIL, "email")
    field, message = await refused(light, {"messages": [text_from()]}, channel=MAIL)
    assert field == "messages.0.type"
    assert message == 'messages.0.type: expected Email, which channels of type email carry, got "Text"'


SMALL = pytest.mark.parametrize("light", [{"max_body_bytes": 1024, "max_messages": 2, "max_depth": 6}], indirect=True, ids=["small"])


@SMALL
async def test_more_bytes_than_a_request_may_have(light: Exchange) -> None:
    await light.channel()
    await light.come(text_from("x" * 800))
    field, message = await refused(light, {"messages": [text_from("x" * 1024)]}, status=413)
    assert (field, message.startswith("body: expected at most 1024 bytes, got 1")) == ("body", True)


@SMALL
async def test_a_body_that_does_not_say_how_long_it_is(light: Exchange) -> None:
    await light.channel()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 500

    headers = {"x-ccid": "acme", "X-Hub-Signature": signature(b" " * 1500)}
    answer = await light.send("POST", f"{NEXUS}{PATH}", content=pieces(), headers=headers)
    assert (answer.status_code, answer.json()["status"]["detail"]["got"]) == (413, "more")


@SMALL
async def test_more_messages_than_a_request_may_have(light: Exchange) -> None:
    await light.channel()
    assert len(await light.come(text_from("1"), text_from("2"))) == 2
    assert await refused(light, {"messages": [text_from()] * 3}, status=413) == ("messages", "messages: expected at most 2, got 3")


@SMALL
async def test_deeper_than_a_request_may_be(light: Exchange) -> None:
    await light.channel()
    await light.come(text_from(own=[[]]))
    field, message = await refused(light, {"messages": [text_from(own=[[[[]]]])]})
    assert field == "body"
    assert "6" in message


async def test_a_message_of_more_members_than_are_checked_at_once(light: Exchange) -> None:
    await light.channel()
    many = {f"m{number}": number for number in range(3000)}
    field, message = await refused(light, {"messages": [text_from(), text_from(own=many)]}, status=413)
    assert (field, message) == ("messages.1", 'messages.1: expected at most 2000 members and elements, got "more"')
    assert (await light.rest("GET", PATH))["messages"] == []


async def test_the_bound_on_members_is_of_each_message(light: Exchange) -> None:
    await light.channel()
    assert len(await light.come(*(text_from(own=dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 1)) for _ in range(100)))) == 100


async def test_a_large_request_is_checked_apart_from_the_event_loop(light: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []

    def noted(*given: Any) -> Any:
        checked.append(threading.current_thread() is threading.main_thread())
        return read_inbound(*given)

    monkeypatch.setattr(routes_third_party, "read_inbound", noted)
    await light.channel()
    await light.come(text_from())
    await light.come(*(text_from("x" * 1000) for _ in range(100)))
    assert checked == [True, False]


async def test_a_database_that_is_away_takes_nothing(light: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    await light.channel()

    async def away(_operation: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(light.transactions, "write", away)
        answer = await light.third("POST", PATH, json.dumps({"messages": [text_from()]}).encode())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "disk" not in answer.text
    assert (await light.rest("GET", PATH))["messages"] == []


async def test_the_trace_goes_with_what_follows(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.outbox.stop()  # it deletes events that no endpoint takes as soon as it has told them
    await exchange.come(text_from(), headers={"X-B3-TraceId": "5767ea58-1511-4a98-bc56-7f34c43e3a51"})
    await exchange.come(text_from(), headers={"X-B3-TraceId": "not a trace"})
    rows = await exchange.transactions.read(lambda tx: tx.rows("SELECT trace_id FROM outbox_events ORDER BY id"))
    assert rows[0] == ("5767ea58-1511-4a98-bc56-7f34c43e3a51",)
    assert rows[1][0] not in ("", "not a trace")


async def test_optional_members_may_be_null(light: Exchange) -> None:
    await light.channel()
    await light.channel(MAIL, "email")
    way = {"from": {"id": "ana@example.com", "name": None}, "to": [{"id": MAIL}], "messageId": None}
    mail = {"type": "Email", "channel": way, "context": None, "subject": None, "content": [{"type": "text", "text": "x"}]}
    assert await light.come(mail, channel=MAIL)
    assert await light.come(text_from(messageId=None))
    sent = await light.go(text_to(messageId=None, **{"from": None}))
    assert await light.come({**receipt(sent), "reasons": None}) == []


async def test_nul_in_a_text_is_refused(exchange: Exchange) -> None:
    await exchange.channel()
    body = json.dumps({"messages": [text_from("a\x00b")]}).encode()
    answer = await exchange.third("POST", f"/{SMS}/messages", body)
    assert (answer.status_code, answer.json()["status"]["detail"]["field"]) == (400, "body")
    refused = await exchange.rest("POST", f"/{SMS}/messages", text_to("a\x00b"), caller="desk", status=400)
    assert "without NUL" in refused["message"]
