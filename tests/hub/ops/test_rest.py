"""The REST application as a whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from hub.core.principal import Principal
from hub.ops import rest
from hub.ops.envelope import ok
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.ops.rest import create_app
from hub.security.api import router as security_router
from hub.security.rest import requires
from tests.hub.security.conftest import Access, access, clock
from tests.hub.storage.backends import light_database, sqlite

__all__ = ["access", "clock", "light_database", "sqlite"]


def build(access: Access, **more: Any) -> FastAPI:
    routes = APIRouter()

    @routes.get("/things/{name}", summary="A thing")
    async def thing(name: str) -> dict[str, Any]:
        return ok(name)

    @routes.post("/things", summary="Make things")
    async def make(caller: Annotated[Principal, requires("/ingest/write")], body: Annotated[dict[str, int], Body()]) -> dict[str, Any]:
        return ok(body)

    options: dict[str, Any] = {"gate": access.gate, "metrics": Metrics(), "health": Health(), "routers": [security_router, routes], **more}
    return create_app(**options)


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub.test")


async def test_openapi_says_who_may_call_and_how_errors_look(access: Access) -> None:
    async with client_of(build(access)) as client:
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/openapi.json")).json() == document
    assert document["info"]["title"] == "CX Event Hub"
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey", "cookie"}
    make, thing = document["paths"]["/things"]["post"], document["paths"]["/things/{name}"]["get"]
    assert {name for scheme in make["security"] for name in scheme} == {"bearer", "apiKey", "cookie"}
    assert make["responses"].keys() == {"200", "400", "401", "403", "500", "503"}
    assert thing["responses"].keys() == {"200", "400", "500"}
    assert "security" not in thing
    assert thing["responses"]["400"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert "422" not in str(document)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert {"/livez", "/readyz", "/metrics", "/api/v1/sign-in", "/api/v1/me", "/api/v1/tickets"} <= document["paths"].keys()


async def test_there_are_no_pages_that_load_scripts_from_elsewhere(access: Access) -> None:
    async with client_of(build(access)) as client:
        assert [(await client.get(path)).status_code for path in ("/docs", "/redoc")] == [404, 404]


async def test_plain_routes_come_behind_the_api(access: Access) -> None:
    pages = [Route("/livez", lambda _: PlainTextResponse("page")), Route("/", lambda _: PlainTextResponse("page"))]
    async with client_of(build(access, routes=pages)) as client:
        assert (await client.get("/livez")).json() == {"status": "ok"}
        assert (await client.get("/")).text == "page"


async def test_metrics_are_for_administrators(access: Access) -> None:
    admin = {"Authorization": f"Bearer {await access.token('root', 'admin')}"}
    other = {"Authorization": f"Bearer {await access.token('ana', 'supervisor')}"}
    async with client_of(build(access)) as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=other)).status_code == 403
        answer = await client.get("/metrics", headers=admin)
    assert answer.status_code == 200
    assert "hub_build_info" in answer.text


async def test_requests_are_measured_under_the_template_of_their_route(access: Access) -> None:
    made = Metrics()
    async with client_of(build(access, metrics=made)) as client:
        for path in ("/things/a", "/things/b", "/nowhere/1", "/nowhere/2"):
            await client.get(path)
        await client.post("/things")
    text = made.render()[1].decode()
    counts = {line.partition("_count")[2] for line in text.splitlines() if line.startswith("hub_http_request_duration_seconds_count")}
    assert counts == {
        '{method="GET",route="/things/{name}",status="200"} 2.0',
        '{method="GET",route="none",status="404"} 2.0',
        '{method="POST",route="/things",status="401"} 1.0',
    }


async def test_a_request_that_fails_is_measured_as_500(access: Access) -> None:
    made = Metrics()
    routes = [Route("/fails", lambda _: 1 / 0)]
    with capture_logs():
        async with client_of(build(access, metrics=made, routes=routes)) as client:
            assert (await client.get("/fails")).status_code == 500
    assert '{method="GET",route="page",status="500"} 1.0' in made.render()[1].decode()


async def test_pages_of_allowed_origins_may_call(access: Access) -> None:
    gate = access.make_gate(allowed_origins=["https://desk.test"])
    asked = {"Origin": "https://desk.test", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-b3-snapid"}
    async with client_of(build(access, gate=gate)) as client:
        preflight = await client.options("/things", headers=asked)
        own = await client.get("/things/a", headers={"Origin": "https://desk.test"})
        foreign = await client.get("/things/a", headers={"Origin": "https://evil.test"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
    assert own.headers["Access-Control-Allow-Origin"] == "https://desk.test"
    assert "Access-Control-Allow-Origin" not in foreign.headers


async def test_without_allowed_origins_none_may(access: Access) -> None:
    async with client_of(build(access)) as client:
        answer = await client.get("/things/a", headers={"Origin": "https://desk.test"})
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_body_is_read_up_to_a_limit_whatever_it_says_of_itself(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest.BodyLimit.__init__, "__defaults__", (10,))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b'{"a": '

    key = {"x-api-key": await access.key(), "Content-Type": "application/json"}
    async with client_of(build(access)) as client:
        fits = await client.post("/things", content=b'{"a": 1}', headers=key)
        too_large = await client.post("/things", content=chunks(), headers=key)
    assert (fits.status_code, too_large.status_code) == (200, 413)
    assert too_large.json()["status"]["message"] == "body: expected at most 10 bytes, got more"


async def test_what_the_life_span_does_is_done(access: Access) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    app = build(access, lifespan=lifespan)
    async with app.router.lifespan_context(app):
        assert seen == ["up"]
    assert seen == ["up", "down"]
