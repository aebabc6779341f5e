"""What is beneath the hubs is away, or one of them does not belong: the others go on, and health says what is so."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.cluster.deaf import HearingGate
from tests.cluster.hubs import HubCluster, until
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.timeout(240)

DEAF_WITHIN_S = 6.0


def ready(hub: HubProcess) -> tuple[int, dict[str, Any]]:
    response = httpx.get(f"{hub.url}/readyz", timeout=20)
    return response.status_code, response.json()


def test_a_hub_with_another_secret_gets_nowhere(cluster: HubCluster) -> None:
    """It is told why, and the others have seen nothing of it."""
    stranger = cluster.make_hub({"HUB_SECRET": "of somebody else, 32 bytes or so."})
    with pytest.raises(RuntimeError, match=r"ended with code 2[^$]*secret"):
        stranger.start()
    assert [ready(hub)[0] for hub in cluster.hubs] == [200, 200, 200]


def test_while_redis_is_away_the_hubs_live_and_say_so(cluster: HubCluster) -> None:
    cluster.redis.stall()
    try:
        for hub in cluster.hubs:
            body = until("it says that Redis is away", lambda hub=hub: degraded(hub), within_s=30)
            assert body["status"] == "degraded"
            assert httpx.get(f"{hub.url}/livez", timeout=20).status_code == httpx.codes.OK
    finally:
        cluster.redis.wake()
    for hub in cluster.hubs:
        until("it is ready again", lambda hub=hub: ready(hub)[1]["status"] == "ok", within_s=60)


def degraded(hub: HubProcess) -> dict[str, Any] | None:
    status, body = ready(hub)
    return body if status == httpx.codes.OK and body["parts"]["redis"]["status"] == "failing" else None


def test_a_hub_that_hears_nothing_is_not_ready(cluster: HubCluster) -> None:
    """Its commands are answered, what is published does not come: the others hear one another, and are ready."""
    with HearingGate(cluster.redis.folder / "gate.sock", cluster.redis.path) as gate:
        hub = cluster.make_hub(redis_url=gate.url)
        try:
            hub.start()
            gate.deafen()
            began = time.monotonic()
            body = until("it says that it is deaf", lambda: deaf(hub), within_s=10 * DEAF_WITHIN_S)
            print(f"503 after {time.monotonic() - began:.1f} s")
            assert body["status"] == "failing"
            assert httpx.get(f"{hub.url}/livez", timeout=20).status_code == httpx.codes.OK
            assert [ready(other)[0] for other in cluster.hubs] == [200, 200, 200]
            gate.hear()
            until("it is ready again", lambda: ready(hub)[1]["status"] == "ok", within_s=60)
        finally:
            hub.close()


def deaf(hub: HubProcess) -> dict[str, Any] | None:
    status, body = ready(hub)
    return body if status == httpx.codes.SERVICE_UNAVAILABLE and body["parts"]["bus"]["status"] == "failing" else None
