"""A sign-out on one of three hubs ends what the token has opened on the others, through every door, and nothing of anybody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.hubs import HubCluster
from tests.hub.storage.backends import Postgres
from tests.support.live_sessions import ENDED, WITHIN_S, Live
from tests.support.redis_server import why_no_redis

pytestmark = pytest.mark.timeout(300)

PASSWORD = "of both, and long enough"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, cluster_postgres: Postgres) -> Iterator[HubCluster]:
    """Three hubs with the users ana and bob, and a client that may use passwords."""
    if why := why_no_redis():
        pytest.skip(why)
    folder: Path = tmp_path_factory.mktemp("sign-out")
    made = HubCluster(folder, cluster_postgres, balancers=())
    for name in ("ana", "bob"):
        made.command("user", "add", name, "--tenant", "acme", "--role", "supervisor", "--password", PASSWORD)
    made.command("client", "add", "app", "--tenant", "acme", "--public", "--grant", "password", "--grant", "refresh_token")
    yield made
    made.close()


def tokens_of(three: HubCluster, user: str) -> dict[str, Any]:
    form = {"grant_type": "password", "client_id": "app", "username": user, "password": PASSWORD}
    answer = httpx.post(f"{three.hubs[0].url}/auth/v3/oauth/token", data=form, timeout=WITHIN_S)
    assert answer.status_code == httpx.codes.OK, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("query", ["", "?global=true"])
async def test_a_sign_out_on_one_node_ends_every_door_of_the_others(three: HubCluster, query: str) -> None:
    mine, others = tokens_of(three, "ana"), tokens_of(three, "bob")
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(Live(hub, mine["access_token"])) for hub in three.hubs]
        calm = [await stack.enter_async_context(Live(hub, others["access_token"])) for hub in three.hubs]
        async with httpx.AsyncClient(timeout=WITHIN_S) as client:
            headers = {"Authorization": f"Bearer {mine['access_token']}"}
            answer = await client.post(f"{three.hubs[0].url}/auth/v3/sign-out{query}", headers=headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        answered = time.monotonic()
        assert await asyncio.gather(*(live.ended() for live in lives)) == [ENDED] * 3
        assert [each.ends for each in calm] == [{}] * 3
        for number, live in enumerate(lives, 1):  # the promise is 2 s on a machine that has time (docs/performance.md); here it is told
            took = {what: round(at - answered, 2) for what, at in live.ended_at.items()}
            print(f"hub {number}, seconds from the answer of sign-out{query}: {json.dumps(took)}")
