"""The stat server's report, and ``DELETE /api/v1/statistics/interactions/{id}``."""

from __future__ import annotations

import httpx

from tests.channels.statistics import test_routes
from tests.channels.statistics.support import Centre, call

centre, client = test_routes.centre, test_routes.client


async def test_an_interaction_is_cleared_by_its_id(client: httpx.AsyncClient, centre: Centre) -> None:
    identifier = "call/4711 ü"
    await centre.feed(centre.event("cx.interaction.queued", interactionId=identifier, queue="sales"))
    place = "http://hub/api/v1/statistics/interactions/call%2F4711%20%C3%BC"
    answer = await client.delete(place)
    assert (answer.status_code, answer.json()["status"]["code"]) == (200, 0)
    answer = await client.delete(place)
    assert answer.status_code == 404
    assert answer.json()["status"]["message"] == f"id: expected an interaction in which something goes on, got {identifier}"
    assert answer.json()["status"]["detail"]["field"] == "id"


async def test_the_stat_server_reports_itself(client: httpx.AsyncClient, centre: Centre) -> None:
    await client.post("/subscriptions", content=test_routes.SAMPLE_CREATE)
    await centre.feed(*call(centre))
    answer = await client.get("http://hub/api/v1/stat-server")
    assert answer.json()["data"] == {
        "state": "AVAILABLE",
        "statistics": 2,
        "subscriptions": 1,
        "logins": 1,
        "values": 0,
        "objects": 1,
        "interactions": 0,
        "position": 2,
        "time": centre.clock.wall,
        "held": 0,
        "eventsApplied": 2,
        "eventsRefused": 0,
        "lastSnapshot": None,
        "snapshotPosition": 0,
    }
