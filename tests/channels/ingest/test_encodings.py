"""How events may come in a request beside plain JSON: attributes in headers, other names of NDJSON, gzip, a byte-order mark."""

import codecs
import gzip
from typing import Any

import orjson
import pytest

from channels.ingest.service import BATCH, LINE_TYPES, LINES, ONE, PLAIN
from tests.channels.ingest.support import NOON_MS, RESTLESS_S, Ingesting, cloudevent, noon

EVENTS = "/ingest/v1/events"
ATTRIBUTES = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/switch",
    "ce-type": "cx.agent.ready",
    "ce-time": "2026-03-01T11:59:00Z",
}
DATA = b'{"agentId":"ana.lopez"}'

Headers = dict[str, str] | list[tuple[str, str]]


async def post(hub: Ingesting, body: bytes, headers: Headers) -> tuple[int, Any]:
    async with hub.client() as client:
        response = await client.post(EVENTS, content=body, headers=headers)
    return response.status_code, response.json()


async def refused(body: bytes, headers: Headers) -> dict[str, str]:
    """The detail of the refusal."""
    status, answer = await post(Ingesting(), body, headers)
    assert status == 400, answer
    detail: dict[str, str] = answer["status"]["detail"]
    return detail


# -- binary mode ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [PLAIN, "application/json; charset=utf-8", "text/json", "application/vnd.switch+json", "Application/JSON", ""],
)
async def test_an_event_in_headers(content_type: str) -> None:
    hub = Ingesting()
    headers = ATTRIBUTES | ({"Content-Type": content_type} if content_type else {})
    assert await post(hub, DATA, headers) == (200, {"status": {"code": 0}, "data": {"accepted": 1, "duplicates": 0}})
    ((_, event),) = await hub.logged()
    assert (event.id, event.source, event.type, event.time_ms) == ("1", "/switch", "cx.agent.ready", NOON_MS - 60_000)
    assert event.data.agent_id == "ana.lopez"  # type: ignore[attr-defined]


async def test_it_is_the_same_event_in_either_mode() -> None:
    hub = Ingesting()
    await post(hub, DATA, ATTRIBUTES | {"Content-Type": PLAIN})
    _, answer = await post(hub, orjson.dumps(cloudevent()), {"Content-Type": ONE})
    assert answer["data"] == {"accepted": 0, "duplicates": 1}


async def test_without_a_time_it_happened_when_it_arrived() -> None:
    hub = Ingesting()
    await post(hub, DATA, {name: value for name, value in ATTRIBUTES.items() if name != "ce-time"} | {"Content-Type": PLAIN})
    ((_, event),) = await hub.logged()
    assert (event.time_ms, event.arrival) == (NOON_MS, True)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("100%25", "100%"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%c3%a9", "é"),
        ('"in quotes"', "in quotes"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ("a+b", "a+b"),
    ],
)
async def test_values_are_percent_decoded(value: str, meaning: str) -> None:
    hub = Ingesting()
    status, answer = await post(hub, DATA, ATTRIBUTES | {"ce-source": value, "Content-Type": PLAIN})
    assert status == 200, answer
    ((_, event),) = await hub.logged()
    assert event.source == meaning


@pytest.mark.parametrize("value", ["José".encode(), "José".encode("latin-1")], ids=["utf-8", "latin-1"])
async def test_values_that_were_not_encoded(value: bytes) -> None:
    hub = Ingesting()
    headers: Any = [*((name.encode(), text.encode()) for name, text in ATTRIBUTES.items() if name != "ce-source"), (b"ce-source", value)]
    status, answer = await post(hub, DATA, headers)
    assert status == 200, answer
    assert (await hub.logged())[0][1].source == "José"


async def test_headers_beside_a_structured_event_are_passed_over() -> None:
    hub = Ingesting()
    for kind, body in ((ONE, cloudevent("a")), (BATCH, [cloudevent("b")]), (LINES, cloudevent("c"))):
        assert (await post(hub, orjson.dumps(body), ATTRIBUTES | {"Content-Type": kind}))[0] == 200
    assert {event.id for _, event in await hub.logged()} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"ce-id": None}, {"field": "ce-id", "expected": "a value", "got": "nothing"}),
        ({"ce-specversion": "0.3"}, {"field": "ce-specversion", "expected": "1.0", "got": '"0.3"'}),
        ({"ce-time": "yesterday"}, {"field": "ce-time", "got": '"yesterday"'}),
        ({"ce-type": "cx.nothing"}, {"field": "ce-type", "got": '"cx.nothing"'}),
        ({"ce-source": "%FF"}, {"field": "ce-source", "expected": "percent-encoded UTF-8", "got": '"%FF"'}),
        ({"ce-source": "a%0Ab"}, {"field": "ce-source", "expected": "text without control characters"}),
    ],
)
async def test_a_header_that_is_wrong_is_named(changes: dict[str, str | None], detail: dict[str, str]) -> None:
    headers = {name: value for name, value in (ATTRIBUTES | changes).items() if value is not None}
    found = await refused(DATA, headers | {"Content-Type": PLAIN})
    assert found | detail == found


