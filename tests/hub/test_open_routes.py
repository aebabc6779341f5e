"""What anybody may ask a whole hub for, as often as they like: it is made once, and has the short way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from channels.events import EVENT_TYPES
from channels.families import FAMILIES
from hub.http import application, fast_router
from hub.node import Node
from hub.ops.settings import model_of

ORIGIN = {"Origin": "http://localhost:1"}
"""A request of a page takes the way through the REST application."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(model_of(FAMILIES)(data_dir=tmp_path), FAMILIES)
    async with made._lifespan(None):
        yield made


def client(node: Node) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://localhost")


def open_routes(node: Node) -> list[str]:
    return [each.path for each in (*node.rest.state.open_routes, *(path for part in node.parts for path in part.open_routes))]


CORS = {"access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"}
"""What an answer to a page of another origin has beside the others."""


async def test_both_ways_answer_alike(node: Node) -> None:
    async with client(node) as made:
        for path in open_routes(node):
            for method in ("GET", "HEAD"):
                short, long = [await made.request(method, path, headers=headers) for headers in ({}, ORIGIN)]
                assert short.status_code == long.status_code == 200, path
                assert short.content == long.content
                assert "x-request-id" in short.headers
                differ = {"x-request-id", "vary", *CORS}
                assert {k: v for k, v in short.headers.items() if k not in differ} == {
                    k: v for k, v in long.headers.items() if k not in differ
                }
            assert (await made.post(path)).status_code == 405


async def test_whatever_needs_no_credential_is_an_open_route(node: Node) -> None:
    """Operations that read; to sign in and out is not for anybody to do by the thousand."""
    document = node.rest.openapi()
    without = {path for path, item in document["paths"].items() if "get" in item and item["get"]["security"] == []}
    schema = "/ingest/v1/schemas/{event_type}"
    assert without - {schema} <= set(open_routes(node))
    assert {schema.format(event_type=each) for each in EVENT_TYPES} <= set(open_routes(node))
    assert {"/livez", "/readyz", "/openapi.json", "/", "/wallboard/app.js", "/wallboard/config.json"} <= set(open_routes(node))


async def test_the_document_is_made_once_and_sent_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    made_of: list[Any] = []
    describe = application.describe
    monkeypatch.setattr(application, "describe", lambda app: made_of.append(app) or describe(app))
    async with client(node) as made:
        answers = [await made.get("/openapi.json", headers={"Accept-Encoding": coding}) for coding in ("gzip", "identity") * 10]
        known = {"If-None-Match": answers[0].headers["etag"]}
        again = await made.get("/openapi.json", headers=known)
    assert len(made_of) == 1
    assert len({answer.content for answer in answers}) == 1
    assert int(answers[0].headers["content-length"]) * 4 < len(answers[0].content)
    assert (again.status_code, again.content) == (304, b"")


async def test_an_answer_that_fails_is_an_error_of_the_api(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object) -> Any:
        raise RuntimeError("broken")

    assert isinstance(node.app._rest, fast_router.FastRouter)  # type: ignore[attr-defined]
    monkeypatch.setitem(node.app._rest._open, "/livez", fast_router.OpenRoute("/livez", broken))  # type: ignore[attr-defined]
    async with client(node) as made:
        answer = await made.get("/livez")
    assert (answer.status_code, answer.json()["status"]["code"]) == (500, 500)
