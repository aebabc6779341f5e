"""Interactions in a whole hub: what subscribers hear, and what the stat server counts, of one that REST began and ended."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from hub.client import BayeuxClient, Message
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess

OPEN_MEDIA = "/nexus/v3/openmedia/tickets/interactions"
CHANNEL = "/nexus/v3/interactions"
WITHIN_S = 20.0


def counted(hub: HubProcess) -> dict[str, int]:
    """The predefined statistics of the staging area of work items."""
    names = ("InteractionsEntered", "CurrentInteractionsWaiting", "InteractionsDeleted")
    query = "objectType=StagingArea&objectId=workitem"
    found: dict[str, int] = {}
    for name in names:
        answer = hub.get(f"/statistics/v3/statistic-values/{name}?{query}")
        assert answer.status_code == 200, answer.text
        found[name] = answer.json()["data"]["statistic"]["value"]["intValue"]
    return found


async def test_rest_moves_the_channels_and_the_staging_area(hub_process: HubFactory) -> None:
    hub = hub_process()

    async def count(**wanted: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while await asyncio.to_thread(counted, hub) != wanted:
                await asyncio.sleep(0.05)

    async with BayeuxClient(hub.url, token=hub.token) as client, client.subscribe(CHANNEL) as heard:
        made = await asyncio.to_thread(hub.post, OPEN_MEDIA, {"data": {"userData": {"customer": "4711"}}})
        assert made.status_code == 200, made.text
        identifier = made.json()["data"]["id"]
        await count(InteractionsEntered=1, CurrentInteractionsWaiting=1, InteractionsDeleted=0)
        await asyncio.to_thread(hub.post, f"{OPEN_MEDIA}/{identifier}/stop", {})
        await count(InteractionsEntered=1, CurrentInteractionsWaiting=0, InteractionsDeleted=1)
        told: list[Message] = []
        async with asyncio.timeout(WITHIN_S):
            async for message in heard:
                if message.data["entity"]["id"] == identifier:  # the demo's own interactions go on beside it
                    told.append(message)
                if len(told) == 2:
                    break
    entities: list[Any] = [each.data for each in told]
    assert {each["entity"]["selfUri"] for each in entities} == {f"{hub.url}/nexus/v3/interactions/{identifier}"}
    assert [(each["event"], each["entity"]["id"]) for each in entities] == [("STARTED", identifier), ("FINISHED", identifier)]
    found = await asyncio.to_thread(hub.get, entities[0]["entity"]["selfUri"].removeprefix(hub.url))
    assert found.status_code == 200


async def test_the_link_of_what_an_event_began_leads_to_it(hub_process: HubFactory) -> None:
    hub = hub_process()
    event = {"specversion": "1.0", "id": "1", "source": "test", "type": "cx.interaction.started"}
    event |= {"data": {"interactionId": "call-1", "media": "voice"}}  # type: ignore[dict-item]
    async with BayeuxClient(hub.url, token=hub.token) as client, client.subscribe(f"{CHANNEL}/call-1") as heard:
        headers = {**hub.headers, "Content-Type": "application/cloudevents+json"}
        answer = await asyncio.to_thread(httpx.post, f"{hub.url}/ingest/v1/events", json=event, headers=headers)
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(WITHIN_S):
            message = await anext(aiter(heard))
    uri: str = message.data["entity"]["selfUri"]
    assert uri == f"http://localhost:{hub.url.rpartition(':')[2]}/nexus/v3/interactions/call-1"
    assert (await asyncio.to_thread(httpx.get, uri, headers=hub.headers, timeout=20)).status_code == 200
