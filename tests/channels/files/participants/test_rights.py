"""What somebody may who answers in chats, and what takes the right to open them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.channels.files.participants.support import EVENT, Chatter, Talk


async def joined(talk: Talk, chatter: Chatter) -> list[str]:
    """Who was told as joined."""
    read = await talk.rest("GET", f"/api/v1/interactions/{chatter.contact}/transcript", caller="reader")
    return [each["ParticipantId"] for each in read.json()["data"]["items"] if each["ContentType"] == f"{EVENT}participant.joined"]


@pytest.mark.parametrize("role", ["CUSTOMER", "SUPERVISOR", "CUSTOM_BOT"])
async def test_whoever_answers_is_an_agent(lightly: Talk, role: str) -> None:
    ana = await lightly.chatter()
    refused = await lightly.letting_in(caller="desk", role=role, interactionId=ana.contact)
    assert (refused.status_code, refused.json()["status"]["detail"]["operation"]) == (403, "/files/chats")
    assert (await lightly.letting_in(caller="desk", role="AGENT", interactionId=ana.contact)).status_code == 200


@pytest.mark.parametrize("named", [{}, {"interactionId": "4711"}])
async def test_whoever_answers_opens_no_chat(lightly: Talk, named: dict[str, Any]) -> None:
    refused = await lightly.letting_in(caller="desk", role="AGENT", **named)
    assert refused.status_code == 403
    assert "/files/chats" in refused.text or "open chats" in refused.text
    assert await lightly.world.transactions.read(lambda tx: tx.rows("SELECT contact FROM chats")) == []
    assert (await lightly.letting_in(role="AGENT", **named)).status_code == 200


async def test_whoever_answers_has_one_seat_in_a_chat(talk: Talk) -> None:
    ana = await talk.chatter()
    first = await talk.chatter(caller="desk", role="AGENT", name="Ben", interactionId=ana.contact)
    again = await talk.chatter(caller="desk", role="AGENT", name="Ben", interactionId=ana.contact)
    other = await talk.chatter(caller="desk2", role="AGENT", name="Cem", interactionId=ana.contact)
    assert again.id == first.id != other.id
    await first.get("disconnect")
    back = await talk.chatter(caller="desk", role="AGENT", name="Ben", interactionId=ana.contact)
    assert back.id != first.id


async def test_whoever_answers_removes_nobody_else(talk: Talk) -> None:
    ana = await talk.chatter()
    ben = await talk.chatter(caller="desk", role="AGENT", interactionId=ana.contact)
    cem = await talk.chatter(caller="desk2", role="AGENT", interactionId=ana.contact)
    for other in (ana, cem):
        refused = await talk.rest("DELETE", f"/api/v1/participants/{other.id}", caller="desk")
        assert refused.status_code == 403
        assert "/files/chats" in refused.text
    assert await cem.say("still here")
    assert (await talk.rest("DELETE", f"/api/v1/participants/{ben.id}", caller="desk")).status_code == 200
    assert (await talk.rest("DELETE", f"/api/v1/participants/{cem.id}")).status_code == 200
    assert await ana.say("alone")


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("transcript", {}),
        ("message", {"ContentType": "text/plain", "Content": "x"}),
        ("event", {"ContentType": f"{EVENT}typing"}),
    ],
)
async def test_nobody_reads_or_writes_unseen(talk: Talk, call: str, body: dict[str, Any]) -> None:
    ana = await talk.chatter()
    spy = await talk.let_in(caller="desk", role="AGENT", interactionId=ana.contact)
    credentials = await talk.call("connection", spy.token, Type=["CONNECTION_CREDENTIALS"])
    spy.connection = credentials.json()["ConnectionCredentials"]["ConnectionToken"]
    assert await joined(talk, ana) == [ana.id]
    for _ in range(2):
        await spy.get(call, **body)
    assert await joined(talk, ana) == [ana.id, spy.id]


async def test_an_answer_by_rest_joins(talk: Talk) -> None:
    ana = await talk.chatter()
    desk = await talk.let_in(caller="desk", role="AGENT", interactionId=ana.contact)
    for _ in range(2):
        sent = await talk.rest("POST", f"/api/v1/participants/{desk.id}/messages", caller="desk", json={"content": "hello"})
        assert sent.status_code == 200
    assert await joined(talk, ana) == [ana.id, desk.id]
