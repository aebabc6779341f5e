"""The REST application as a whole."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI, Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from hub.audit.sign_ins import SignInLog
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.http import application
from hub.http.application import create_app
from hub.http.envelope import ok
from hub.http.openapi import describe
from hub.http.permits import requires
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.security.routes import create_router as security_router
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

    options: dict[str, Any] = {
        "gate": access.gate,
        "metrics": Metrics(),
        "health": Health(),
        "routers": [security_router(access.gate, SignInLog(access.transactions, access.audit), access.signing_out(access.gate)), routes],
        **more,
    }
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
    assert make["responses"].keys() == {"200", "400", "401", "403", "413", "429", "500", "503"}
    assert thing["responses"].keys() == {"200", "400", "500"}
    assert thing["security"] == []
    assert thing["responses"]["400"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert "422" not in str(document)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert {"/livez", "/readyz", "/metrics", "/api/v1/sign-in", "/api/v1/me", "/api/v1/tickets"} <= document["paths"].keys()


async def test_openapi_is_made_once_and_not_on_the_event_loop(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def describe_it(app: FastAPI) -> dict[str, Any]:
        made.append(threading.get_ident())
        return describe(app)

    monkeypatch.setattr(application, "describe", describe_it)
    async with client_of(build(access)) as client:
        one, other = await asyncio.gather(client.get("/openapi.json"), client.get("/openapi.json"))
    assert one.json() == other.json()
    assert one.headers["content-type"] == "application/json"
    assert len(made) == 1
    assert made != [threading.get_ident()]


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


async def test_a_body_is_read_up_to_a_limit_whatever_it_says_of_itself(access: Access) -> None:

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b'{"a": '

    key = {"x-api-key": await access.key(), "Content-Type": "application/json"}
    async with client_of(build(access, limits=Limits(max_rest_body_bytes=10))) as client:
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


async def test_ten_errors_are_told_and_the_others_counted(access: Access) -> None:
    async with client_of(build(access)) as client:
        many = {f"k{number}": number for number in range(500)}
        answer = await client.post("/api/v1/sign-in", json={f"k{number}": 1 for number in range(100)})
        things = await client.post("/things", json=dict.fromkeys(many, "x"), headers={"x-api-key": await access.key()})
    assert (answer.status_code, len(answer.json()["errors"]), answer.json()["status"]["detail"]["moreErrors"]) == (400, 10, 90)
    assert (things.status_code, len(things.json()["errors"]), things.json()["status"]["detail"]["moreErrors"]) == (400, 10, 490)
    assert things.json()["status"]["detail"]["field"] == "k0"


async def test_what_could_be_thousands_of_errors_is_refused_before_it_is_validated(access: Access) -> None:
    key = {"x-api-key": await access.key()}
    async with client_of(build(access)) as client:
        sign_in = await client.post("/api/v1/sign-in", json={f"k{number}": 1 for number in range(200_000)})
        members = await client.post("/things", json={f"k{number}": "x" for number in range(50_000)}, headers=key)
        text = await client.post("/things", json={"," * 50_000: 1}, headers=key)
        query = await client.get("/things/a?" + "&".join(["q=1"] * 1001))
    assert [each.status_code for each in (sign_in, members, text, query)] == [413, 413, 200, 400]
    assert members.json()["status"]["detail"] == {"field": "body", "expected": "at most 2000 members and elements", "got": '"more"'}
    assert query.json()["status"]["detail"]["field"] == "query"


async def test_a_credential_is_asked_for_before_the_body(access: Access) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was asked for")
        yield b""

    other = {"Authorization": f"Bearer {await access.token('ana', 'dashboard')}"}
    async with client_of(build(access)) as client:
        statuses = [(await client.post("/things", content=never(), headers=headers)).status_code for headers in ({}, other)]
    assert statuses == [401, 403]


async def test_a_route_class_must_ask_before_the_body(access: Access) -> None:
    class Own(APIRoute):
        """Asks behind it."""

    routes = APIRouter(route_class=Own)
    routes.get("/own")(ok)
    with pytest.raises(TypeError, match="/own: expected a route class that derives from HubRoute, got Own"):
        build(access, routers=[routes])


async def test_numbers_that_readers_may_refuse_are_refused(access: Access) -> None:
    key = {"x-api-key": await access.key(), "Content-Type": "application/json"}
    async with client_of(build(access)) as client:
        answers = [await client.post("/things", content=b'{"a":%b}' % number, headers=key) for number in (b"1e400", b"9" * 5000, b"NaN")]
    assert [each.status_code for each in answers] == [400, 400, 400]
    assert "got 1e400 at offset 5" in answers[0].json()["status"]["message"]
    assert "(5000 characters) at offset 5" in answers[1].json()["status"]["message"]


async def test_optional_parameters_without_a_value_are_as_if_absent(access: Access) -> None:
    routes = APIRouter()

    @routes.get("/list")
    async def page(needed: str, limit: int = 7, state: str | None = None, many: Annotated[list[int] | None, Query()] = None) -> Any:
        return ok([limit, state, needed, many])

    async with client_of(build(access, routers=[routes])) as client:
        answer = await client.get("/list?limit=&state=&needed=&many=&many=3")
    assert answer.json()["data"] == [7, None, "", [3]]


async def test_a_slash_at_the_end_is_no_redirect(access: Access) -> None:
    key = {"x-api-key": await access.key()}
    async with client_of(build(access)) as client:
        answers = [
            await client.get("/things/a/"),
            await client.post("/things/", json={"a": 1}, headers=key),
            await client.post("/things//", json={"a": 1}),
            await client.put("/things/"),
            await client.get("/nothing/"),
        ]
    assert [each.status_code for each in answers] == [200, 200, 404, 405, 404]


async def test_nul_in_a_text_is_refused_wherever_it_comes(access: Access) -> None:
    routes = APIRouter()

    @routes.post("/texts/{name}")
    async def keep(name: str, body: Annotated[dict[str, str], Body()], key: str = "") -> dict[str, Any]:
        await access.transactions.write(lambda tx: tx.row("SELECT ?, ?, ?", (name, key, body["a"])))
        return ok()

    async with client_of(build(access, routers=[routes])) as client:
        answers = [
            await client.post("/texts/a%00b", json={"a": ""}),
            await client.post("/texts/a?key=a%00b", json={"a": ""}),
            await client.post("/texts/a", json={"a": "a\x00b"}),
            await client.post("/texts/a", json={"a": "a\\u0000b"}),
        ]
    assert [each.status_code for each in answers] == [400, 400, 400, 200]
    assert [each.json()["status"]["detail"]["field"] for each in answers[:3]] == ["name", "key", "body"]
    assert "text without NUL (U+0000)" in answers[0].json()["status"]["message"]


async def test_the_methods_that_would_do_are_told_in_one_order(access: Access) -> None:
    async def plain(_request: Request) -> Response:
        return Response("ok")

    route = Route("/page", plain, methods=["PUT", "PATCH", "POST", "GET", "OPTIONS"])
    async with client_of(build(access, routes=[route])) as client:
        answer = await client.delete("/page")
    told = "GET, HEAD, OPTIONS, PATCH, POST, PUT"
    assert (answer.status_code, answer.headers["Allow"]) == (405, told)
    assert answer.json()["status"]["message"] == f"expected {told}, got DELETE"
