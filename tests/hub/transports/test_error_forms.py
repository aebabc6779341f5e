"""Below the paths of another API, errors have that API's form also where the server itself or what traces requests refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.http.application import create_app
from hub.http.cors_rest import PageHeaders
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.permits import requires
from hub.http.tracing import Tracing
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.storage.transactions import StorageError
from hub.transports.dispatcher import Dispatcher, Guard
from hub.transports.server import configuration
from tests.hub.security.conftest import Access, access, clock, light_database, sqlite
from tests.hub.transports.harness import running
from tests.hub.transports.test_server import answer_to

__all__ = ["access", "clock", "light_database", "sqlite"]

PAGE = "https://crm.example"


class OddError(Exception):
    """Has an answer in the table."""


class Body(BaseModel):
    """A body."""

    Size: int


def form(scope: Scope, error: ApiError) -> Response:
    told = {"odd": error.http_status, "cause": type(error.__cause__).__name__, "text": error.message}
    return JSONResponse(told, 418 if isinstance(error.__cause__, OddError) else error.http_status, error.headers, "application/odd")


def forms() -> ErrorTable:
    errors = ErrorTable()
    errors.add(OddError, lambda error: ApiError(409, str(error), headers={"Retry-After": "7"}))
    for path in ("/odd", "/strange"):
        errors.add_form(path, form)
    return errors


def hub(access: Access, *, guards: Sequence[Guard] = (), faulty: bool = False) -> ASGIApp:
    """The hub's application with one API of its own and the odd one."""
    routes = APIRouter()

    @routes.put("/odd/{name}")
    async def put(name: str, caller: Annotated[Principal, requires("/statistics/read")], body: Body) -> dict[str, str]:
        match name:
            case "odd":
                raise OddError("odd")
            case "storage":
                raise StorageError("no disk")
            case "broken":
                raise KeyError(name)
        return {"of": caller.subject}

    @routes.get("/even")
    async def even() -> None:
        raise OddError("even")

    errors = forms()
    gate = access.make_gate(allowed_origins=[PAGE])
    app: ASGIApp = create_app(
        gate=gate,
        metrics=Metrics(),
        health=Health(),
        routers=[routes],
        errors=errors,
        page_headers={"/odd": PageHeaders(("X-Odd-Date",), ("X-Odd-Kind",))},
    )
    if faulty:

        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            raise KeyError("before anything")

        app = broken
    return Dispatcher([], Tracing(app, errors), Limits(max_headers=20), guards=guards, errors=errors)


async def ask(app: ASGIApp, method: str, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.request(method, path, **more)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "cause"),
    [
        ("PUT", "/odd/x", {"Size": "much"}, 400, "RequestValidationError"),
        ("PUT", "/odd/odd", {"Size": 1}, 418, "OddError"),
        ("PUT", "/odd/storage", {"Size": 1}, 503, "StorageError"),
        ("PUT", "/odd/broken", {"Size": 1}, 500, "NoneType"),
        ("PUT", "/odd/x", "two megabytes", 413, "NoneType"),
        ("GET", "/odd/x", None, 405, "NoneType"),
        ("GET", "/odd", None, 404, "NoneType"),
        ("GET", "/odd/x/y/z", None, 404, "NoneType"),
        ("GET", "/strange/x", None, 404, "NoneType"),
        ("GET", "//odd/x/y", None, 404, "NoneType"),
    ],
)
async def test_what_is_refused_has_the_form_of_the_path(access: Access, method: str, path: str, body: Any, status: int, cause: str) -> None:
    content = "x" * 2_000_000 if body == "two megabytes" else body
    answer = await ask(
        hub(access), method, f"http://localhost{path}", json=content, headers={"Authorization": f"Bearer {await access.token()}"}
    )
    assert (answer.status_code, answer.headers["content-type"], answer.json()["cause"]) == (status, "application/odd", cause)
    if status == 418:
        assert answer.headers["retry-after"] == "7"
    if status == 405:
        assert answer.headers["allow"] == "PUT"


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"x-api-key": "nobody's"}, 403), ({"Authorization": "Bearer x"}, 401)])
async def test_the_gate_refuses_in_its_form(access: Access, headers: dict[str, str], status: int) -> None:
    answer = await ask(hub(access), "PUT", "/odd/x", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["odd"], answer.headers["content-type"]) == (status, status, "application/odd")