async def test_a_header_that_comes_twice() -> None:
    found = await refused(DATA, [*ATTRIBUTES.items(), ("ce-id", "2"), ("Content-Type", PLAIN)])
    assert found == {"field": "ce-id", "expected": "one header of this name", "got": 'another: "2"'}


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"", "data"), (b"{", "data"), (b'{}, "id": "other"', "data"), (b"[1]", "data"), (b"{}", "data.agentId"), (b"[" * 2000, "data")],
)
async def test_data_that_is_wrong_is_named(body: bytes, field: str) -> None:
    assert (await refused(body, ATTRIBUTES | {"Content-Type": PLAIN}))["field"] == field


async def test_data_of_another_type_is_refused_by_its_content_type() -> None:
    status, answer = await post(Ingesting(), b"<event/>", ATTRIBUTES | {"Content-Type": "application/xml"})
    assert (status, answer["status"]["detail"]["field"]) == (415, "Content-Type")


# -- names of NDJSON, a byte-order mark ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LINE_TYPES)
async def test_lines_under_each_name(kind: str) -> None:
    hub = Ingesting()
    body = orjson.dumps(cloudevent("1")) + b"\n" + orjson.dumps(cloudevent("2")) + b"\n"
    assert (await post(hub, body, {"Content-Type": kind}))[1]["data"]["accepted"] == 2


@pytest.mark.parametrize("kind", [ONE, PLAIN, *LINE_TYPES])
async def test_a_byte_order_mark_is_skipped(kind: str) -> None:
    hub = Ingesting()
    assert (await post(hub, codecs.BOM_UTF8 + orjson.dumps(cloudevent()), {"Content-Type": kind}))[0] == 200


async def test_a_byte_order_mark_in_front_of_data_and_of_later_lines() -> None:
    hub = Ingesting()
    assert (await post(hub, codecs.BOM_UTF8 + DATA, ATTRIBUTES | {"Content-Type": PLAIN}))[0] == 200
    body = b"\n".join(codecs.BOM_UTF8 + orjson.dumps(cloudevent(name)) for name in "ab")
    assert (await post(hub, body, {"Content-Type": LINES}))[1]["data"]["accepted"] == 2


# -- gzip ----------------------------------------------------------------------------------------------------------------------


def packed(body: bytes, kind: str = BATCH, encoding: str = "gzip") -> tuple[bytes, Headers]:
    return gzip.compress(body), {"Content-Type": kind, "Content-Encoding": encoding}


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
@pytest.mark.parametrize("restless", [False, True])
async def test_a_body_that_is_packed(encoding: str, restless: bool) -> None:
    hub = Ingesting(clock=noon(step=RESTLESS_S if restless else 0))
    body = orjson.dumps([cloudevent(str(number)) for number in range(2000)])
    assert (await post(hub, *packed(body, encoding=encoding)))[1]["data"]["accepted"] == 2000


async def test_several_members_are_one_body() -> None:
    hub = Ingesting()
    lines = [orjson.dumps(cloudevent(str(number))) + b"\n" for number in range(3)]
    _, headers = packed(b"", LINES)
    assert (await post(hub, b"".join(map(gzip.compress, lines)), headers))[1]["data"]["accepted"] == 3


async def test_an_event_in_headers_whose_data_is_packed() -> None:
    hub = Ingesting()
    assert (await post(hub, gzip.compress(DATA), ATTRIBUTES | {"Content-Type": PLAIN, "Content-Encoding": "gzip"}))[0] == 200


async def test_what_comes_out_is_bounded() -> None:
    hub = Ingesting(max_body_bytes=100_000)
    body = gzip.compress(b" " * 50_000_000)
    assert len(body) < 100_000
    status, answer = await post(hub, body, {"Content-Type": BATCH, "Content-Encoding": "gzip"})
    assert (status, answer["status"]["detail"]["expected"]) == (413, "at most 100000 bytes")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", gzip.compress(b"[]")[:-4], gzip.compress(b"[]")[:-8] + bytes(8), gzip.compress(b"[]") + b"more"],
    ids=["empty", "plain", "cut", "checksum", "more"],
)
async def test_what_is_no_gzip_is_said(body: bytes) -> None:
    found = await refused(body, {"Content-Type": BATCH, "Content-Encoding": "gzip"})
    assert (found["field"], found["expected"]) == ("body", "gzip")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
async def test_another_encoding_is_refused_with_those_that_are_taken(encoding: str) -> None:
    hub = Ingesting()
    async with hub.client() as client:
        answer = await client.post(EVENTS, content=b"x", headers={"Content-Type": BATCH, "Content-Encoding": encoding})
    assert answer.status_code == 415
    assert answer.json()["status"]["message"] == f"Content-Encoding: expected gzip or identity, got {encoding}"
    assert answer.headers["Accept-Encoding"] == "gzip, identity"
