"""Chats within interactions that began elsewhere: they leave them as they are, and end with them."""

from __future__ import annotations

import pytest

from channels.events import INTERACTION_LISTENERS, INTERACTIONS
from hub.family import Parts
from hub.storage.transactions import Transaction
from tests.channels.files.participants.support import Talk


class Interactions:
    """Stands for the family that keeps interactions: of each id, whether it is over."""

    def __init__(self, talk: Talk, **known: bool) -> None:
        self.known = known
        self._talk = talk
        talk.world.context.parts.append(Parts(offers=[INTERACTIONS.offer(self)]))

    def is_over(self, transaction: Transaction, tenant: str, identifier: str) -> bool | None:
        """See the port."""
        return self.known.get(identifier) if tenant == "acme" else None

    async def finish(self, identifier: str) -> None:
        """Finish an interaction elsewhere."""
        self.known[identifier] = True
        (listener,) = self._talk.world.context.offered(INTERACTION_LISTENERS)
        await self._talk.world.transactions.write(lambda tx: listener.interaction_finished(tx, "acme", identifier))


async def outcome(talk: Talk, *, began: str) -> list[tuple[str, str]]:
    """What was told of interactions, once a chat that began last was told."""
    last = await talk.chatter(interactionId=began)
    await last.get("disconnect")
    told: list[tuple[str, str]] = []

    def done() -> bool:
        told[:] = [(event.type.rpartition(".")[2], event.data.interaction_id) for _, event in talk.sink.taken]  # type: ignore[attr-defined]
        return ("finished", began) in told

    await talk.world.until(done)
    return [each for each in told if each[1] != began]


@pytest.mark.parametrize("by", ["leaving", "removal", "silence"])
async def test_a_chat_within_a_call_does_not_finish_it(talk: Talk, by: str) -> None:
    Interactions(talk, call=False)
    desk = await talk.chatter(role="AGENT", interactionId="call")
    if by == "leaving":
        await desk.get("disconnect")
    elif by == "removal":
        assert (await talk.rest("DELETE", f"/api/v1/participants/{desk.id}")).status_code == 200
    else:
        talk.world.clock.advance(26 * 3600)
        await talk.retention.round(0)
    told = await talk.tells("call", 3 if by != "silence" else 2)
    assert told[-1]["ContentType"].endswith("chat.ended")
    assert await outcome(talk, began="new") == []


async def test_an_interaction_that_finishes_elsewhere_ends_its_chat(talk: Talk) -> None:
    interactions = Interactions(talk)
    ana = await talk.chatter(interactionId="shop")
    desk = await talk.chatter(role="AGENT", interactionId="shop")
    await interactions.finish("shop")
    assert (await ana.ask("message", ContentType="text/plain", Content="too late")).status_code == 403
    assert (await desk.ask("transcript")).status_code == 403
    assert (await talk.letting_in(interactionId="shop")).status_code == 409
    told = await talk.tells("shop", 3)
    assert told[-1]["ContentType"].endswith("chat.ended")
    await interactions.finish("shop")  # once more, or without a chat: nothing
    await interactions.finish("another")
    assert await outcome(talk, began="new") == [("started", "shop")]
    assert talk.counters.ended_interaction == 1


async def test_nobody_is_let_into_an_interaction_that_is_over(talk: Talk) -> None:
    Interactions(talk, done=True)
    refused = await talk.letting_in(interactionId="done")
    assert (refused.status_code, refused.json()["status"]["detail"]["field"]) == (409, "interactionId")
    assert (await talk.letting_in(interactionId="done", caller="foreign")).status_code == 200  # another tenant's has that id, too
    assert await talk.world.transactions.read(lambda tx: tx.rows("SELECT tenant FROM chats")) == [("other",)]
