"""StartChatContact: a program begins a chat for a customer, by the names and errors of Amazon Connect."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from channels.events import InteractionFinished, InteractionStarted
from hub.erasure import Person
from hub.objects.instances import instance_id
from hub.storage.transactions import Transaction
from tests.channels.files.participants.support import Chatter, Talk

JSON, MARKDOWN, PLAIN = "application/json", "text/markdown", "text/plain"
ANA = {"DisplayName": "Ana"}


async def start(talk: Talk, *, caller: str = "agent", leave_out: str = "", **fields: Any) -> httpx.Response:
    """Ask to begin a chat."""
    body = {"InstanceId": "acme", "ContactFlowId": "flow-1", "ParticipantDetails": ANA, **fields}
    body.pop(leave_out, None)
    return await talk.rest("PUT", "/contact/chat", caller=caller, json=body)


async def begin(talk: Talk, **fields: Any) -> dict[str, Any]:
    """The answer for a chat that began."""
    answer = await start(talk, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-amzn-requestid"]
    found: dict[str, Any] = answer.json()
    return found


def customer(talk: Talk, started: dict[str, Any]) -> Chatter:
    """The customer of a chat."""
    entry = {
        "participantId": started["ParticipantId"],
        "interactionId": started["ContactId"],
        "participantToken": started["ParticipantToken"],
    }
    return Chatter(talk, entry)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, type, and what the message begins with: the name of a field."""
    body = answer.json()
    assert (answer.headers["x-amzn-errortype"], answer.headers["content-type"]) == (body["__type"], "application/json")
    return answer.status_code, body["__type"], body["Message"].partition(":")[0]


def reasons(talk: Talk) -> list[str | None]:
    """Why interactions finished."""
    return [event.data.reason for _, event in talk.sink.taken if isinstance(event.data, InteractionFinished)]


async def test_a_chat_from_beginning_to_end(talk: Talk) -> None:
    started = await begin(
        talk,
        InstanceId=instance_id("acme"),
        Attributes={"order_no": "4711 日", "empty": ""},
        CustomerId="c-1",
        InitialMessage={"ContentType": PLAIN, "Content": "My parcel has not come."},
        ClientToken="t1",
        Tags={"new": "members are not looked at"},
    )
    assert set(started) == {"ContactId", "ParticipantId", "ParticipantToken"}
    ana = customer(talk, started)
    await ana.connect()
    await ana.say("hello")
    items = await ana.items()
    assert [each.get("Content") for each in items if each["Type"] == "MESSAGE"] == ["My parcel has not come.", "hello"]
    assert {each["ParticipantId"] for each in items} == {started["ParticipantId"]}
    assert (items[0]["DisplayName"], items[0]["ParticipantRole"]) == ("Ana", "CUSTOMER")
    await talk.world.until(lambda: len(talk.sink.taken) == 1)
    tenant, event = talk.sink.taken[0]
    assert isinstance(event.data, InteractionStarted)
    assert (tenant, event.type, event.data.interaction_id) == ("acme", "cx.interaction.started", started["ContactId"])
    assert event.data.user_data == {
        "order_no": "4711 日",
        "empty": "",
        "connect:ContactFlowId": "flow-1",
        "connect:CustomerId": "c-1",
    }
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=started["ContactId"])
    await ben.say("Good morning, Ana.")
    assert (await ana.items())[-1]["Content"] == "Good morning, Ana."
    await ana.get("disconnect")
    await talk.world.until(lambda: len(talk.sink.taken) == 2)
    assert reasons(talk) == ["left"]


async def test_the_same_token_is_the_same_chat(talk: Talk) -> None:
    fields: dict[str, Any] = {
        "ClientToken": "t1",
        "Attributes": {"a": "1", "b": "2"},
        "InitialMessage": {"ContentType": PLAIN, "Content": "hello"},
    }
    # at once, as by clients of two nodes, too: the database decides
    first, second = await asyncio.gather(begin(talk, **fields), begin(talk, **fields))
    again = await begin(talk, **{**fields, "Attributes": {"b": "2", "a": "1"}, "InstanceId": instance_id("acme")})
    assert {each["ContactId"] for each in (first, second, again)} == {first["ContactId"]}
    assert {each["ParticipantId"] for each in (first, second, again)} == {first["ParticipantId"]}
    ana = customer(talk, again)
    await ana.connect()
    assert [each["Content"] for each in await ana.items() if each["Type"] == "MESSAGE"] == ["hello"]
    others: tuple[dict[str, Any], ...] = (
        {"Attributes": {}},
        {"ContactFlowId": "flow-2"},
        {"ParticipantDetails": {"DisplayName": "Eva"}},
        {"CustomerId": "c"},
    )
    for changed in others:
        assert refusal(await start(talk, **{**fields, **changed})) == (400, "InvalidRequestException", "ClientToken")
    assert (await begin(talk, **{**fields, "ClientToken": "t2"}))["ContactId"] != first["ContactId"]
    # the hub's own call has tokens of its own
    own = await talk.let_in(clientToken="t1")
    assert own.contact != first["ContactId"]
    await ana.get("disconnect")
    late = await begin(talk, **fields, ConnectionTypes=["WEBSOCKET", "CONNECTION_CREDENTIALS"])
    assert (late["ContactId"], late["ParticipantId"], len(late)) == (first["ContactId"], first["ParticipantId"], 3)
    assert (await talk.call("connection", late["ParticipantToken"], Type=["WEBSOCKET"])).status_code == 403
    rows = await talk.world.transactions.read(lambda tx: tx.row("SELECT count(*) FROM chats"))
    assert rows == (3,)


