"""Bounds of chats, who is kept apart from whom, and what time ends."""

from __future__ import annotations

import pytest

from channels.files.participants.tokens import CONNECTION_S, Purpose
from tests.channels.files.participants.support import Talk

HOUR_S = 3600


@pytest.mark.parametrize("light", [{"max_chats": 2}], indirect=True)
async def test_more_chats_than_a_tenant_may_have(lightly: Talk) -> None:
    ana, _ = await lightly.chatter(), await lightly.chatter()
    refused = await lightly.letting_in()
    assert (refused.status_code, refused.json()["status"]["detail"]["setting"]) == (429, "files.max_chats")
    assert refused.headers["retry-after"] == "60"
    assert (await lightly.letting_in(interactionId=ana.contact)).status_code == 200  # a chat that is there takes others
    assert (await lightly.letting_in(caller="foreign")).status_code == 200  # and other tenants have their own
    await ana.get("disconnect")
    assert (await lightly.letting_in(interactionId=ana.contact)).status_code == 200
    assert lightly.counters.refused_bounds == 1


@pytest.mark.parametrize("light", [{"chat_participants": 3}], indirect=True)
async def test_more_participants_than_a_chat_may_have(lightly: Talk) -> None:
    ana = await lightly.chatter()
    for _ in range(4):  # who has left takes no seat
        guest = await lightly.chatter(interactionId=ana.contact)
        await guest.get("disconnect")
    for _ in range(2):
        await lightly.let_in(interactionId=ana.contact)
    refused = await lightly.letting_in(interactionId=ana.contact)
    assert (refused.status_code, refused.json()["status"]["detail"]["setting"]) == (409, "files.chat_participants")


@pytest.mark.parametrize("light", [{"chat_items": 10, "chat_calls_per_s": 0}], indirect=True)
async def test_a_transcript_that_is_full(lightly: Talk) -> None:
    ana = await lightly.chatter()
    for number in range(9):
        await ana.say(str(number))
    refused = await ana.ask("message", ContentType="text/plain", Content="one more")
    assert refused.status_code == 400
    assert "files.chat_items" in refused.text
    assert len(await ana.items()) == 10
    full = await lightly.letting_in(interactionId=ana.contact)
    assert (full.status_code, full.json()["status"]["detail"]["setting"]) == (409, "files.chat_items")
    await ana.get("disconnect")  # to leave is possible all the same
    assert lightly.counters.refused_bounds == 2


@pytest.mark.parametrize("light", [{"chat_calls_per_s": 3}], indirect=True)
async def test_an_agent_who_answers_too_often_by_rest(lightly: Talk) -> None:
    ben = await lightly.let_in(role="AGENT")
    path = f"/api/v1/participants/{ben.id}/messages"
    answers = [await lightly.rest("POST", path, json={"content": "hello"}) for _ in range(6)]
    refused = [each for each in answers if each.status_code == 429]
    assert refused
    assert refused[0].headers["retry-after"] == "1"
    lightly.world.clock.advance(1)
    assert (await lightly.rest("POST", path, json={"content": "hello"})).status_code == 200


@pytest.mark.parametrize("light", [{"chat_calls_per_s": 3}], indirect=True)
async def test_a_participant_who_calls_too_often(lightly: Talk) -> None:
    ana = await lightly.chatter()
    other = await lightly.let_in(interactionId=ana.contact)
    answers = [await ana.ask("transcript") for _ in range(6)]
    refused = [each for each in answers if each.status_code == 429]
    assert refused
    assert (refused[0].headers["x-amzn-errortype"], refused[0].headers["retry-after"]) == ("ThrottlingException", "1")
    await other.connect()  # others are not slowed down
    lightly.world.clock.advance(1)
    await ana.items()
    assert lightly.counters.refused_rate == len(refused)


async def test_tokens_of_others_and_of_other_times(lightly: Talk) -> None:
    ana = await lightly.chatter()
    named = {"tenant": "acme", "contact": ana.contact, "participant": ana.id, "role": "CUSTOMER"}
    good, _ = lightly.tokens.make(Purpose.CONNECTION, **named)
    assert (await lightly.call("transcript", good)).status_code == 200
    for changed in ({"tenant": "other"}, {"contact": "4711"}, {"participant": "nobody"}, {"role": "AGENT"}):
        text, _ = lightly.tokens.make(Purpose.CONNECTION, **{**named, **changed})
        assert (await lightly.call("transcript", text)).status_code == 403, changed
    for purpose in (Purpose.PARTICIPANT, Purpose.SOCKET):
        text, _ = lightly.tokens.make(purpose, **named)
        assert (await lightly.call("transcript", text)).status_code == 403, purpose
    assert (await lightly.call("connection", good, Type=["WEBSOCKET"])).status_code == 403
    lightly.world.clock.advance(CONNECTION_S)
    assert (await lightly.call("transcript", good)).status_code == 403
    await ana.connect()  # the participant's own token is good still
    assert await ana.items()


