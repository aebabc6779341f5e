"""REST for desktops, as a hub answers it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hub.http.application import create_app
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from tests.channels.files.support import CONTACT, PNG, World


async def call(world: World, method: str, url: str, caller: str = "admin", host: str = "127.0.0.1:8080") -> httpx.Response:
    """One request."""
    app = create_app(gate=world.gate, metrics=Metrics(), health=Health(), routers=world.parts.routers, errors=world.context.errors)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=f"http://{host}") as client:
        return await client.request(method, url, headers={"Authorization": f"Bearer {caller}"})


async def data(world: World, method: str, url: str, **more: Any) -> Any:
    answer = await call(world, method, url, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_desktop_sees_the_files_of_an_interaction(world: World) -> None:
    made = [(await world.approved(resource=CONTACT, interaction_id="4712", tags={"a": "b"})).id for _ in range(2)]
    last = await world.complete(await world.uploaded("a.txt", PNG, resource=CONTACT, interaction_id="4712"))
    first = await data(world, "GET", "/api/v1/interactions/4712/files?limit=2", caller="supervisor")
    assert [each["id"] for each in first["files"]] == [last.id, made[1]]
    rejected = first["files"][0]
    assert (rejected["status"], rejected["interactionId"]) == ("REJECTED", "4712")
    assert "image/png" in rejected["reason"]
    assert "link" not in rejected
    rest = await data(world, "GET", f"/api/v1/interactions/4712/files?limit=2&cursor={first['cursor']}")
    assert [each["id"] for each in rest["files"]] == [made[0]]
    assert "cursor" not in rest
    assert await data(world, "GET", "/api/v1/interactions/4712/files", caller="foreign") == {"files": []}
    assert (await call(world, "GET", "/api/v1/interactions/4712/files?cursor=x")).status_code == 400
    assert (await call(world, "GET", "/api/v1/interactions/4712/files", caller="wall")).status_code == 403


async def test_one_file_has_a_link_and_is_deleted(world: World) -> None:
    file = await world.approved()
    found = await data(world, "GET", f"/api/v1/files/{file.id}?disposition=inline&expiresIn=5", caller="supervisor", host=world.base[7:])
    assert found["link"]["expiresAt"] == world.clock.wall_ms() + 5000
    assert found["createdBy"] == {"AWSIdentityArn": "arn:aws:iam::000000000000:user/ana"}
    answer = await world.client.get(found["link"]["url"])
    assert (answer.content, answer.headers["content-disposition"].split(";")[0]) == (b"hello", "inline")
    assert (await call(world, "DELETE", f"/api/v1/files/{file.id}", caller="supervisor")).status_code == 403
    assert (await call(world, "DELETE", f"/api/v1/files/{file.id}", caller="foreign")).status_code == 404
    assert await data(world, "DELETE", f"/api/v1/files/{file.id}") == {"id": file.id}
    for method in ("GET", "DELETE"):
        gone = await call(world, method, f"/api/v1/files/{file.id}")
        assert (gone.status_code, gone.json()["status"]["detail"]["field"]) == (404, "fileId")
    assert (await world.client.get(found["link"]["url"])).status_code == 404


async def test_a_link_is_made_only_to_a_name_of_the_hub(light: World) -> None:
    file = await light.approved()
    answer = await call(light, "GET", f"/api/v1/files/{file.id}", host="evil.example.com")
    assert (answer.status_code, answer.json()["status"]["detail"]["setting"]) == (400, "allowed_hosts")


async def test_the_limits_are_told(light: World) -> None:
    found = await data(light, "GET", "/api/v1/files/limits", caller="supervisor")
    assert (found["maxBytes"], found["chatFiles"], found["scanned"]) == (20 * 1024 * 1024, 35, False)
    assert "pdf" in found["extensions"]


@pytest.mark.parametrize("path", ["/api/v1/files/%00", "/api/v1/files/" + "a" * 300])
async def test_ids_that_are_none_are_refused(light: World, path: str) -> None:
    assert (await call(light, "GET", path)).status_code == 400
