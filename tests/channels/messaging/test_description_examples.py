"""Every example of the description of third-party messaging, as printed there: sent through the API, or received by a third party.

An e-mail in the description lost its braces to the conversion of the page: ``to`` and ``messageId`` are put back into ``channel``,
where the SMS has them. Its signatures were made with a secret that it does not tell; those here are made with another one.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.channels.messaging.support import SECRET, SEED_TENANT, Exchange, form, signature

SMS_IN = b"""{
  "messages": [
    {
      "channel": {
        "from": {
          "id": "16504661149"
        },
        "to": {
          "id": "0123456789"
        }
      },
      "type": "Text",
      "text": "Consumer message text"
    }
  ]
}
"""
SMS_IN_AT_MS = 1613473893265
SMS_IN_ANSWER = {"status": {"code": 0}, "data": {"ids": ["1613473893265-0"]}}

SMS_OUT: dict[str, Any] = {
    "channel": {
        "id": "0123456789",
        "type": "sms",
        "from": {"id": "0123456789"},
        "to": {"id": "16504661149"},
        "messageId": "1613474523265-0",
    },
    "type": "Text",
    "text": "Agent message text",
}
SMS_OUT_AT_MS = 1613474523265
SMS_OUT_TRACE = "05bb858a-3468-4c82-a8ce-3b1a9c4e4b67"
SMS_OUT_ANSWER = b"""{
  "messageId": "1613474523265-0"
}
"""

SMS_RECEIPT = b"""{
  "messages": [
    {
      "channel": {
        "from": {
          "id": "0123456789"
        },
        "to": {
          "id": "16504661149"
        },
        "messageId": "1613474523265-0"
      },
      "type": "Receipt",
      "status": "Delivered"
    }
  ]
}
"""

MAIL_OUT: dict[str, Any] = {
    "channel": {
        "id": "company.com",
        "type": "email",
        "from": {"id": "no-reply@company.com", "name": "Sender display name"},
        "to": [
            {"id": "recipient-1@mail.com", "name": "First Recipient"},
            {"id": "recipient-2@mail.com", "name": "Second Recipient"},
        ],
        "messageId": "f7acbac6-68db-4031-aec2-4bbd02627c4b",
    },
    "context": {"replyTo": {"id": "reply-to@company.com", "name": "Responder display name"}},
    "type": "Email",
    "subject": "Subject",
    "content": [{"type": "text", "text": "Plain text email body"}, {"type": "html", "text": "Html email body"}],
}
MAIL_OUT_TRACE = "5767ea58-1511-4a98-bc56-7f34c43e3a51"
MAIL_OUT_ANSWER = b"""{
  "messageId": "f7acbac6-68db-4031-aec2-4bbd02627c4b"
}
"""

MAIL_RECEIPT = b"""{
  "messages": [
    {
      "channel": {
        "from": {
          "id": "no-reply@company.com"
        },
        "to": {
          "id": "recipient-1@mail.com"
        },
        "messageId": "f7acbac6-68db-4031-aec2-4bbd02627c4b"
      },
      "type": "Receipt",
      "status": "Failed",
      "reasons": [
        {
          "code": 350,
          "message": "Message not allowed. Your account has been suspended."
        }
      ]
    }
  ]
}
"""

RECEIPT_ANSWER = {"status": {"code": 0}}

PICTURE = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


async def third(exchange: Exchange, method: str, path: str, body: bytes = b"", **more: Any) -> httpx.Response:
    return await exchange.third(method, path, body, ccid=SEED_TENANT, **more)


async def sent(exchange: Exchange, channel: str, message: dict[str, Any], trace_id: str) -> Any:
    """Send a message out as an agent's system does."""
    headers = {"Authorization": "Bearer seed", "X-B3-TraceId": trace_id}
    answer = await exchange.send("POST", f"/api/v1/messaging/channels/{channel}/messages", json=message, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def sms_out(exchange: Exchange) -> str:
    """The SMS of the description goes out and is taken; returns its id."""
    exchange.clock.now_ms = SMS_OUT_AT_MS
    exchange.receiver.answers = [(200, SMS_OUT_ANSWER)]
    await exchange.channel(caller="seed")
    message = {"channel": {"to": SMS_OUT["channel"]["to"]}, "type": "Text", "text": SMS_OUT["text"]}
    made = await sent(exchange, "0123456789", message, SMS_OUT_TRACE)
    await exchange.until(lambda: exchange.heard.states("0123456789", SEED_TENANT)[-1:] == [(made["id"], "sent")])
    return str(made["id"])


async def mail_out(exchange: Exchange) -> str:
    """The e-mail of the description goes out and is taken; returns its id."""
    exchange.receiver.answers = [(200, MAIL_OUT_ANSWER)]
    await exchange.channel("company.com", "email", caller="seed", sender=MAIL_OUT["channel"]["from"])
    message = {**MAIL_OUT, "channel": {name: MAIL_OUT["channel"][name] for name in ("to", "messageId")}}
    made = await sent(exchange, "company.com", message, MAIL_OUT_TRACE)
    await exchange.until(lambda: exchange.heard.states("company.com", SEED_TENANT)[-1:] == [(made["id"], "sent")])
    return str(made["id"])


async def kept(exchange: Exchange, channel: str, identifier: str) -> Any:
    return await exchange.rest("GET", f"/{channel}/messages/{identifier}", caller="seed")


# -- the SMS data flow --------------------------------------------------------------------------------------------------


async def test_1_and_2_message_api(exchange: Exchange) -> None:
    exchange.clock.now_ms = SMS_IN_AT_MS
    await exchange.channel(caller="seed")
    answer = await third(exchange, "POST", "/0123456789/messages", SMS_IN)
    assert (answer.status_code, answer.json()) == (200, SMS_IN_ANSWER)
    assert (await kept(exchange, "0123456789", "1613473893265-0"))["message"] == json.loads(SMS_IN)["messages"][0]


async def test_3_and_4_message_webhook(exchange: Exchange) -> None:
    identifier = await sms_out(exchange)
    (request,) = exchange.receiver.got
    assert json.loads(request.body) == SMS_OUT
    assert request.path == "/"
    assert request.headers["x-hub-signature"] == signature(request.body)
    assert request.headers["x-b3-traceid"] == SMS_OUT_TRACE
    assert identifier == "1613474523265-0"


async def test_5_and_6_receipt_api(exchange: Exchange) -> None:
    identifier = await sms_out(exchange)
    answer = await third(exchange, "POST", "/0123456789/messages", SMS_RECEIPT)
    assert (answer.status_code, answer.json()) == (200, RECEIPT_ANSWER)
    assert (await kept(exchange, "0123456789", identifier))["state"] == "delivered"


# -- the e-mail data flow -----------------------------------------------------------------------------------------------


async def test_1_and_2_email_webhook(exchange: Exchange) -> None:
    await mail_out(exchange)
    (request,) = exchange.receiver.got
    assert json.loads(request.body) == MAIL_OUT
    assert request.headers["x-hub-signature"] == signature(request.body)
    assert request.headers["x-b3-traceid"] == MAIL_OUT_TRACE


async def test_3_and_4_email_receipt_api(exchange: Exchange) -> None:
    identifier = await mail_out(exchange)
    answer = await third(exchange, "POST", "/company.com/messages", MAIL_RECEIPT)
    assert (answer.status_code, answer.json()) == (200, RECEIPT_ANSWER)
    message = await kept(exchange, "company.com", identifier)
    assert message["state"] == "failed"
    assert [(each["id"], each["state"]) for each in message["recipients"]] == [
        ("recipient-1@mail.com", "failed"),
        ("recipient-2@mail.com", "sent"),
    ]
    assert message["recipients"][0]["reasons"] == json.loads(MAIL_RECEIPT)["messages"][0]["reasons"]


# -- the reference: media, and the answers that it lists ----------------------------------------------------------------


async def test_media_up_down_and_away(exchange: Exchange) -> None:
    await exchange.channel("1234567890", caller="seed")
    body, headers = form(PICTURE, "MyImage", "image/jpeg")
    stored = (await third(exchange, "POST", "/1234567890/media", body, headers=headers)).json()
    assert stored["status"] == {"code": 0}
    identifier = stored["data"]["mediaId"]
    assert stored["data"] == {
        "mediaId": identifier,
        "url": f"genesys://nexus/{identifier}",
        "filename": "MyImage",
        "mimetype": "image/jpeg",
        "length": len(PICTURE),
    }
    fetched = await third(exchange, "GET", f"/1234567890/media/{identifier}")
    assert (fetched.status_code, fetched.content, fetched.headers["content-type"]) == (200, PICTURE, "image/jpeg")
    removed = await third(exchange, "DELETE", f"/1234567890/media/{identifier}")
    assert (removed.status_code, removed.json()) == (200, stored)
    assert (await third(exchange, "GET", f"/1234567890/media/{identifier}")).status_code == 404


async def test_a_channel_that_is_not_there(exchange: Exchange) -> None:
    await exchange.channel(caller="seed")
    answer = await third(exchange, "POST", "/1234567890/messages", SMS_IN)
    assert answer.status_code == 404
    assert answer.json()["status"]["code"] == 404
    assert answer.json()["status"]["message"] == "Channel 1234567890 not found"


async def test_answers_to_what_is_wrong(light: Exchange) -> None:
    """400, 401, 403 and 415, each with a status of code and message."""
    await light.channel(caller="seed")
    body, headers = form(b"<svg/>", "a.svg", "image/svg+xml")
    answers = [
        await third(light, "POST", "/0123456789/messages", b"{}"),
        await third(light, "POST", "/0123456789/messages", SMS_IN, secret=None),
        await third(light, "POST", "/0123456789/messages", SMS_IN, secret=SECRET[::-1]),
        await third(light, "POST", "/0123456789/media", body, headers=headers),
    ]
    assert [each.status_code for each in answers] == [400, 401, 403, 415]
    for each in answers:
        assert set(each.json()) == {"status"}
        assert each.json()["status"]["code"] == each.status_code
        assert isinstance(each.json()["status"]["message"], str)