async def test_without_a_token_each_call_is_a_chat(lightly: Talk) -> None:
    chats = [(await begin(lightly, ClientToken=token))["ContactId"] for token in ("", "")]
    chats.append((await begin(lightly))["ContactId"])
    assert len(set(chats)) == 3


async def test_connections_come_with_the_answer(lightly: Talk) -> None:
    started = await begin(lightly, ConnectionTypes=["WEBSOCKET", "CONNECTION_CREDENTIALS"])
    assert started["Websocket"]["Url"].startswith("ws://")
    assert started["Websocket"]["ConnectionExpiry"].endswith("Z")
    ana = customer(lightly, started)
    ana.connection = started["ConnectionCredentials"]["ConnectionToken"]
    assert [each["ContentType"].rpartition(".")[2] for each in await ana.items()] == ["joined"]
    alone = await begin(lightly, ConnectionTypes=["CONNECTION_CREDENTIALS"])
    assert "Websocket" not in alone


async def test_messages_are_of_the_types_of_the_chat(lightly: Talk) -> None:
    ana = customer(lightly, await begin(lightly, SupportedMessagingContentTypes=[MARKDOWN, PLAIN]))
    await ana.connect()
    ben = await lightly.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    for who in (ana, ben):
        assert (await who.ask("message", ContentType=MARKDOWN, Content="*yes*")).status_code == 200
        refused = await who.ask("message", ContentType=JSON, Content="{}")
        assert (refused.status_code, refused.json()["Message"].partition(":")[0]) == (400, "ContentType")
    free = customer(lightly, await begin(lightly))
    await free.connect()
    assert (await free.ask("message", ContentType=JSON, Content="{}")).status_code == 200


async def test_a_chat_ends_when_its_time_is_over(talk: Talk) -> None:
    short, long = [customer(talk, await begin(talk, ChatDurationInMinutes=minutes)) for minutes in (60, 7 * 24 * 60)]
    for ana in (short, long):
        await ana.connect()
    talk.world.clock.advance(59 * 60)
    await talk.retention.round(1)
    await short.say("in time")
    talk.world.clock.advance(60)
    await talk.retention.round(2)
    assert (await short.ask("transcript")).status_code == 403
    assert talk.counters.ended_expired == 1
    # the silence that ends other chats does not end one that has a time of its own
    talk.world.clock.advance(30 * 3600)
    await talk.retention.round(3)
    await long.connect()
    assert await long.items()
    await talk.world.until(lambda: len(talk.sink.taken) == 3)
    assert reasons(talk) == ["expired"]


