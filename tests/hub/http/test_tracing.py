"""Request ids, trace ids and the access log around the REST application."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from hub.http.tracing import Tracing, request_id, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def rest() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{name}")
    async def item(name: str) -> dict[str, Any]:
        return dict(structlog.contextvars.get_contextvars())

    @app.get("/fault")
    async def fault() -> None:
        raise KeyError("secret")

    return app


async def get(app: Any, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
        return await client.get(path, headers=headers)


async def test_ids_are_bound_echoed_and_logged_with_the_route_and_not_the_path() -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        response = await get(Tracing(rest()), "/items/secret", {"X-Request-Id": "r-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert response.json() == {"request_id": "r-1", "trace_id": TRACE}
    assert response.headers["X-Request-Id"] == "r-1"
    (line,) = logs
    assert isinstance(line.pop("ms"), float)
    assert line == {
        "event": "request",
        "method": "GET",
        "path": "/items/{name}",
        "status": 200,
        "log_level": "info",
        "request_id": "r-1",
        "trace_id": TRACE,
    }
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_logged_for_debugging_alone(path: str) -> None:
    app = FastAPI()

    @app.get(path)
    async def probe() -> None:
        return None

    with capture_logs() as logs:
        await get(Tracing(app), path)
    assert [(line["path"], line["status"], line["log_level"]) for line in logs] == [(path, 200, "debug")]


async def test_an_unknown_path_is_not_logged_as_it_came() -> None:
    with capture_logs() as logs:
        assert (await get(Tracing(rest()), "/unknown/secret")).status_code == 404
    assert (logs[0]["path"], logs[0]["status"]) == ("-", 404)


async def test_an_unexpected_exception_is_logged_once_with_the_id_and_answered() -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        response = await get(Tracing(rest()), "/fault", {"X-Request-Id": "r-2"})
    assert response.status_code == 500
    assert response.headers["X-Request-Id"] == "r-2"
    assert [(line["event"], line["request_id"]) for line in logs] == [("request_failed", "r-2"), ("request", "r-2")]
    assert logs[1]["status"] == 500


async def test_an_exception_before_any_answer_is_answered_with_the_envelope() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    response = await get(Tracing(broken), "/")
    assert response.status_code == 500
    assert response.json() == {"status": {"code": 500, "message": "Internal Server Error"}}
    assert response.headers["X-Request-Id"]


async def test_an_exception_after_the_answer_began_adds_nothing_to_it() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("whole")(scope, receive, send)
        raise RuntimeError("broken")

    with capture_logs() as logs:
        assert (await get(Tracing(broken), "/")).text == "whole"
    assert [line["event"] for line in logs] == ["request_failed", "request"]


async def test_what_is_no_http_passes_untouched() -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None: ...

    scope = {"type": "lifespan"}
    await Tracing(app)(scope, receive, send)
    assert seen == [(scope, receive, send)]


@pytest.mark.parametrize("value", [b"", b"a b", b"a\nb", b"x" * 129, "é".encode(), b"a;b", b"<script>"])
def test_a_request_id_that_is_not_safe_to_log_is_replaced(value: bytes) -> None:
    assert re.fullmatch("[0-9a-f]{32}", request_id([(b"x-request-id", value)]))


def test_without_a_request_id_one_is_made() -> None:
    assert request_id([]) != request_id([])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())], TRACE),
        ([(b"x-b3-traceid", b"80F198EE56343BA8"), (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-00".encode())], TRACE),
        ([(b"traceparent", f"01-{TRACE}-00f067aa0ba902b7-01-more".encode())], TRACE),
        ([(b"x-b3-traceid", b"80F198EE56343BA8")], "80f198ee56343ba8"),
        ([(b"x-b3-traceid", TRACE.encode())], TRACE),
        ([(b"traceparent", b"garbage"), (b"x-b3-traceid", TRACE.encode())], TRACE),
    ],
)
def test_the_callers_trace_goes_on(headers: list[tuple[bytes, bytes]], expected: str) -> None:
    assert trace_id(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01")],
        [(b"traceparent", f"00-{TRACE}-{'0' * 16}-01".encode())],
        [(b"traceparent", f"ff-{TRACE}-00f067aa0ba902b7-01".encode())],
        [(b"traceparent", f"00-{TRACE.upper()}-00f067aa0ba902b7-01".encode())],
        [(b"x-b3-traceid", b"80f198ee56343ba")],
    ],
)
def test_a_trace_that_is_not_valid_is_replaced(headers: list[tuple[bytes, bytes]]) -> None:
    assert trace_id(headers) not in {TRACE, "0" * 32}
    assert re.fullmatch("[0-9a-f]{32}", trace_id(headers))
