from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.responses import Response
from structlog.testing import capture_logs

from hub.core.json_text import ascii_json, show
from hub.http.envelope import failure, ok, status
from hub.http.errors import ApiError
from hub.http.handlers import install
from hub.http.responses import EnvelopeResponse


def test_a_success_has_only_what_there_is() -> None:
    assert ok() == {"status": {"code": 0}}
    assert ok({"a": 1}) == {"status": {"code": 0}, "data": {"a": 1}}
    assert ok([], code=2, errors=[{"status": status(400, "x")}]) == {
        "status": {"code": 2},
        "data": [],
        "errors": [{"status": {"code": 400, "message": "x"}}],
    }


def test_an_error_has_only_what_there_is() -> None:
    assert failure(404, "gone") == {"status": {"code": 404, "message": "gone"}}
    assert failure("SE-1", "no", {"ConfCode": 1}, errors=[]) == {"status": {"code": "SE-1", "message": "no", "detail": {"ConfCode": 1}}}


@pytest.mark.parametrize("value", ["é", "€uro", "😀", "\u2028", '"\\', "\x7f", {"ключ": ["\U0010ffff"]}])
def test_output_is_ascii_and_means_the_same(value: object) -> None:
    encoded = ascii_json(value)
    assert encoded.isascii()
    assert orjson.loads(encoded) == value


def test_characters_beyond_the_first_plane_are_a_surrogate_pair() -> None:
    assert ascii_json("😀") == b'"\\ud83d\\ude00"'


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), ("a", '"a"'), (2**70, str(2**70)), ({1, 2}, "{1, 2}")])
def test_what_came_is_shown_as_json_where_it_can_be(value: object, shown: str) -> None:
    assert show(value) == shown


def test_what_came_is_cut() -> None:
    assert len(show("x" * 5000)) == 123


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    within: list[str] = []


class Body(BaseModel):
    number: int
    name: str = ""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    password: str = Field("", min_length=3)
    newPassword: str = ""
    roles: list[str] = Field([], max_length=1)
    grants: list[Inner] | None = None

    @model_validator(mode="after")
    def not_both(self) -> "Strict":
        if self.password and self.newPassword:
            raise ValueError("expected one of the two")
        return self


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(default_response_class=EnvelopeResponse)
    install(app)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("inner details")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            raise RuntimeError("inner details")

        return StreamingResponse(body())

    @app.get("/refuses")
    async def refuses() -> None:
        raise ApiError(409, "taken", code="SE-9", detail={"a": 1}, errors=[{"status": status(1)}], headers={"Retry-After": "3"})

    @app.get("/field")
    async def field() -> None:
        raise ApiError.of_field("name", "a text", 5)

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.post("/body")
    async def body(body: Body, limit: Annotated[int, Query(ge=1)] = 1) -> dict[str, Any]:
        return ok(body.name)

    @app.post("/strict")
    async def strict(body: Strict) -> dict[str, Any]:
        return ok(len(body.roles))

    @app.get("/plain")
    async def plain() -> Response:
        return Response("x")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub.test") as made:
        yield made


async def test_an_api_error_leaves_in_the_envelope(client: httpx.AsyncClient) -> None:
    answer = await client.get("/refuses")
    assert answer.json() == {
        "status": {"code": "SE-9", "message": "taken", "detail": {"a": 1}},
        "errors": [{"status": {"code": 1}}],
    }
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "3")


async def test_a_field_error_names_field_expected_and_got(client: httpx.AsyncClient) -> None:
    assert (await client.get("/field")).json() == {
        "status": {
            "code": 400,
            "message": "name: expected a text, got 5",
            "detail": {"field": "name", "expected": "a text", "got": "5"},
        }
    }


async def test_what_nobody_expected_is_500_and_logged_without_details_to_the_caller(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await client.get("/fails")
    assert (answer.status_code, answer.json()["status"]["code"]) == (500, 500)
    assert "inner details" not in answer.text
    assert [(log["event"], log["path"]) for log in logs] == [("request failed", "/fails")]


async def test_half_a_response_is_not_followed_by_an_envelope(client: httpx.AsyncClient) -> None:
    with capture_logs(), pytest.raises(RuntimeError, match="inner details"):
        await client.get("/half")


async def test_nothing_there_is_404_in_the_envelope(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status_code, answer.json()) == (404, {"status": {"code": 404, "message": "there is nothing at /nowhere"}})


async def test_another_method_is_405_in_the_envelope(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/fails")
    assert (answer.status_code, answer.json()["status"]) == (405, {"code": 405, "message": "expected GET, got DELETE"})
    assert answer.headers["Allow"] == "GET"


async def test_other_http_errors_keep_their_words(client: httpx.AsyncClient) -> None:
    answer = await client.get("/teapot")
    assert (answer.status_code, answer.json()["status"]["message"]) == (418, "short and stout")


@pytest.mark.parametrize(
    ("content", "query", "detail"),
    [
        (b"{}", "", {"field": "number", "expected": "a value (in the body)", "got": "nothing"}),
        (b'{"number":"x"}', "", {"field": "number", "expected": "a valid integer", "got": '"x"'}),
        (b'{"number":1,"name":2}', "", {"field": "name", "expected": "a valid string", "got": "2"}),
        (b'{"number":1}', "?limit=0", {"field": "limit", "expected": "greater than or equal to 1", "got": '"0"'}),
    ],
)
async def test_validation_is_400_and_names_the_field(client: httpx.AsyncClient, content: bytes, query: str, detail: dict[str, str]) -> None:
    answer = await client.post(f"/body{query}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["status"]["detail"] == detail


async def test_all_findings_are_told(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body?limit=x", json={"number": "x", "name": 1})
    assert [error["status"]["detail"]["field"] for error in answer.json()["errors"]] == ["limit", "number", "name"]


async def test_malformed_json_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body", content=b'{"a":', headers={"Content-Type": "application/json"})
    detail = answer.json()["status"]["detail"]
    assert (answer.status_code, detail["field"]) == (400, "body")
    assert detail["expected"].startswith("JSON (")
    assert "got" not in detail
    assert "{}" not in answer.json()["status"]["message"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"passwd": "hunter2secret"}, "passwd: expected no field of this name; did you mean password?"),
        ({"zz": "hunter2secret"}, "zz: expected no field of this name; there are password, newPassword, roles, grants"),
        ({"grants": [{"withn": ["hunter2secret"]}]}, "grants.0.withn: expected no field of this name; did you mean within?"),
        ({"password": 12345678}, "password: expected a valid string, got a hidden value"),
        ({"newPassword": {"a": 12345678}}, "newPassword: expected a valid string, got a hidden value"),
        ({"password": "hunter2secret", "newPassword": "hunter2secret"}, 'expected one of the two, got {"password":"[hidden]",'),
        ({"roles": ["a", "b"]}, 'roles: expected at most 1 item, got ["a","b"]'),
    ],
)
async def test_no_value_is_shown_that_may_be_a_secret(client: httpx.AsyncClient, sent: dict[str, Any], said: str) -> None:
    answer = await client.post("/strict", json=sent)
    assert answer.status_code == 400
    assert said in answer.json()["status"]["message"]
    assert "hunter2secret" not in answer.text
    assert "12345678" not in answer.text


async def test_answers_are_ascii(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body", json={"number": 1, "name": "é😀"})
    assert answer.content == b'{"status":{"code":0},"data":"\\u00e9\\ud83d\\ude00"}'


async def test_other_responses_pass_unchanged(client: httpx.AsyncClient) -> None:
    assert (await client.get("/plain")).text == "x"
