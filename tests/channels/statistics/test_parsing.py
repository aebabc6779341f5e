"""Requests for thousands of statistics: read and answered in pieces, with the same words as small ones, and how many errors are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI

from channels.statistics.parsing import parse_request
from channels.statistics.routes import create_administration_router, create_router, register_errors
from hub.core.limits import Limits
from hub.core.time_slice import SLICE_S, TimeSlice
from hub.http.body import INLINE_BYTES
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.handlers import install
from hub.http.routing import include
from hub.security.cookies import CookieSigner
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.transports.runtime import AsyncioLoop
from tests.channels.statistics.support import Centre, agent_item
from tests.channels.statistics.test_routes import Credentials
from tests.support.turns import Turns
from tests.world import ManualClock

MAX_BODY = 1024 * 1024


@pytest.fixture
def centre() -> Centre:
    return Centre()


def slices() -> TimeSlice:
    """Each is used up at once."""
    return TimeSlice(ManualClock(step=2 * SLICE_S), AsyncioLoop())


@pytest.fixture
async def client(centre: Centre) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.state.errors = errors = ErrorTable()
    register_errors(errors)
    install(app, errors)
    for router in (create_router(centre.server, slices, max_body_bytes=MAX_BODY), create_administration_router(centre.server)):
        include(app, router)
    app.state.limits = Limits()
    app.state.gate = Gate(Directory(Credentials(), centre.clock), centre.clock, CookieSigner(b"s" * 32, centre.clock, lifetime_s=60))
    headers = {"Authorization": "Bearer admin"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub/statistics/v3", headers=headers) as made:
        yield made


def named(number: int, name: str = "InboundCalls") -> dict[str, object]:
    return {"statisticId": f"s{number}", "objectId": f"agent{number}", "objectType": "Agent", "name": name}


def body(*items: object, **members: object) -> bytes:
    return orjson.dumps({**members, "data": {"statistics": items}})


# -- how many errors are told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/subscriptions", 400), ("/operations/get-statistic-ex", 400)])
async def test_of_statistics_that_all_fail_ten_are_told_and_the_others_counted(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.post(path, content=body(*(named(n, "NoSuch") for n in range(15))))
    told = answer.json()
    assert (answer.status_code, len(told["errors"]), told["status"]["detail"]["moreErrors"]) == (status, 10, 5)
    assert told["status"]["message"].startswith("none of the 15 statistics")
    assert told["status"]["detail"]["field"] == "name"


@pytest.mark.parametrize("number", [1, 10])
async def test_where_all_errors_are_told_none_is_counted(client: httpx.AsyncClient, number: int) -> None:
    told = (await client.post("/subscriptions", content=body(*(named(n, "NoSuch") for n in range(number))))).json()
    assert "moreErrors" not in told["status"]["detail"]
    assert len(told["errors"]) == number


async def test_of_unknown_statistics_of_a_subscription_ten_are_told(client: httpx.AsyncClient) -> None:
    await client.post("/subscriptions", content=body(named(1), operationId="sub"))
    answer = await client.get("/subscriptions/sub/statistic-values", params={"statisticIds": ",".join(f"no{n}" for n in range(12))})
    told = answer.json()
    assert (answer.status_code, len(told["errors"]), told["status"]["detail"]["moreErrors"]) == (404, 10, 2)


async def test_where_some_fail_each_is_told(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", content=body(named(0), *(named(n, "NoSuch") for n in range(1, 15))))
    told = answer.json()
    assert (answer.status_code, told["status"], len(told["errors"])) == (200, {"code": 2}, 14)


# -- large requests -------------------------------------------------------------------------------------------------


async def test_a_large_request_is_read_and_answered_in_slices_as_a_small_one_is(client: httpx.AsyncClient) -> None:
    items = [named(n) for n in range(2000)]
    assert len(body(*items)) > INLINE_BYTES
    turns = Turns()
    answer = await client.post("/subscriptions", content=body(*items, operationId="sub"))
    taken = turns.stop()
    assert answer.json()["status"] == {"code": 0}
    assert [each["statisticId"] for each in answer.json()["data"]["statistics"]] == [f"s{n}" for n in range(2000)]
    small = await client.post("/subscriptions", content=body(items[7], operationId="other"))
    assert small.json()["data"]["statistics"] == answer.json()["data"]["statistics"][7:8]
    turns = Turns()
    peeked = await client.get("/subscriptions/sub/statistic-values")
    assert peeked.json()["data"] == answer.json()["data"]
    assert taken >= 2000 + 15  # others begin after each that is read, and between 128 that are told
    assert turns.stop() >= 12


PADDING = b" " * INLINE_BYTES

REFUSED: list[tuple[bytes, str]] = [
    (b"[1]", "body: expected a JSON object, got "),
    (b'"text"', "body: expected a JSON object, got "),
    (b"{}", "data: expected an object with statistics, got "),
    (b'{"data":null}', "data: expected an object with statistics, got "),
    (b'{"data":[]}', "data: expected an object with statistics, got "),
    (b'{"data":{}}', "data.statistics: expected a list of one or more statistics, got "),
    (b'{"data":{"statistics":{}}}', "data.statistics: expected a list of one or more statistics, got "),
    (b'{"data":{"statistics":[]}}', "data.statistics: expected a list of one or more statistics, got []"),
    (b'{"data":{"statistics":[{]}}', "body: expected a JSON object, got "),
    (b'{"data":{"statistics":[1e400]}}', "body: expected a JSON object, got "),
    (b'{"data":{"statistics":[{"a":"\\ud800"}]}}', "body: expected a JSON object, got "),
    (b'{"data":{"statistics":[1]}', "body: expected a JSON object, got "),
    (b'{"data":{"statistics":[1]},"operationId":01}', "body: expected a JSON object, got "),
]


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(("raw", "refusal"), REFUSED)
async def test_what_is_wrong_is_said_in_the_same_words(raw: bytes, refusal: str, large: bool) -> None:
    with pytest.raises(ApiError) as refused:
        await parse_request(raw + PADDING if large else raw, MAX_BODY, slices())
    assert refused.value.message.startswith(refusal)
    assert (refused.value.http_status, refused.value.detail is not None) == (400, True)


@pytest.mark.parametrize("operation_id", ["an id", None, 7, ["a"], {"a": 1}])
@pytest.mark.parametrize("padding", [b"", PADDING], ids=["small", "large"])
async def test_members_are_read_alike(operation_id: object, padding: bytes) -> None:
    items: list[Any] = [agent_item("s"), 7, None, ["x"], {}]
    raw = orjson.dumps({"other": {"a": [1]}, "operationId": operation_id, "data": {"more": 1, "statistics": items}})
    assert await parse_request(raw + padding, MAX_BODY, slices()) == (operation_id, items)
    assert await parse_request(orjson.dumps({"data": {"statistics": items}}) + padding, MAX_BODY, slices()) == (None, items)


@pytest.mark.parametrize(
    ("form", "member", "count", "refusal"),
    [
        (b'{"data":{"statistics":[%b]}}', b"[]", 200_000, "body: expected at most 104857 members and elements"),
        (b"{%b}", b'"k":1', 110_000, "body: expected at most 104857 members and elements"),
        (b'{"data":{"statistics":[{"a":[%b]}]}}', b"[]", 50_000, "data.statistics: expected at most 1000 members and elements"),
    ],
    ids=["lists", "keys", "one large statistic"],
)
async def test_a_body_of_more_members_than_statistics_have_is_refused_before_it_is_parsed(
    client: httpx.AsyncClient, form: bytes, member: bytes, count: int, refusal: str
) -> None:
    raw = form % b",".join([member] * count)
    for path in ("/subscriptions", "/operations/get-statistic-ex"):
        answer = await client.post(path, content=raw)
        assert answer.status_code == 413
        assert answer.json()["status"]["message"].startswith(refusal)


async def test_an_operation_id_of_a_megabyte_is_refused_by_its_name(client: httpx.AsyncClient) -> None:
    answer = await client.post("/subscriptions", content=body(named(1), operationId="x" * 500_000))
    assert answer.status_code == 400
    assert answer.json()["status"]["message"].startswith("operationId: expected text of 1 to 255 characters")
    assert len(answer.content) < 1000
