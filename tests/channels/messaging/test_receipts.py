"""Receipts move the messages that they are for: in any order, any number of times, for one recipient or for all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.channels.messaging.support import MAIL, SMS, Exchange, mail_to, receipt, text_from, text_to

ANA, BEN = "ana@example.com", "ben@example.com"


async def sent(exchange: Exchange, message: dict[str, Any] | None = None, channel: str = SMS, answer: bytes = b"{}") -> str:
    """A message went out and was taken; returns its id."""
    exchange.receiver.answers = [(200, answer)]
    identifier = await exchange.go(message or text_to(), channel)
    await exchange.told(identifier, "accepted", "sent", channel=channel)
    return identifier


async def test_delivered_then_removed(exchange: Exchange) -> None:
    await exchange.channel()
    identifier = await sent(exchange)
    assert await exchange.come(receipt(identifier)) == []
    assert await exchange.state(identifier) == "delivered"
    await exchange.come(receipt(identifier, "Removed"))
    await exchange.told(identifier, "accepted", "sent", "delivered", "removed")
    assert exchange.counters.receipts == 2


async def test_failed_says_why(exchange: Exchange) -> None:
    await exchange.channel()
    identifier = await sent(exchange)
    await exchange.come(receipt(identifier, "Failed", 310, 500))
    kept = await exchange.rest("GET", f"/{SMS}/messages/{identifier}")
    assert kept["state"] == "failed"
    assert kept["recipients"] == [{"id": "16504661149", "state": "failed", "reasons": [{"code": 310}, {"code": 500}]}]
    assert "error" not in kept, "the webhook was taken"


@pytest.mark.parametrize("code", [305, 310, 350, 500, 510, 512, 520, 530])
async def test_every_reason_of_the_seed(light: Exchange, code: int) -> None:
    await light.channel()
    identifier = await sent(light)
    await light.come(receipt(identifier, "Failed", code))
    kept = await light.rest("GET", f"/{SMS}/messages/{identifier}")
    assert kept["recipients"][0]["reasons"] == [{"code": code}]


async def test_a_failure_without_a_reason(light: Exchange) -> None:
    await light.channel()
    identifier = await sent(light)
    await light.come(receipt(identifier, "Failed"))
    kept = await light.rest("GET", f"/{SMS}/messages/{identifier}")
    assert kept["recipients"] == [{"id": "16504661149", "state": "failed"}]


@pytest.mark.parametrize(
    "order",
    [("Delivered", "Delivered", "Removed"), ("Delivered", "Removed", "Delivered"), ("Removed", "Delivered", "Delivered")],
    ids="-".join,
)
async def test_out_of_order_and_repeated(light: Exchange, order: tuple[str, ...]) -> None:
    await light.channel()
    identifier = await sent(light)
    for status in (*order, *order):
        await light.come(receipt(identifier, status))
    assert await light.state(identifier) == "removed"
    ranks = {"accepted": 0, "sent": 1, "delivered": 2, "removed": 3}
    await light.until(lambda: (identifier, "removed") in light.heard.states())
    told = [ranks[state] for _, state in light.heard.states()]
    assert told == sorted(set(told)), "forward, and each state once"
    assert light.counters.receipts + light.counters.receipts_late == 6


@pytest.mark.parametrize("first", ["Delivered", "Failed"])
async def test_what_a_receipt_said_is_not_taken_back(light: Exchange, first: str) -> None:
    await light.channel()
    identifier = await sent(light)
    await light.come(receipt(identifier, first))
    await light.come(receipt(identifier, "Failed" if first == "Delivered" else "Delivered"))
    assert await light.state(identifier) == first.lower()
    assert light.counters.receipts_late == 1


async def test_a_receipt_that_is_faster_than_the_answer(exchange: Exchange) -> None:
    """The third party reports a delivery before its answer to the webhook has come."""
    await exchange.channel()
    exchange.receiver.answers = [None]
    identifier = await exchange.go(text_to())
    await exchange.until(lambda: len(exchange.receiver.got) == 1)
    await exchange.come(receipt(identifier))
    await exchange.told(identifier, "accepted", "delivered")


async def test_by_the_name_that_the_answer_gave(exchange: Exchange) -> None:
    await exchange.channel()
    identifier = await sent(exchange, answer=b'{"messageId": "their-7"}')
    assert (await exchange.rest("GET", f"/{SMS}/messages/{identifier}"))["receiverMessageId"] == "their-7"
    await exchange.come(receipt("their-7"))
    assert await exchange.state(identifier) == "delivered"


async def test_a_name_that_is_not_known_yet(exchange: Exchange) -> None:
    """The receipt waits for the answer that brings the name."""
    await exchange.channel()
    await exchange.come(receipt("their-7", "Delivered"), receipt("their-7", "Removed"))
    assert exchange.counters.receipts_unknown == 2
    exchange.receiver.answers = [(200, b'{"messageId": "their-7"}')]
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted", "sent", "delivered", "removed")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"OK",
        b"[]",
        b"{}",
        b'{"messageId": ""}',
        b'{"messageId": null}',
        b'{"messageId": true}',
        b'{"messageId": "a\\u0000"}',
        b'{"messageId": " a"}',
        b'{"messageId": "' + b"x" * 256 + b'"}',
        b"\xff\xfe",
    ],
    ids=["nothing", "text", "list", "none", "empty", "null", "bool", "nul", "blank", "long", "bytes"],
)
async def test_an_answer_without_a_usable_name(light: Exchange, answer: bytes) -> None:
    await light.channel()
    identifier = await sent(light, answer=answer)
    assert "receiverMessageId" not in await light.rest("GET", f"/{SMS}/messages/{identifier}")


async def test_a_name_that_is_a_number(light: Exchange) -> None:
    await light.channel()
    identifier = await sent(light, answer=b'{"messageId": 7}')
    await light.come(receipt("7"))
    assert await light.state(identifier) == "delivered"


async def test_by_the_senders_own_id(light: Exchange) -> None:
    await light.channel()
    identifier = await sent(light, text_to(messageId="f7acbac6"))
    await light.come(receipt("f7acbac6"))
    assert await light.state(identifier) == "delivered"


async def test_for_one_of_several(exchange: Exchange) -> None:
    await exchange.channel(MAIL, "email")
    identifier = await sent(exchange, mail_to(ANA, BEN), MAIL)
    await exchange.come(receipt(identifier, to={"id": ANA}), channel=MAIL)
    kept = await exchange.rest("GET", f"/{MAIL}/messages/{identifier}")
    assert (kept["state"], [each["state"] for each in kept["recipients"]]) == ("sent", ["delivered", "sent"])
    await exchange.come(receipt(identifier, to=[{"id": BEN}, {"id": ANA}]), channel=MAIL)
    assert await exchange.state(identifier, MAIL) == "delivered"


async def test_for_all_of_several(light: Exchange) -> None:
    await light.channel(MAIL, "email")
    identifier = await sent(light, mail_to(ANA, BEN), MAIL)
    await light.come(receipt(identifier), channel=MAIL)
    kept = await light.rest("GET", f"/{MAIL}/messages/{identifier}")
    assert [each["state"] for each in kept["recipients"]] == ["delivered", "delivered"]


async def test_for_somebody_else(light: Exchange) -> None:
    await light.channel(MAIL, "email")
    identifier = await sent(light, mail_to(ANA, BEN), MAIL)
    await light.come(receipt(identifier, to={"id": "eve@example.com"}), channel=MAIL)
    assert await light.state(identifier, MAIL) == "sent"
    assert light.counters.receipts_unknown == 1


async def test_the_only_recipient_however_it_is_written(light: Exchange) -> None:
    await light.channel()
    identifier = await sent(light)
    await light.come(receipt(identifier, to={"id": "+1 650 466 1149"}))
    assert await light.state(identifier) == "delivered"


async def test_a_consumer_takes_a_message_back(exchange: Exchange) -> None:
    await exchange.channel()
    first, second = await exchange.come(text_from(messageId="m1"), text_from())
    await exchange.come(receipt("m1", "Removed"), receipt(second, "Removed"), receipt(first, "Delivered"))
    assert [await exchange.state(each) for each in (first, second)] == ["removed", "removed"]
    assert exchange.counters.receipts == 2


async def test_receipts_reach_no_other_channel(exchange: Exchange) -> None:
    await exchange.channel()
    await exchange.channel("999")
    await exchange.channel(caller="foreign")
    identifier = await sent(exchange)
    await exchange.come(receipt(identifier, "Failed"), channel="999")
    await exchange.come(receipt(identifier, "Failed"), ccid="other")
    assert await exchange.state(identifier) == "sent"


async def test_after_it_was_given_up_a_receipt_knows_better(exchange: Exchange) -> None:
    await exchange.channel()
    exchange.receiver.answers = [(400, b"no")]
    identifier = await exchange.go(text_to())
    await exchange.told(identifier, "accepted", "failed")
    assert (await exchange.rest("GET", f"/{SMS}/messages/{identifier}"))["error"] == "answered 400, expected 2xx"
    await exchange.come(receipt(identifier))
    kept = await exchange.rest("GET", f"/{SMS}/messages/{identifier}")
    assert (kept["state"], "error" in kept) == ("delivered", False)


async def test_the_error_stays_while_somebody_has_not_got_it(light: Exchange) -> None:
    await light.channel(MAIL, "email")
    light.receiver.answers = [(400, b"no")]
    identifier = await light.go(mail_to(ANA, BEN), MAIL)
    await light.told(identifier, "accepted", "failed", channel=MAIL)
    await light.come(receipt(identifier, to={"id": ANA}), channel=MAIL)
    kept = await light.rest("GET", f"/{MAIL}/messages/{identifier}")
    assert ([each["state"] for each in kept["recipients"]], "error" in kept) == (["delivered", "failed"], True)


async def test_a_receipt_tells_of_the_change_on_the_hub(light: Exchange) -> None:
    await light.channel()
    identifier = await sent(light)
    light.clock.now_ms += 1_500
    await light.come(receipt(identifier, "Failed", 530))
    await light.told(identifier, "accepted", "sent", "failed")
    told = light.heard.messages()[-1]
    assert told == {key: value for key, value in (await light.rest("GET", f"/{SMS}/messages/{identifier}")).items() if key != "message"}
    assert told["changedAt"] - told["createdAt"] == 1_500
    assert json.dumps(told["recipients"][0]["reasons"]) == '[{"code": 530}]'
