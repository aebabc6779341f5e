"""The errors at a path have the form of that path's API, whoever refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from channels.families import FAMILIES
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.node import Node
from hub.ops.settings import model_of
from tests.conftest import QUIET_SIMULATOR

OWN = "/nexus/v3"
"""A path of this test's hub whose errors have a form of their own."""


def form(scope: Scope, error: ApiError) -> Response:
    if error.http_status == 401:
        return Response(status_code=401, headers=error.headers)
    return JSONResponse({"own": error.http_status, "text": error.message}, error.http_status, error.headers)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    node = Node(model_of(FAMILIES)(data_dir=tmp_path, demo=True, simulator=QUIET_SIMULATOR), FAMILIES)
    node.errors.add_form(OWN, form)
    async with (
        node._lifespan(None),
        httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://127.0.0.1:8080") as made,
    ):
        yield made


DEMO = {"Authorization": "Bearer demo-token"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nexus/v3", DEMO, 404),
        ("GET", "/nexus/v3/nothing", DEMO, 404),
        ("PUT", "/nexus/v3/interactions/x", DEMO, 405),
        ("GET", "/nexus/v3/interactions/x", {"x-api-key": "no"}, 403),
        ("GET", "/nexus/v3/interactions/x", DEMO, 404),
        ("POST", "/nexus/v3/openmedia/a/interactions", DEMO | {"Content-Length": "99999999"}, 413),
        ("GET", "/nexus/v3/interactions/x", {"Host": "evil.example"}, 400),
        ("GET", "/nexus/v3/interactions/x", {f"x-{number}": "1" for number in range(300)}, 431),
    ],
)
async def test_whoever_refuses(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], status: int) -> None:
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.json()["own"] == status


async def test_a_form_may_have_no_body(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nexus/v3/interactions/x")
    assert (answer.status_code, answer.content, answer.headers["www-authenticate"]) == (401, b"", "Bearer")


@pytest.mark.parametrize("path", ["/nexus/v30", "/nexus", "/api/v1/nothing"])
async def test_other_paths_have_the_envelope(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers=DEMO)
    assert answer.status_code == 404
    assert answer.json()["status"]["code"] == 404


def test_a_path_has_one_form() -> None:
    table = ErrorTable()
    table.add_form("/a", form)
    with pytest.raises(ValueError, match="/a: expected a path whose errors have no form"):
        table.add_form("/a", form)