FIRST = {"ContentType": PLAIN, "Content": "hello"}


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("ContactFlowId", {"ContactFlowId": ""}),
        ("ContactFlowId", {"ContactFlowId": "x" * 501}),
        ("ParticipantDetails.DisplayName", {"ParticipantDetails": {"DisplayName": ""}}),
        ("ParticipantDetails.DisplayName", {"ParticipantDetails": {"DisplayName": "x" * 257}}),
        ("ParticipantDetails.DisplayName", {"ParticipantDetails": {"DisplayName": "A\u202ena"}}),
        ("ParticipantDetails.DisplayName", {"ParticipantDetails": {}}),
        ("Attributes", {"Attributes": {"no blanks": "x"}}),
        ("Attributes", {"Attributes": {"connect:CustomerId": "x"}}),
        ("Attributes", {"Attributes": {"a": "ü" * 16_384}}),
        ("Attributes.a", {"Attributes": {"a": 5}}),
        ("ClientToken", {"ClientToken": "x" * 501}),
        ("ChatDurationInMinutes", {"ChatDurationInMinutes": 59}),
        ("ChatDurationInMinutes", {"ChatDurationInMinutes": 10_081}),
        ("SupportedMessagingContentTypes", {"SupportedMessagingContentTypes": [MARKDOWN]}),
        ("SupportedMessagingContentTypes", {"SupportedMessagingContentTypes": [PLAIN, "text/html"]}),
        ("InitialMessage.ContentType", {"InitialMessage": {**FIRST, "ContentType": "text/html"}}),
        (
            "InitialMessage.ContentType",
            {"InitialMessage": {"ContentType": "application/vnd.amazonaws.connect.message.interactive", "Content": "{}"}},
        ),
        (
            "InitialMessage.ContentType",
            {"InitialMessage": {"ContentType": JSON, "Content": "{}"}, "SupportedMessagingContentTypes": [PLAIN]},
        ),
        ("InitialMessage.Content", {"InitialMessage": {"ContentType": JSON, "Content": "{"}}),
        ("InitialMessage.Content", {"InitialMessage": {**FIRST, "Content": "ü" * 8_193}}),
        ("InitialMessage.Content", {"InitialMessage": {**FIRST, "Content": ""}}),
        ("PersistentChat", {"PersistentChat": {"RehydrationType": "FROM_SEGMENT", "SourceContactId": "c"}}),
        ("RelatedContactId", {"RelatedContactId": "c"}),
        ("SegmentAttributes", {"SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Guide"}}}),
        ("ChatStreamingConfiguration", {"ChatStreamingConfiguration": {"StreamingEndpointArn": "arn:aws:sns:us-east-1:0:t"}}),
        ("ParticipantConfiguration.ResponseMode", {"ParticipantConfiguration": {"ResponseMode": "INCREMENTAL"}}),
        ("DisconnectOnCustomerExit", {"DisconnectOnCustomerExit": ["BOT"]}),
        ("ConnectionTypes", {"ConnectionTypes": ["WEBRTC_CONNECTION"]}),
    ],
)
async def test_what_the_hub_cannot_do_is_refused_by_name(lightly: Talk, field: str, fields: dict[str, Any]) -> None:
    assert refusal(await start(lightly, **fields)) == (400, "InvalidRequestException", field)

    def nothing(tx: Transaction) -> Any:
        return tx.rows("SELECT contact FROM chats")

    assert await lightly.world.transactions.read(nothing) == []


@pytest.mark.parametrize("field", ["InstanceId", "ContactFlowId", "ParticipantDetails"])
async def test_required_fields(lightly: Talk, field: str) -> None:
    assert refusal(await start(lightly, leave_out=field)) == (400, "InvalidRequestException", field)


async def test_bounds_are_inclusive(lightly: Talk) -> None:
    await begin(
        lightly,
        ContactFlowId="x" * 500,
        ParticipantDetails={"DisplayName": "日" * 256},
        Attributes={"a" * 16_000: "ü" * 8_000},
        ClientToken="x" * 500,
        ChatDurationInMinutes=10_080,
        InitialMessage={**FIRST, "Content": "\x01" * 16_384},
        ParticipantConfiguration={"ResponseMode": "COMPLETE"},
        DisconnectOnCustomerExit=["AGENT"],
        CustomerId="x" * 128,
    )


async def test_who_may_begin_chats(lightly: Talk) -> None:
    assert refusal(await start(lightly, caller="desk"))[:2] == (403, "AccessDeniedException")
    assert refusal(await start(lightly, caller="nobody"))[:2] == (401, "UnrecognizedClientException")
    assert refusal(await start(lightly, caller="foreign")) == (404, "ResourceNotFoundException", "InstanceId")
    assert refusal(await lightly.client.put("/contact/chat", content=b"{"))[:2] == (401, "MissingAuthenticationTokenException")
    assert refusal(await lightly.rest("POST", "/contact/stop", json={}))[:2] == (404, "ResourceNotFoundException")
    assert refusal(await lightly.rest("GET", "/contact/chat"))[:2] == (405, "InvalidRequestException")


@pytest.mark.parametrize("light", [{"max_chats": 1}], indirect=True)
async def test_too_many_chats(lightly: Talk) -> None:
    first = await begin(lightly, ClientToken="t1")
    refused = await start(lightly, ClientToken="t2")
    assert refusal(refused)[:2] == (429, "LimitExceededException")
    assert refused.headers["retry-after"]
    assert (await begin(lightly, ClientToken="t1"))["ContactId"] == first["ContactId"]


async def test_an_erased_customer_is_not_let_in_again_by_the_token(lightly: Talk) -> None:
    started = await begin(lightly, ClientToken="t1")
    eraser = lightly.world.parts.eraser
    assert eraser is not None
    await eraser.erase(Person("acme", id=started["ParticipantId"]))
    row = await lightly.world.transactions.read(lambda tx: tx.row("SELECT display_name, created_by, fields FROM chat_participants"))
    assert row == ("", "", "")
    assert refusal(await start(lightly, ClientToken="t1"))[:2] == (400, "InvalidRequestException")