async def test_who_refuses_in_front_of_rest_has_its_form(access: Access) -> None:
    def guard(_: Scope) -> ApiError:
        return ApiError(403, "not from here", headers={"Retry-After": "3"})

    guarded = await ask(hub(access, guards=[guard]), "GET", "/odd/x")
    assert (guarded.status_code, guarded.json()["text"]) == (403, "not from here")
    assert (guarded.headers["retry-after"], guarded.headers["content-length"]) == ("3", str(len(guarded.content)))
    many = await ask(hub(access), "GET", "/odd/x", headers={f"x-{number}": "x" for number in range(30)})
    hosts = await ask(hub(access), "GET", "/odd/x", headers={"Host": "a b"})
    broken = await ask(hub(access, faulty=True), "GET", "/odd/x")
    assert [(each.status_code, each.json()["odd"]) for each in (many, hosts, broken)] == [(431, 431), (400, 400), (500, 500)]
    assert "x-request-id" in broken.headers


async def test_the_server_gives_up_a_body_in_its_form(access: Access) -> None:
    config = configuration(hub(access), Limits(body_timeout_ms=100), lifespan=False, errors=forms())
    async with running(config) as port:
        token = (await access.token()).encode()
        head = b"PUT /odd/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nAuthorization: Bearer " + token + b"\r\n\r\n{"
        answer = await answer_to(port, head)
    lead, _, body = answer.partition(b"\r\n\r\n")
    assert lead.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\ncontent-type: application/odd" in lead
    assert b"\r\ncontent-length: %d" % len(body) in lead
    assert body == b'{"odd":408,"cause":"NoneType","text":"Request Timeout"}'


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /odd/x HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"],
        [b"GET /odd/x?", b"a" * 70_000],
        [b"GET /odd/x HTTP/1.1\r\n", b"X: a\r\n" * 12_000],
    ],
)
async def test_the_server_refuses_a_head_too_large_in_its_form(access: Access, pieces: list[bytes]) -> None:
    config = configuration(hub(access), Limits(), lifespan=False, errors=forms())
    async with running(config) as port:
        answer = await answer_to(port, b"".join(pieces))
    lead, _, body = answer.partition(b"\r\n\r\n")
    assert lead.startswith(b"HTTP/1.1 431 ")
    assert b"\r\ncontent-type: application/odd" in lead
    assert body == b'{"odd":431,"cause":"NoneType","text":"Request Header Fields Too Large"}'


async def test_a_head_too_large_elsewhere_has_no_form(access: Access) -> None:
    config = configuration(hub(access), Limits(), lifespan=False, errors=forms())
    async with running(config) as port:
        answer = await answer_to(port, b"GET /even HTTP/1.1\r\nX: " + b"a" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/odd" not in answer


@pytest.mark.parametrize("path", ["/even", "/oddly", "/x/odd", "/oddest/x"])
async def test_elsewhere_errors_are_the_hubs_own(access: Access, path: str) -> None:
    answer = await ask(hub(access), "GET", path)
    assert ("status" in answer.json(), answer.headers["content-type"]) == (True, "application/json")


async def test_pages_may_send_and_read_its_headers(access: Access) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-odd-date"}
    preflight = await ask(hub(access), "OPTIONS", "/odd/x", headers=asked)
    assert (preflight.status_code, "X-Odd-Date" in preflight.headers["access-control-allow-headers"]) == (200, True)
    assert (await ask(hub(access), "OPTIONS", "/even", headers=asked)).status_code == 400
    read = await ask(hub(access), "GET", "/odd/x", headers={"Origin": PAGE})
    exposed = {each.strip() for each in read.headers["access-control-expose-headers"].split(",")}
    assert {"X-Odd-Kind", "X-Request-Id"} <= exposed
    assert read.headers["access-control-allow-origin"] == PAGE
