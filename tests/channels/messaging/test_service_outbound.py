"""What goes out: to receivers that answer as they please, in order, once; refused where it could not arrive."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from channels.messaging import routes_messages
from channels.messaging.message_status import STATE, conversation
from channels.messaging.models import Channel
from channels.messaging.parsing import read_outbound
from channels.messaging.publisher import messages_channel
from channels.messaging.service_channels import POLICY
from hub.outbox import endpoint_store
from hub.outbox.models import NO_ENDPOINT, OutboxEvent
from hub.outbox.sign import verify, verify_standard
from hub.storage.transactions import Transaction
from tests.channels.messaging.support import CONSUMER, MAIL, PUBLIC_URL, SECRET, SMS, Exchange, form, mail_to, text_to

PATH = f"/{SMS}/messages"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def rich(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"channel": {"to": {"id": CONSUMER}}, "type": "RichMedia", "content": list(parts)}


# -- how the receiver behaves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_2xx_is_done(light: Exchange, status: int) -> None:
    await light.channel()
    light.receiver.answers = [(status, b"")]
    identifier = await light.go(text_to())
    await light.told(identifier, "accepted", "sent")
    assert (len(light.receiver.got), light.counters.sent) == (1, 1)


@pytest.mark.parametrize("status", [500, 503, 301, 429])
async def test_what_is_delivered_again(exchange: Exchange, status: int) -> None:
    await exchange.channel()
    exchange.receiver.answers = [(status, b""), (status, b""), (200, b"{}")]
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted", "sent")
    first, second, third = exchange.receiver.got
    assert first.body == second.body == third.body
    assert [each.headers["x-hub-attempt"] for each in exchange.receiver.got] == ["1", "2", "3"]
    assert len({each.headers["webhook-id"] for each in exchange.receiver.got}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_4xx_is_final(light: Exchange, status: int) -> None:
    await light.channel()
    light.receiver.answers = [(status, b""), (200, b"{}")]
    first, second = await light.go(text_to()), await light.go(text_to())
    await light.told(first, "accepted", "failed")
    await light.told(second, "accepted", "sent")
    assert len(light.receiver.got) == 2, "the next one goes out, the refused one does not again"
    assert (await light.rest("GET", f"{PATH}/{first}"))["error"] == f"answered {status}, expected 2xx"
    assert light.counters.failed == 1


async def test_who_is_gone_gets_nothing_more(light: Exchange) -> None:
    await light.channel()
    light.receiver.answers = [(410, b"")]
    identifier = await light.go(text_to())
    await light.told(identifier, "accepted", "failed")
    webhook = (await light.rest("GET", f"/{SMS}"))["webhook"]
    assert (webhook["enabled"], webhook["disabledReason"]) == (False, "the receiver answered 410: it is gone")


async def test_after_the_last_attempt_it_has_failed(exchange: Exchange) -> None:
    await exchange.channel()
    exchange.receiver.answers = [(500, b"")]
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted", "failed")
    assert len(exchange.receiver.got) == 3


async def test_who_hangs_is_called_again(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.transactions.write(lambda tx: with_timeout(exchange, tx, 200))
    exchange.receiver.answers = [None, (200, b"{}")]
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted", "sent")
    assert len(exchange.receiver.got) == 2
    attempts = await exchange.transactions.read(lambda tx: tx.rows("SELECT error FROM attempts ORDER BY number"))
    assert [each[0] for each in attempts] == ["no answer within 0.2 s", ""]


def test_the_limit_is_ten_seconds() -> None:
    assert POLICY.timeout_ms == 10_000


def with_timeout(exchange: Exchange, tx: Transaction, timeout_ms: int) -> None:
    """Give the endpoint of the one channel another time-out."""
    (endpoint,) = endpoint_store.of_tenant(tx, "acme")
    exchange.outbox.save_endpoint(tx, replace(endpoint, policy=endpoint.policy._replace(timeout_ms=timeout_ms)))


async def test_one_channel_that_hangs_costs_the_others_nothing(light: Exchange) -> None:
    await light.channel()
    await light.channel("999")
    light.receiver.answers = [None, (200, b"{}")]
    await light.go(text_to())
    await light.until(lambda: len(light.receiver.got) == 1)
    other = await light.go(text_to(), "999")
    await light.told(other, "accepted", "sent", channel="999")


# -- what is sent -------------------------------------------------------------------------------------------------------


async def test_both_families_of_signatures_hold(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.go(text_to("Grüße"))
    await exchange.until(lambda: len(exchange.receiver.got) == 1)
    headers, body = exchange.receiver.got[0].headers, exchange.receiver.got[0].body
    assert verify(SECRET, body, headers["x-hub-signature"])
    assert verify(SECRET, body, headers["x-hub-signature-256"])
    assert verify_standard(SECRET, body, headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"])
    assert headers["content-type"] == "application/json"
    assert headers["x-b3-traceid"]
    assert json.loads(body)["text"] == "Grüße"


async def test_the_new_secret_signs_after_a_rotation(light: Exchange) -> None:
    await light.channel()
    await light.rest("POST", f"/{SMS}/rotate-secret", {"secret": "a fresh secret"})
    await light.go(text_to())
    await light.until(lambda: len(light.receiver.got) == 1)
    request = light.receiver.got[0]
    assert verify("a fresh secret", request.body, request.headers["x-hub-signature"])


async def test_messages_to_a_consumer_keep_their_order(exchange: Exchange) -> None:
    await exchange.channel()
    exchange.receiver.answers = [(500, b""), (500, b""), (200, b"{}")]
    ids = [await exchange.go(text_to(str(number))) for number in range(4)]
    await exchange.until(lambda: sum(state == "sent" for _, state in exchange.heard.states()) == 4)
    assert [each["text"] for each in exchange.receiver.bodies()] == ["0", "0", "0", "1", "2", "3"]
    assert [each for each, state in exchange.heard.states() if state == "sent"] == ids


async def test_consumers_do_not_wait_for_one_another(light: Exchange) -> None:
    await light.channel()
    light.receiver.answers = [None, (200, b"{}")]
    await light.go(text_to())
    await light.until(lambda: len(light.receiver.got) == 1)
    other = await light.go(text_to(to={"id": "999"}))
    await light.told(other, "accepted", "sent")


@pytest.mark.parametrize(
    ("sender", "given", "expected"),
    [
        (None, None, {"id": SMS}),
        ({"id": "Shop", "name": "The shop"}, None, {"id": "Shop", "name": "The shop"}),
        ({"id": "Shop"}, {"id": "555", "name": "Ben"}, {"id": "555", "name": "Ben"}),
    ],
    ids=["the-channel", "the-channels-sender", "the-messages-own"],
)
async def test_whom_it_is_from(light: Exchange, sender: Any, given: Any, expected: Any) -> None:
    await light.channel(sender=sender)
    await light.go(text_to(**({"from": given} if given else {})))
    await light.until(lambda: len(light.receiver.got) == 1)
    assert light.receiver.bodies()[0]["channel"]["from"] == expected


async def test_an_email_needs_a_sender(light: Exchange) -> None:
    await light.channel(MAIL, "email")
    message = mail_to("ana@example.com")
    del message["channel"]["from"]
    refused = await light.rest("POST", f"/{MAIL}/messages", message, status=400)
    assert refused["detail"]["field"] == "channel.from"


async def test_a_recipient_who_is_named_twice_gets_it_once(light: Exchange) -> None:
    await light.channel(MAIL, "email")
    await light.go(mail_to("ana@example.com", "ana@example.com"), MAIL)
    await light.until(lambda: len(light.receiver.got) == 1)
    assert light.receiver.bodies()[0]["channel"]["to"] == [{"id": "ana@example.com"}]


async def test_a_rich_message_has_links_that_answer(exchange: Exchange) -> None:
    await exchange.channel()
    body, headers = form(PNG, "a.png", "image/png")
    uploaded = await exchange.send(
        "POST", f"/api/v1/messaging/channels/{SMS}/media", content=body, headers=headers | {"Authorization": "Bearer desk"}
    )
    url = uploaded.json()["data"]["url"]
    outside = "https://cdn.example.com/film.mp4"
    await exchange.go(rich({"type": "text", "text": "Look"}, {"type": "image", "url": url}, {"type": "video", "url": outside}))
    await exchange.until(lambda: len(exchange.receiver.got) == 1)
    text, image, video = exchange.receiver.bodies()[0]["content"]
    assert (text, video) == ({"type": "text", "text": "Look"}, {"type": "video", "url": outside})
    link = image.pop("url")
    assert image == {"type": "image", "filename": "a.png", "mimetype": "image/png", "length": len(PNG)}
    assert link.startswith(f"{PUBLIC_URL}/nexus/v3/channels/{SMS}/media/")
    fetched = await exchange.send("GET", link.removeprefix(PUBLIC_URL))
    assert (fetched.status_code, fetched.content) == (200, PNG)


# -- taken once, or not ---------------------------------------------------------------------------------------------------


async def test_a_repeat_is_not_sent_again(exchange: Exchange) -> None:
    await exchange.channel()
    first = await exchange.go(text_to(messageId="m1"))
    assert await exchange.go(text_to("other words", messageId="m1")) == first
    await exchange.told(first, "accepted", "sent")
    assert len(exchange.receiver.got) == 1
    assert exchange.receiver.bodies()[0]["channel"]["messageId"] == "m1"
    assert exchange.counters.repeats == 1


async def test_an_own_id_does_not_look_like_the_hubs(light: Exchange) -> None:
    await light.channel()
    refused = await light.rest("POST", PATH, text_to(messageId="1613474523265-0"), status=400)
    assert refused["detail"]["field"] == "channel.messageId"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ([], "body"),
        ({}, "type"),
        ({**text_to(), "type": "Receipt"}, "type"),
        (text_to(""), "text"),
        ({**text_to(), "txt": "x"}, "txt"),
        (text_to(to={"id": CONSUMER, "nmae": "x"}), "channel.to.nmae"),
        (text_to(to=[{"id": CONSUMER}]), "channel.to"),
        (text_to(id=SMS), "channel.id"),
        (mail_to("ana@example.com"), "type"),
        (rich(), "content"),
        (rich({"type": "image", "url": "genesys://nexus/bb4a9f86-dbbb-4464-a669-650da94fbad6"}), "content.0.url"),
        (rich({"type": "image", "url": "file:///etc/passwd"}), "content.0.url"),
        (rich({"type": "text", "text": "x", "url": "https://a.example/"}), "content.0.url"),
    ],
)
async def test_a_message_that_is_wrong(light: Exchange, message: Any, field: str) -> None:
    await light.channel()
    refused = await light.rest("POST", PATH, message, caller="desk", status=400)
    assert refused["detail"]["field"] == field
    assert (await light.rest("GET", PATH))["messages"] == []


async def test_media_of_another_channel_do_not_go_out(light: Exchange) -> None:
    await light.channel()
    await light.channel("999")
    url = (await light.upload(PNG)).json()["data"]["url"]
    refused = await light.rest("POST", "/999/messages", rich({"type": "image", "url": url}), status=400)
    assert refused["detail"]["field"] == "content.0.url"


async def test_without_a_webhook_nothing_is_taken(exchange: Exchange) -> None:
    await exchange.channel(webhook=None)
    refused = await exchange.rest("POST", PATH, text_to(), status=409)
    assert refused["detail"]["field"] == "webhook"


async def test_while_the_webhook_is_disabled_messages_wait(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.rest("PATCH", f"/{SMS}", {"enabled": False})
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted")
    assert exchange.receiver.got == []
    await exchange.rest("PATCH", f"/{SMS}", {"enabled": True})
    await exchange.told(identifier, "accepted", "sent")


async def test_a_message_that_is_too_old_to_be_kept_is_forgotten_by_its_webhook(light: Exchange) -> None:
    """The end of a delivery whose message is gone changes nothing and breaks nothing."""
    await light.channel()
    light.receiver.answers = [(500, b""), (200, b"{}")]
    await light.rest("PATCH", f"/{SMS}", {"enabled": False})
    await light.go(text_to())
    await light.transactions.write(lambda tx: tx.run("DELETE FROM messaging_messages"))
    await light.rest("PATCH", f"/{SMS}", {"enabled": True})
    await light.until(lambda: light.outbox.counters.delivered == 1)
    assert (light.counters.sent, light.outbox.counters.unrecorded) == (0, 0)


# -- told on the hub ------------------------------------------------------------------------------------------------------


async def test_a_state_that_is_told_twice_is_one(light: Exchange) -> None:
    """A hub that died between telling and noting it tells again, under the same name."""
    event = OutboxEvent(1, "acme", STATE, "k", "sms", "op-1", "t" * 32, NO_ENDPOINT, b'{"channelId":"0123456789"}', 0)
    (consumer,) = light.parts.outbox_consumers
    for each in (event, event, event._replace(id=2, operation_id="op-2"), event):
        await consumer.consume(each)
    assert light.heard.messages() == [{"channelId": SMS}] * 2


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (SMS, f"/nexus/v3/channels/{SMS}/messages"),
        ("company.com", "/nexus/v3/channels/company.com/messages"),
        ("+1650:a@b", "/nexus/v3/channels/+1650:a@b/messages"),
    ],
)
def test_the_channel_of_a_channel(channel: str, expected: str) -> None:
    assert messages_channel(channel) == expected


def test_a_conversation_of_many_has_a_key_that_fits() -> None:
    channel = Channel(7, "acme", SMS, "email", None, None, "ep_1", 0)
    many = [f"{number}@example.com" for number in range(100)]
    assert conversation(channel, ["b", "a"]) == conversation(channel, ["a", "b"]) == "messaging/7/a b"
    assert len(conversation(channel, many)) <= 255
    assert conversation(channel, many) != conversation(channel, many[1:])


async def test_a_message_of_more_members_than_are_checked_at_once(light: Exchange) -> None:
    await light.channel()
    message = {**text_to(), **{f"m{number}": number for number in range(3000)}}
    refused = await light.rest("POST", f"/{SMS}/messages", message, caller="desk", status=413)
    assert refused["message"] == 'body: expected at most 2000 members and elements, got "more"'


async def test_a_large_message_is_checked_apart_from_the_event_loop(light: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []

    def noted(*given: Any) -> Any:
        checked.append(threading.current_thread() is threading.main_thread())
        return read_outbound(*given)

    monkeypatch.setattr(routes_messages, "read_outbound", noted)
    await light.channel()
    for size in (10, 100_000):
        await light.go(text_to("x" * size))
    assert checked == [True, False]
