"""The calls of a chat from its beginning to its end, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from tests.channels.files.participants.support import EVENT, HOST, Talk


async def test_a_chat_from_its_beginning_to_its_end(talk: Talk) -> None:
    ana = await talk.chatter(name="Ana 日")
    desk = await talk.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    assert desk.contact == ana.contact
    assert ana.socket_url.startswith(f"{HOST.replace('http', 'ws')}/participant/ws?token=")
    sent = await ana.say("hällo")
    await desk.say("good morning")
    assert await ana.get("disconnect") == {}
    told = await talk.tells(ana.contact, 6)
    assert [(each["Type"], each["ContentType"].removeprefix(EVENT), each.get("Content")) for each in told] == [
        ("EVENT", "participant.joined", None),
        ("EVENT", "participant.joined", None),
        ("MESSAGE", "text/plain", "hällo"),
        ("MESSAGE", "text/plain", "good morning"),
        ("EVENT", "participant.left", None),
        ("EVENT", "chat.ended", None),
    ]
    assert told[2] == {
        "AbsoluteTime": sent["AbsoluteTime"],
        "Content": "hällo",
        "ContentType": "text/plain",
        "Id": sent["Id"],
        "Type": "MESSAGE",
        "ContactId": ana.contact,
        "InitialContactId": ana.contact,
        "ParticipantId": ana.id,
        "DisplayName": "Ana 日",
        "ParticipantRole": "CUSTOMER",
    }
    assert told[5]["ParticipantRole"] == "SYSTEM"
    await talk.world.until(lambda: len(talk.sink.taken) == 2)
    (tenant, started), (_, finished) = talk.sink.taken
    assert (tenant, started.type, finished.type) == ("acme", "cx.interaction.started", "cx.interaction.finished")
    assert started.data.interaction_id == finished.data.interaction_id == ana.contact  # type: ignore[attr-defined]
    assert (started.data.media, finished.data.reason) == ("chat", "left")  # type: ignore[attr-defined]
    assert (await desk.ask("message", ContentType="text/plain", Content="too late")).status_code == 403
    assert (await talk.letting_in(interactionId=ana.contact)).status_code == 409
    read = await talk.rest("GET", f"/api/v1/interactions/{ana.contact}/transcript", caller="reader")
    assert read.json()["data"]["items"] == told
    assert (talk.counters.started, talk.counters.ended_left, talk.counters.messages) == (1, 1, 2)


async def test_a_chat_goes_on_without_an_agent_and_ends_without_a_customer(talk: Talk) -> None:
    ana = await talk.chatter()
    other = await talk.chatter(name="Cem", interactionId=ana.contact)
    desk = await talk.chatter(role="AGENT", interactionId=ana.contact)
    await desk.get("disconnect")
    await ana.get("disconnect")
    assert (await other.say("still here"))["Id"]
    await other.get("disconnect")
    assert (await talk.letting_in(interactionId=ana.contact)).status_code == 409


async def test_a_chat_of_agents_alone_ends_with_the_last(talk: Talk) -> None:
    first = await talk.chatter(role="AGENT")
    second = await talk.chatter(role="SUPERVISOR", interactionId=first.contact)
    await first.get("disconnect")
    await second.say("alone")
    await second.get("disconnect")
    assert (await talk.letting_in(interactionId=first.contact)).status_code == 409


async def test_a_message_with_the_same_token_is_sent_once(talk: Talk) -> None:
    ana = await talk.chatter()
    answers = await asyncio.gather(*(ana.say("once", ClientToken="t1") for _ in range(5)))
    assert len({(each["Id"], each["AbsoluteTime"]) for each in answers}) == 1
    refused = await ana.ask("message", ContentType="text/plain", Content="other", ClientToken="t1")
    assert refused.status_code == 400
    assert "ClientToken" in refused.text
    ben = await talk.chatter(name="Ben", interactionId=ana.contact)
    assert (await ben.say("once", ClientToken="t1"))["Id"] != answers[0]["Id"]  # tokens are of their participant
    assert [each["Content"] for each in await ana.items() if each["Type"] == "MESSAGE"] == ["once", "once"]


async def test_two_let_in_at_once_begin_one_chat(talk: Talk) -> None:
    made = await asyncio.gather(*(talk.let_in(name=f"P{n}", interactionId="4711") for n in range(5)))
    assert {each.contact for each in made} == {"4711"}
    await talk.world.until(lambda: bool(talk.sink.taken))
    assert talk.counters.started == 1


async def test_a_participant_with_the_same_token_is_let_in_once(talk: Talk) -> None:
    made = await asyncio.gather(*(talk.let_in(clientToken="t1") for _ in range(3)))
    assert len({(each.id, each.contact) for each in made}) == 1
    assert (await talk.letting_in(clientToken="t1", name="Somebody else")).status_code == 400
    assert (await talk.let_in(clientToken="t2")).contact != made[0].contact


async def test_leaving_with_the_same_token_once_more_is_done_alike(talk: Talk) -> None:
    ana = await talk.chatter()
    assert await ana.get("disconnect", ClientToken="t1") == {}
    assert await ana.get("disconnect", ClientToken="t1") == {}
    assert (await ana.ask("disconnect", ClientToken="t2")).status_code == 403
    assert (await ana.ask("disconnect")).status_code == 403
    assert talk.counters.ended_left == 1


async def test_joining_is_told_once(talk: Talk) -> None:
    ana = await talk.let_in()
    credentials = await talk.call("connection", ana.token, Type=["CONNECTION_CREDENTIALS"])
    assert set(credentials.json()) == {"ConnectionCredentials"}
    ana.connection = credentials.json()["ConnectionCredentials"]["ConnectionToken"]
    path = f"/api/v1/interactions/{ana.contact}/transcript"
    assert (await talk.rest("GET", path, caller="reader")).json()["data"]["items"] == []  # to get a token is not to be there
    acknowledged = await talk.call("connection", ana.token, ConnectParticipant=True)
    assert acknowledged.json() == {}
    await ana.connect()
    await ana.connect()
    assert [each["ContentType"] for each in await ana.items()] == [f"{EVENT}participant.joined"]


async def test_receipts_are_one_item_for_each_message_and_reader(talk: Talk) -> None:
    ana = await talk.chatter()
    ben = await talk.chatter(role="AGENT", interactionId=ana.contact)
    message = (await ana.say("read me"))["Id"]
    content = f'{{"messageId":"{message}"}}'
    first = await ben.get("event", ContentType=f"{EVENT}message.delivered", Content=content)
    again = await ben.get("event", ContentType=f"{EVENT}message.delivered", Content=content)
    second = await ben.get("event", ContentType=f"{EVENT}message.read", Content=content)
    assert first["Id"] == again["Id"] == second["Id"]
    (item,) = [each for each in await ana.items() if each["Type"] == "MESSAGEMETADATA"]
    assert item["MessageMetadata"]["MessageId"] == message
    (receipt,) = item["MessageMetadata"]["Receipts"]
    assert set(receipt) == {"RecipientParticipantId", "DeliveredTimestamp", "ReadTimestamp"}
    assert receipt["RecipientParticipantId"] == ben.id
    told = [each["Id"] for each in await talk.tells(ana.contact, 5)]
    assert told[-2:] == [first["Id"], first["Id"]]
    unknown = await ben.ask("event", ContentType=f"{EVENT}message.read", Content='{"messageId":"nope"}')
    assert unknown.status_code == 400


async def test_typing_is_told_and_not_kept(talk: Talk) -> None:
    ana = await talk.chatter()
    one = await ana.get("event", ContentType=f"{EVENT}typing", ClientToken="t1")
    assert (await ana.get("event", ContentType=f"{EVENT}typing", ClientToken="t1"))["Id"] == one["Id"]
    assert (await ana.get("event", ContentType=f"{EVENT}connection.acknowledged"))["Id"]
    typing = talk.world.heard.on(f"/nexus/v3/typing/{ana.contact}")
    assert [(each["Id"], each["Type"], each["ParticipantId"]) for each in typing][:1] == [(one["Id"], "EVENT", ana.id)]
    assert len(await ana.items()) == 1


async def test_an_agent_answers_by_rest(talk: Talk) -> None:
    ana = await talk.chatter()
    desk = await talk.let_in(role="AGENT", name="Ben", interactionId=ana.contact)
    path = f"/api/v1/participants/{desk.id}/messages"
    answers = [await talk.rest("POST", path, json={"content": "hello", "clientToken": "t1"}) for _ in range(2)]
    assert answers[0].json()["data"] == answers[1].json()["data"]
    (item,) = [each for each in await ana.items() if each["Type"] == "MESSAGE"]
    assert (item["Id"], item["Content"], item["DisplayName"]) == (answers[0].json()["data"]["id"], "hello", "Ben")
    assert (await talk.rest("POST", path, caller="foreign", json={"content": "x"})).status_code == 404
    assert (await talk.rest("POST", path, caller="reader", json={"content": "x"})).status_code == 403
    assert (await talk.rest("DELETE", f"/api/v1/participants/{desk.id}")).status_code == 200
    assert (await talk.rest("POST", path, json={"content": "x"})).status_code == 403


async def test_whoever_is_removed_may_do_nothing_any_more(talk: Talk) -> None:
    ana = await talk.chatter()
    desk = await talk.chatter(role="AGENT", interactionId=ana.contact)
    assert (await talk.rest("DELETE", f"/api/v1/participants/{desk.id}", caller="foreign")).status_code == 404
    removed = await talk.rest("DELETE", f"/api/v1/participants/{desk.id}")
    assert removed.json()["data"]["participantId"] == desk.id
    for call, body in {
        "message": {"ContentType": "text/plain", "Content": "x"},
        "transcript": {},
        "disconnect": {},
        "event": {"ContentType": f"{EVENT}typing"},
    }.items():
        assert (await desk.ask(call, **body)).status_code == 403, call
    assert (await talk.call("connection", desk.token, Type=["WEBSOCKET"])).status_code == 403
    assert (await talk.rest("DELETE", f"/api/v1/participants/{desk.id}")).status_code == 200
    assert [each["ContentType"] for each in await ana.items()][-1] == f"{EVENT}participant.left"


@pytest.mark.parametrize("names", ["Ana", "a" * 256, "名前"])
async def test_names_are_shown_as_they_were_given(lightly: Talk, names: str) -> None:
    ana = await lightly.chatter(name=names)
    assert (await ana.items())[0]["DisplayName"] == names


@pytest.mark.parametrize("ends", ["participant", "chat"])
async def test_a_token_of_one_who_has_left_lets_nobody_in(talk: Talk, ends: str) -> None:
    ana = await talk.chatter(clientToken="t1")
    guest = await talk.chatter(clientToken="t2", interactionId=ana.contact)
    await (guest if ends == "participant" else ana).get("disconnect")
    if ends == "chat":
        await guest.get("disconnect")
    refused = await talk.letting_in(clientToken="t2", interactionId=ana.contact)
    assert (refused.status_code, refused.json()["status"]["detail"]["field"]) == (409, "clientToken")
    assert (await talk.letting_in(clientToken="t3", interactionId=ana.contact)).status_code == (200 if ends == "participant" else 409)


async def test_an_interaction_whose_id_has_a_slash(lightly: Talk) -> None:
    await lightly.chatter(interactionId="a/b")
    for name in ("a/b", "a%2Fb"):
        read = await lightly.rest("GET", f"/api/v1/interactions/{name}/transcript", caller="reader")
        assert (read.status_code, len(read.json()["data"]["items"])) == (200, 1)
        assert (await lightly.rest("GET", f"/api/v1/interactions/{name}/files", caller="reader")).json()["data"] == {"files": []}


async def test_a_page_of_nothing_has_as_many_items_as_usual(lightly: Talk) -> None:
    ana = await lightly.chatter()
    for number in range(15):
        lightly.world.clock.advance(1)
        await ana.say(str(number))
    assert len(await ana.items(MaxResults=0)) == 10


@pytest.mark.parametrize("mark", ["\u202e", "\x85", "\u200b"])
async def test_a_name_with_marks_that_nobody_sees(lightly: Talk, mark: str) -> None:
    refused = await lightly.letting_in(name=f"Ana{mark}")
    assert (refused.status_code, refused.json()["status"]["detail"]["field"]) == (400, "displayName")
