"""The erasure of a person out of chats."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from channels.files.participants.journal import STARTED
from hub.erasure import Person
from hub.outbox.models import OutboxEvent
from hub.outbox.recorder import COLUMNS
from tests.channels.files.participants.support import EVENT, Talk


async def erased(talk: Talk, **person: str) -> Any:
    return await cast("Any", talk.world.parts.eraser).erase(Person("acme", **person))


async def test_a_person_is_taken_out_of_chats(talk: Talk) -> None:
    ana, bert = await talk.chatter(name="Ana"), await talk.chatter(name="Bert")
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    await talk.chatter(name="Cy", interactionId=ana.contact)  # by whom the chat goes on
    said = await ben.say("I am Ben")
    await ana.say("secret of Ana", ClientToken="t1")
    await ana.get("event", ContentType=f"{EVENT}message.read", Content=json.dumps({"messageId": said["Id"]}))
    file = await talk.world.approved(
        call="participant", created_by=ana.id, resource=_contact(talk, ana.contact), interaction_id=ana.contact
    )
    await talk.tells(ana.contact, 7)
    before = await ben.items()
    assert any(item["Type"] == "ATTACHMENT" for item in before)
    assert await erased(talk, id="Ana") == {"files": 1, "participants": 1}
    assert await talk.world.now(file) is None
    after = await ben.items()
    assert [item["Id"] for item in after[: len(before)]] == [item["Id"] for item in before]
    text = json.dumps(after)
    assert "Ana" not in text
    assert "note.txt" not in text
    assert "ReadTimestamp" not in text
    assert "I am Ben" in text
    assert (await ana.ask("transcript")).status_code == 403, "who is erased has left"
    assert "Bert" in json.dumps(await bert.items())
    assert await erased(talk, id="Ana") == {"files": 0, "participants": 0}


async def test_whoever_subscribes_later_hears_nothing_of_the_person(talk: Talk) -> None:
    """The channels keep what was said, for those who come later with replay."""
    ana = await talk.chatter(name="Ana")
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    await talk.chatter(name="Cy", interactionId=ana.contact)
    said = await ben.say("I am Ben")
    await ana.say("secret of Ana")
    await ana.get("event", ContentType=f"{EVENT}message.read", Content=json.dumps({"messageId": said["Id"]}))
    await talk.world.approved(call="participant", created_by=ana.id, resource=_contact(talk, ana.contact), interaction_id=ana.contact)
    await talk.tells(ana.contact, 7)
    channels = [f"/nexus/v3/interactions/{ana.contact}/{each}" for each in ("transcript", "files")]
    channels.append("/hub/operations")
    heard = json.dumps([await talk.world.heard.kept("acme", channel) for channel in channels])
    assert "secret of Ana" in heard
    assert "note.txt" in heard
    assert await erased(talk, id="Ana") == {"files": 1, "participants": 1}
    await talk.world.until(lambda: len(talk.told(ana.contact)) == 8 and talk.world.heard.on("/hub/operations")[-1]["event"] == "DELETED")
    heard = json.dumps([await talk.world.heard.kept("acme", channel) for channel in channels])
    for gone in ("Ana", "secret", "note.txt", "ReadTimestamp"):
        assert gone not in heard
    assert "I am Ben" in heard
    left = (await talk.world.heard.kept("acme", channels[0]))[-1]
    assert (left["ContentType"], left["DisplayName"]) == (f"{EVENT}participant.left", "")


async def test_what_waits_to_be_told_says_nothing_of_the_person(talk: Talk) -> None:
    ana = await talk.chatter(name="Ana")
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    await talk.chatter(name="Cy", interactionId=ana.contact)
    await talk.tells(ana.contact, 3)
    await talk.world.outbox.stop()
    said = await ben.say("I am Ben")
    await ana.say("secret of Ana")
    await ana.get("event", ContentType=f"{EVENT}message.read", Content=json.dumps({"messageId": said["Id"]}))
    assert await erased(talk, id="Ana") == {"files": 0, "participants": 1}
    rows = await talk.world.transactions.read(lambda tx: tx.rows("SELECT body FROM outbox_events WHERE dispatched = 0"))
    waiting = b"".join(bytes(body) for (body,) in rows)
    assert b"I am Ben" in waiting
    for gone in (b"Ana", b"secret", b"ReadTimestamp"):
        assert gone not in waiting


async def test_a_file_that_is_told_of_later_does_not_bring_the_person_back(talk: Talk) -> None:
    ana = await talk.chatter(name="Ana")
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    await talk.chatter(name="Cy", interactionId=ana.contact)
    await talk.tells(ana.contact, 3)
    await talk.world.outbox.stop()
    await talk.world.approved(call="participant", created_by=ana.id, resource=_contact(talk, ana.contact), interaction_id=ana.contact)
    assert await erased(talk, id="Ana") == {"files": 1, "participants": 1}
    rows = await talk.world.transactions.read(
        lambda tx: tx.rows(f"SELECT {COLUMNS} FROM outbox_events WHERE dispatched = 0 AND type <> ? ORDER BY id", (STARTED,))
    )
    for event in [OutboxEvent(*row) for row in rows]:
        for consumer in talk.world.parts.outbox_consumers:
            if event.type in consumer.types:
                await consumer.consume(event)
    assert [each["event"] for each in talk.world.heard.on("/hub/operations")][-1] == "DELETED"
    assert "note.txt" not in json.dumps(await ben.items())
    assert "note.txt" not in json.dumps(talk.world.heard.events)
    assert not any(item["Type"] == "ATTACHMENT" for item in await ben.items())


@pytest.mark.parametrize("field", ["id", "address", "phone"])
async def test_a_person_is_found_by_each_field(talk: Talk, field: str) -> None:
    ana = await talk.chatter(name="+49 89 1")
    other = await talk.chatter(name="+49 89 12")
    assert (await erased(talk, **{field: "+49 89 1"}))["participants"] == 1
    assert (await ana.ask("transcript")).status_code == 403
    assert (await other.ask("transcript")).status_code == 200


async def test_an_agent_is_found_by_the_credential_and_customers_stay(talk: Talk) -> None:
    ana = await talk.chatter(name="Ana")
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=ana.contact)
    await ben.say("mine")
    await ana.say("of Ana")
    assert await erased(talk, id=ben.id) == {"files": 0, "participants": 1}
    deb = await talk.chatter(role="AGENT", name="Deb", interactionId=ana.contact)
    assert await erased(talk, id="agent") == {"files": 0, "participants": 2}, "the agent, and the customer as let in by that"
    assert (await deb.ask("transcript")).status_code == 403
    text = json.dumps(await ana.items())
    assert "of Ana" in text
    assert all(gone not in text for gone in ("mine", "Ben", "Deb"))
    assert await erased(talk, id="agent") == {"files": 0, "participants": 0}


def _contact(talk: Talk, contact: str) -> str:
    return talk.world.arns.contact("acme", contact)