async def test_another_chat_is_not_told_to_exist(lightly: Talk) -> None:
    ana, ben, eve = await lightly.chatter(), await lightly.chatter(), await lightly.chatter(caller="foreign")
    message = (await ben.say("secret"))["Id"]
    for who in (ana, eve):
        there = await who.ask("transcript", ContactId=ben.contact)
        nowhere = await who.ask("transcript", ContactId="nowhere")
        assert (there.status_code, there.json()["Message"]) == (nowhere.status_code, nowhere.json()["Message"])
        assert there.status_code == 403
        assert (await who.ask("transcript", StartPosition={"Id": message})).status_code == 400
    assert (await ana.ask("transcript", ContactId=ana.contact)).status_code == 200


async def test_the_same_id_in_two_tenants_is_two_chats(lightly: Talk) -> None:
    ana = await lightly.chatter(interactionId="4711")
    eve = await lightly.chatter(interactionId="4711", caller="foreign")
    await ana.say("ours")
    await eve.say("theirs")
    assert [each["Content"] for each in await ana.items() if each["Type"] == "MESSAGE"] == ["ours"]


async def test_who_may_let_people_in(lightly: Talk) -> None:
    assert (await lightly.letting_in(caller="reader")).status_code == 403
    assert (await lightly.letting_in(caller="nobody")).status_code == 401


async def test_silent_chats_end(talk: Talk) -> None:
    quiet, loud = await talk.chatter(), await talk.chatter()
    talk.world.clock.advance(20 * HOUR_S)
    await loud.connect()
    await loud.say("still here")
    talk.world.clock.advance(6 * HOUR_S)
    await talk.retention.round(0)
    assert (await quiet.ask("transcript")).status_code == 403
    await loud.connect()
    assert (await loud.items())[-1]["Content"] == "still here"
    told = await talk.tells(quiet.contact, 2)
    assert told[-1]["ContentType"].endswith("chat.ended")
    await talk.world.until(lambda: any(event.type == "cx.interaction.finished" for _, event in talk.sink.taken))
    (finished,) = [event for _, event in talk.sink.taken if event.type == "cx.interaction.finished"]
    assert finished.data.reason == "idle"  # type: ignore[attr-defined]
    assert talk.counters.ended_idle == 1


async def test_a_clock_that_is_set_ends_and_deletes_no_chat(lightly: Talk) -> None:
    clock = lightly.world.clock
    silent, over = await lightly.chatter(), await lightly.chatter()
    await over.say("bye")
    await over.get("disconnect")
    await lightly.retention.round(0)
    clock.wall = clock.wall_ms() + 1000 * 24 * HOUR_S * 1000
    await lightly.retention.round(1)
    clock.advance(60)
    await lightly.retention.round(2)
    assert (lightly.counters.ended_idle, lightly.counters.trimmed) == (0, 0)
    clock.wall -= 1000 * 24 * HOUR_S * 1000
    await silent.connect()
    await silent.say("still here")
    clock.advance(26 * HOUR_S)
    await lightly.retention.round(3)
    assert lightly.counters.ended_idle == 1, "time that has passed counts"


async def test_old_chats_are_deleted(talk: Talk) -> None:
    old, new = await talk.chatter(), await talk.chatter()
    await old.say("bye")
    await old.get("disconnect")
    talk.world.clock.advance(364 * 24 * HOUR_S)
    await new.connect()
    await new.get("disconnect")
    path = "/api/v1/interactions/{}/transcript"
    assert await talk.retention.trim() == 0
    talk.world.clock.advance(2 * 24 * HOUR_S)
    assert await talk.retention.trim() == 1
    assert (await talk.rest("GET", path.format(old.contact), caller="reader")).status_code == 404
    assert (await talk.rest("GET", path.format(new.contact), caller="reader")).status_code == 200
    for table in ("chats", "chat_participants", "chat_items"):
        rows = await talk.world.transactions.read(lambda tx, of=table: tx.rows(f"SELECT contact FROM {of}"))  # type: ignore[misc]
        assert {contact for (contact,) in rows} == {new.contact}, table
    assert talk.counters.trimmed == 1
