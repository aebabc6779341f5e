"""Letting somebody into a chat, and removing somebody, are rows of the audit log, in the same transaction."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.audit.log import AuditLog
from tests.channels.files.participants.support import Talk
from tests.channels.files.participants.test_contacts import begin


async def rows(talk: Talk) -> list[tuple[str, str, str, Any, Any]]:
    """Event, actor, target, before and after of each row, the older first."""
    found = await talk.world.transactions.read(
        lambda tx: tx.rows("SELECT event, who, target, value_before, value_after FROM audit WHERE tenant = 'acme' ORDER BY number")
    )
    return [(event, who, target, *(text and json.loads(text) for text in states)) for event, who, target, *states in found]


def who(name: str) -> str:
    return AuditLog(b"s" * 32, lambda: 0).person("acme", name)


async def test_rows_of_a_chat(talk: Talk) -> None:
    started = await begin(talk, ClientToken="t1")
    assert await begin(talk, ClientToken="t1") == started, "made again: no row"
    contact = started["ContactId"]
    ben = await talk.chatter(role="AGENT", name="Ben", interactionId=contact, caller="desk")
    for _ in range(2):
        assert (await talk.rest("DELETE", f"/api/v1/participants/{ben.id}", caller="desk")).status_code == 200
    of_ben = {"interactionId": contact, "role": "AGENT"}
    assert await rows(talk) == [
        (
            "participant.added",
            who("agent"),
            f"participant:{started['ParticipantId']}",
            None,
            {"interactionId": contact, "role": "CUSTOMER"},
        ),
        ("participant.added", who("desk"), f"participant:{ben.id}", None, of_ben),
        ("participant.removed", who("desk"), f"participant:{ben.id}", of_ben, None),
    ]
    told = json.dumps(await rows(talk))
    for secret in ("Ana", "Ben", started["ParticipantToken"], ben.token, ben.connection):
        assert secret not in told


async def test_who_leaves_is_not_removed(lightly: Talk) -> None:
    ana = await lightly.chatter()
    await ana.get("disconnect")
    assert [row[0] for row in await rows(lightly)] == ["participant.added"]


@pytest.mark.parametrize("light", [{"max_chats": 1}], indirect=True)
async def test_who_is_refused_has_no_row(lightly: Talk) -> None:
    await lightly.let_in()
    assert (await lightly.letting_in()).status_code == 429
    assert (await lightly.letting_in(caller="desk")).status_code == 403
    assert len(await rows(lightly)) == 1
