import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from hub.core.limits import Limits
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.ops.routes import create_router


async def ask(made: Health, path: str) -> httpx.Response:
    app = FastAPI()
    app.state.limits = Limits()
    app.include_router(create_router(made, Metrics()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub.test") as client:
        return await client.get(path)


def answering(answer: str | None) -> Callable[[], Awaitable[str | None]]:
    async def check() -> str | None:
        return answer

    return check


async def test_a_hub_without_parts_is_ready() -> None:
    answer = await ask(Health(), "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": {}})


async def test_each_part_is_told() -> None:
    made = Health()
    made.register("database", answering(None))
    made.register("owner", answering("it is restoring"))
    answer = await ask(made, "/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "failing",
        "parts": {"database": {"status": "ok"}, "owner": {"status": "failing", "message": "it is restoring"}},
    }


async def test_what_all_nodes_miss_alike_degrades_and_only_strict_makes_unready() -> None:
    for strict, status in ((False, 200), (True, 503)):
        made = Health(strict=strict)
        made.register("database", answering("the database does not answer"), shared=True)
        made.register("disk", answering(None))
        answer = await ask(made, "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (status, "degraded")
        assert answer.json()["parts"]["database"] == {"status": "failing", "message": "the database does not answer"}
        made.register("events", answering("the disk is full"))
        answer = await ask(made, "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "failing")


async def test_a_draining_hub_is_not_ready_but_alive() -> None:
    made = Health()
    made.register("database", answering(None))
    made.drain()
    ready, live = await ask(made, "/readyz"), await ask(made, "/livez")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert (live.status_code, live.json()) == (200, {"status": "ok"})


async def test_a_check_that_raises_fails_without_telling_the_world_why() -> None:
    async def check() -> str | None:
        raise ConnectionError("postgres://ana:geheim@db")

    made = Health()
    made.register("database", check)
    with capture_logs() as logs:
        answer = await ask(made, "/readyz")
    assert answer.json()["parts"]["database"]["message"] == "the check failed: ConnectionError"
    assert logs[0]["part"] == "database"


async def test_a_check_that_hangs_fails_and_holds_up_no_other() -> None:
    async def hang() -> str | None:
        await asyncio.sleep(60)
        return None

    made = Health(check_s=0.01)
    made.register("slow", hang)
    made.register("quick", answering(None))
    parts: dict[str, Any] = (await ask(made, "/readyz")).json()["parts"]
    assert parts == {"slow": {"status": "failing", "message": "no answer within 0.01 s"}, "quick": {"status": "ok"}}


def test_a_part_is_registered_once() -> None:
    made = Health()
    made.register("a", answering(None))
    with pytest.raises(ValueError, match="the part a is registered twice"):
        made.register("a", answering(None))


async def test_who_asks_while_the_checks_run_gets_the_same_answers() -> None:
    asked: list[int] = []
    answer = asyncio.Event()

    async def check() -> str | None:
        asked.append(1)
        await answer.wait()
        return "broken"

    health = Health()
    health.register("part", check)
    first, *others = [asyncio.create_task(health.readiness()) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()  # a probe that gives up ends the check of nobody else
    answer.set()
    assert [(await other)[1]["parts"]["part"]["message"] for other in others] == ["broken"] * 4
    assert len(asked) == 1
    assert not (await health.readiness())[0]
    assert len(asked) == 2
