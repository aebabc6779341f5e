from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from channels.events import EVENT_TYPES, AgentReady, Event
from channels.ingest.service import BATCH, CONTENT_TYPES, LINES, ONE, PLAIN, refusal
from hub.eventlog.memory import MemoryEventLog
from hub.storage.lease import Fence
from tests.channels.examples import WHOLE
from tests.channels.ingest.support import NOON_MS, RESTLESS_S, Ingesting, cloudevent, noon
from tests.channels.json_schemas import validator

EVENTS = "/ingest/v1/events"
_EVENT = Event("cx.agent.ready", NOON_MS, "/switch", "1", AgentReady(agent_id="ana"))


async def _post(hub: Ingesting, body: Any, content_type: str | None = BATCH, **headers: str) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    async with hub.client() as client:
        response = await client.post(EVENTS, content=content, headers=({"Content-Type": content_type} if content_type else {}) | headers)
    return response.status_code, response.json()


def _lines(*events: Any) -> bytes:
    return b"\n".join(event if isinstance(event, bytes) else orjson.dumps(event) for event in events)


# -- what is good ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "count"),
    [
        (ONE, cloudevent(), 1),
        (f"{ONE}; charset=utf-8", cloudevent(), 1),
        ("Application/CloudEvents+JSON;charset=UTF-8", cloudevent(), 1),
        (BATCH, [cloudevent("1"), cloudevent("2")], 2),
        (BATCH, [], 0),
        (PLAIN, cloudevent(), 1),
        (PLAIN, [cloudevent("1"), cloudevent("2")], 2),
        (LINES, _lines(cloudevent("1"), b"", cloudevent("2"), b"\r"), 2),
        (LINES, b"", 0),
    ],
)
async def test_every_content_type(content_type: str, body: Any, count: int) -> None:
    hub = Ingesting()
    assert await _post(hub, body, content_type) == (200, {"status": {"code": 0}, "data": {"accepted": count, "duplicates": 0}})
    assert len(await hub.logged()) == count


async def test_every_type_of_event() -> None:
    hub = Ingesting()
    events = [cloudevent(name, type=name, data=data) for name, data in WHOLE.items()]
    assert await _post(hub, events) == (200, {"status": {"code": 0}, "data": {"accepted": len(EVENT_TYPES), "duplicates": 0}})
    assert [event.type for _, event in await hub.logged()] == list(EVENT_TYPES)


async def test_a_body_that_is_not_ascii() -> None:
    hub = Ingesting(clock=noon(step=RESTLESS_S))
    assert (await _post(hub, cloudevent(data={"agentId": "José 東京"}), ONE))[0] == 200
    ((_, event),) = await hub.logged()
    assert event.data.agent_id == "José 東京"  # type: ignore[attr-defined]


async def test_an_event_without_time_happened_when_it_arrived() -> None:
    hub = Ingesting()
    event = cloudevent()
    del event["time"]
    await _post(hub, event, ONE)
    assert (await hub.logged())[0][1].time_ms == NOON_MS


async def test_that_an_event_came_without_time_is_kept_in_the_log() -> None:
    hub = Ingesting()
    event = cloudevent()
    del event["time"]
    await _post(hub, [event, cloudevent("2")])
    assert [(event.id, event.arrival) for _, event in await hub.logged()] == [("2", False), ("1", True)]
    await _post(hub, [cloudevent("3", time=None)])
    assert (await hub.logged())[-1][1].arrival


async def test_the_past_is_an_operation_of_its_own() -> None:
    for role, status, past in (("admin", 200, [True]), ("producer", 403, [])):
        hub = Ingesting(role=role)
        async with hub.client() as client:
            answer = await client.post("/ingest/v1/events?past=true", json=cloudevent())
            assert answer.status_code == status
            assert hub.recorder.past == past
            assert status == 200 or answer.json()["status"]["detail"] == {
                "operation": "/ingest/past",
                "reason": "no role of this credential allows it",
            }
            for query in ("", "?past=", "?past=false"):
                assert (await client.post(f"/ingest/v1/events{query}", json=cloudevent(query or "none"))).status_code == 200
            assert hub.recorder.past == [*past, False, False, False]
            answer = await client.post("/ingest/v1/events?past=yes", json=cloudevent())
            assert (answer.status_code, answer.json()["status"]["detail"]) == (
                400,
                {"field": "past", "expected": "true or false", "got": '"yes"'},
            )


async def test_repeats_are_counted() -> None:
    hub = Ingesting()
    await _post(hub, [cloudevent("1")])
    assert await _post(hub, [cloudevent("1"), cloudevent("2")]) == (200, {"status": {"code": 0}, "data": {"accepted": 1, "duplicates": 1}})
    assert await _post(hub, [cloudevent("1")]) == (200, {"status": {"code": 0}, "data": {"accepted": 0, "duplicates": 1}})


async def test_the_tenant_is_the_callers() -> None:
    hub = Ingesting()
    await _post(hub, [cloudevent()])
    assert len(await hub.logged("demo")) == 1


# -- what is partly good --------------------------------------------------------------------------------------------------------


async def test_some_fail() -> None:
    hub = Ingesting()
    status, answer = await _post(hub, [5, cloudevent("1"), cloudevent("2", data={}), cloudevent("3", time="2026-03-01T11:58:00Z")])
    assert status == 200
    assert answer == {
        "status": {"code": 2},
        "data": {"accepted": 2, "duplicates": 0},
        "errors": [
            {
                "index": 0,
                "status": {
                    "code": 400,
                    "message": "event: expected an object, got 5",
                    "detail": {"field": "event", "expected": "an object", "got": "5"},
                },
            },
            {
                "index": 2,
                "status": {
                    "code": 400,
                    "message": "data.agentId: expected a value, got nothing",
                    "detail": {"field": "data.agentId", "expected": "a value", "got": "nothing"},
                },
            },
        ],
    }
    assert [event.id for _, event in await hub.logged()] == ["3", "1"]
    assert hub.sequencer.counters.refused_invalid == 2


async def test_a_late_event_is_one_that_fails() -> None:
    hub = Ingesting()
    await _post(hub, [cloudevent("1")])
    status, answer = await _post(hub, [cloudevent("2", time="2026-03-01T11:58:59.5Z"), cloudevent("3"), 5])
    assert (status, answer["status"], answer["data"]) == (200, {"code": 2}, {"accepted": 1, "duplicates": 0})
    late, invalid = answer["errors"]
    assert (late["index"], invalid["index"]) == (0, 2)
    assert late["status"] == {
        "code": 400,
        "message": "time: expected 2026-03-01T11:59:00.000Z or later, the time of the last event of source /switch, "
        "got 2026-03-01T11:58:59.500Z, 500 ms earlier",
        "detail": {
            "field": "time",
            "expected": "2026-03-01T11:59:00.000Z or later, the time of the last event of source /switch",
            "got": "2026-03-01T11:58:59.500Z, 500 ms earlier",
        },
    }


def test_an_event_of_the_future_is_told_what_was_expected() -> None:
    fault = refusal("time: expected at most 300 s in the future, got 300.5 s", _EVENT)
    assert str(fault) == "time: expected at most 300 s in the future, got 300.5 s"
    assert (fault.field, fault.expected, fault.got) == ("time", "at most 300 s in the future", "300.5 s")


def test_an_object_may_be_called_like_a_part_of_the_sentence() -> None:
    fault = refusal("time: expected 3 or later, the time of the last event of agent x; got 1, got 2; got 1, 2 ms earlier", _EVENT)
    assert (fault.expected, fault.got) == ("3 or later, the time of the last event of agent x; got 1, got 2", "1, 2 ms earlier")


def test_a_refusal_in_other_words_is_told_whole() -> None:
    fault = refusal("the day is closed", _EVENT)
    assert (fault.field, fault.expected, fault.got) == ("time", "one that is in order (the day is closed)", '"2026-03-01T12:00:00.000Z"')


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-01:00", "9999-12-31T23:59:60Z"])
async def test_a_time_beyond_the_year_9999_is_an_error_of_its_event(time: str) -> None:
    status, answer = await _post(Ingesting(), [cloudevent("1", time=time), cloudevent("2")])
    assert (status, answer["data"]["accepted"]) == (200, 1)
    assert answer["errors"][0]["status"]["detail"] == {"field": "time", "expected": "a time before the year 10000 UTC", "got": f'"{time}"'}


async def test_a_number_that_cannot_be_kept_is_an_error_of_its_event() -> None:
    data = b'{"interactionId":"i","queue":"q","userData":{"order":[{"total":18446744073709551616}]}}'
    body = b'{"id":"1","source":"s","type":"cx.interaction.queued","data":%b}' % data
    hub = Ingesting()
    status, answer = await _post(hub, _lines(body, cloudevent("2")), LINES)
    assert (status, answer["data"]["accepted"]) == (200, 1)
    assert answer["errors"][0]["status"]["detail"] == {
        "field": "data.userData.order[0].total",
        "expected": "a number of at most 64 bits",
        "got": "18446744073709551616",
    }
    assert len(await hub.logged()) == 1


async def test_a_malformed_line_fails_alone() -> None:
    hub = Ingesting()
    status, answer = await _post(hub, _lines(cloudevent("1"), b'{"id": "2"', b'{"id":"\xff"}', cloudevent("4")), LINES)
    assert (status, answer["status"]["code"], answer["data"]["accepted"]) == (200, 2, 2)
    assert [error["index"] for error in answer["errors"]] == [1, 2]


async def test_a_repeat_is_good_beside_one_that_fails() -> None:
    hub = Ingesting()
    await _post(hub, [cloudevent("1")])
    status, answer = await _post(hub, [cloudevent("1"), 5])
    assert (status, answer["status"]["code"], answer["data"]) == (200, 2, {"accepted": 0, "duplicates": 1})


# -- what is not good -----------------------------------------------------------------------------------------------------------


async def test_none_is_good() -> None:
    status, answer = await _post(Ingesting(), [5, 6])
    assert status == 400
    assert answer["status"]["message"] == "none of 2 events was good; errors says why"
    assert [error["status"]["message"] for error in answer["errors"]] == [f"event: expected an object, got {text}" for text in (5, 6)]
    assert answer["data"] == {"accepted": 0, "duplicates": 0}
    assert [error["index"] for error in answer["errors"]] == [0, 1]


async def test_the_only_one_is_not_good() -> None:
    status, answer = await _post(Ingesting(), cloudevent(id=""), ONE)
    assert status == 400
    assert answer["status"]["message"] == 'id: expected text of at least 1 characters, got ""'
    assert answer["status"]["detail"]["field"] == "id"


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (ONE, b"", "expected JSON text, got nothing"),
        (ONE, b"{", "expected JSON text"),
        (ONE, [cloudevent()], "expected an event (a JSON object), got an array"),
        (BATCH, cloudevent(), "expected an array of events, got an object"),
        (BATCH, b"[1,", "expected JSON text"),
        (BATCH, b"[" * 100_000, "nested too deep"),
        (BATCH, b'[{"id":"\xff"}]', "expected UTF-8, got the byte 0xff"),
        (BATCH, b'["\xc3', "expected UTF-8, got the byte 0xc3"),
        (PLAIN, b"5", "an event (a JSON object) or an array of events, got 5"),
    ],
)
async def test_a_malformed_document(content_type: str, body: Any, expected: str) -> None:
    hub = Ingesting()
    status, answer = await _post(hub, body, content_type)
    assert status == answer["status"]["code"] == 400
    assert expected in answer["status"]["message"]
    assert answer["status"]["detail"]["field"] == "body"
    assert hub.sequencer.counters.refused_requests == 1


async def test_nesting_beyond_the_bound() -> None:
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    status, answer = await _post(Ingesting(), cloudevent(x=deep), ONE)
    assert status == 400
    assert "at most 64 levels" in answer["status"]["message"]


@pytest.mark.parametrize(
    ("content_type", "field"),
    [
        (None, "Content-Type"),
        ("text/plain", "Content-Type"),
        ("application/cloudevents+xml", "Content-Type"),
        (f"{ONE}; charset=latin1", "Content-Type"),
    ],
)
async def test_another_content_type(content_type: str | None, field: str) -> None:
    status, answer = await _post(Ingesting(), cloudevent(), content_type)
    assert status == answer["status"]["code"] == 415
    assert answer["status"]["detail"]["field"] == field
    if content_type != f"{ONE}; charset=latin1":
        assert answer["status"]["detail"]["expected"] == f"one of {', '.join(CONTENT_TYPES)}"


async def test_a_compressed_body() -> None:
    status, answer = await _post(Ingesting(), b"\x1f\x8b", ONE, **{"Content-Encoding": "br"})
    assert status == 415
    assert answer["status"]["detail"] == {"field": "Content-Encoding", "expected": "gzip or identity", "got": "br"}


async def test_too_many_bytes_by_content_length() -> None:
    hub = Ingesting(max_body_bytes=1024)
    status, answer = await _post(hub, b"x" * 1025, ONE)
    assert status == answer["status"]["code"] == 413
    assert answer["status"]["detail"] == {"field": "body", "expected": "at most 1024 bytes", "got": "1025"}


async def test_too_many_bytes_in_chunks() -> None:
    hub = Ingesting(max_body_bytes=1024)
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 500
            yield b"x" * 500

    async with hub.client() as client:
        response = await client.post(EVENTS, content=chunks(), headers={"Content-Type": ONE})
    assert response.status_code == 413
    assert response.json()["status"]["detail"]["field"] == "body"


async def test_as_many_bytes_as_may_be_in_chunks() -> None:
    body = orjson.dumps([cloudevent()])

    async def chunks() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])

    hub = Ingesting(max_body_bytes=1024)
    async with hub.client() as client:
        response = await client.post(EVENTS, content=chunks(), headers={"Content-Type": BATCH})
    assert response.status_code == 200


@pytest.mark.parametrize(("content_type", "body"), [(BATCH, [5, 5, 5]), (LINES, b"5\n5\n5")])
async def test_too_many_events(content_type: str, body: Any) -> None:
    status, answer = await _post(Ingesting(max_events=2), body, content_type)
    assert status == answer["status"]["code"] == 413
    assert answer["status"]["detail"] == {"field": "body", "expected": "at most 2 events", "got": "more"}


async def test_as_many_events_as_may_be() -> None:
    hub = Ingesting()
    status, answer = await _post(hub, [cloudevent(str(number)) for number in range(10_000)])
    assert (status, answer["data"]["accepted"]) == (200, 10_000)
    assert hub.sequencer.counters.accepted == 10_000


async def test_the_log_cannot_be_written() -> None:
    class Full(MemoryEventLog):
        async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
            raise OSError("no space left on device")

    hub = Ingesting(log=Full())
    async with hub.client() as client:
        response = await client.post(EVENTS, json=[cloudevent()])
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert "try again" in response.json()["status"]["message"]
    assert hub.sequencer.counters.accepted == 0


async def test_the_client_goes_away_in_the_middle() -> None:
    hub = Ingesting()
    await hub.sequencer.start()
    coming = iter([{"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": EVENTS,
        "raw_path": EVENTS.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", BATCH.encode()), (b"authorization", b"Bearer demo-token")],
        "server": ("hub", 80),
        "client": ("somebody", 1),
    }
    await hub.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert await hub.logged() == []


# -- who may ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "status"), [({"Authorization": ""}, 401), ({"Authorization": "Bearer wrong"}, 401)])
async def test_credentials_are_asked_for_before_the_body(headers: dict[str, str], status: int) -> None:
    hub = Ingesting()
    async with hub.client() as client:
        response = await client.post(EVENTS, content=b"x" * 100, headers=headers)
    assert response.status_code == status
    assert hub.sequencer.counters.requests == 0


async def test_an_unknown_key() -> None:
    async with Ingesting().client() as client:
        del client.headers["Authorization"]
        response = await client.post(EVENTS, json=[], headers={"x-api-key": "wrong"})
    assert (response.status_code, response.json()) == (403, {"message": "Forbidden"})


# -- schemas ---------------------------------------------------------------------------------------------------------------------


async def test_the_schemas_are_public() -> None:
    async with Ingesting().client() as client:
        del client.headers["Authorization"]
        listed = (await client.get("/ingest/v1/schemas")).json()["data"]["types"]
        assert [each["type"] for each in listed] == list(EVENT_TYPES)
        for each in listed:
            response = await client.get(each["schema"])
            assert response.headers["content-type"] == "application/schema+json"
            assert response.json()["$id"] == each["schema"]
            validator(response.json()).validate(WHOLE[each["type"]])


async def test_an_unknown_schema() -> None:
    async with Ingesting().client() as client:
        response = await client.get("/ingest/v1/schemas/cx.nothing")
    assert response.status_code == 404
    assert response.json()["status"]["detail"]["got"] == '"cx.nothing"'


async def test_openapi_lists_the_content_types() -> None:
    async with Ingesting().client() as client:
        document = (await client.get("/openapi.json")).json()
    operation = document["paths"][EVENTS]["post"]
    assert list(operation["requestBody"]["content"]) == list(CONTENT_TYPES)
    assert {"200", "400", "401", "403", "413", "415", "503"} <= set(operation["responses"])


async def test_ten_failures_are_told_and_the_others_counted() -> None:
    hub = Ingesting()
    status, answer = await _post(hub, [5] * 1000)
    assert (status, [error["index"] for error in answer["errors"]]) == (400, list(range(10)))
    assert answer["status"]["detail"]["moreErrors"] == 990
    status, answer = await _post(hub, [cloudevent("1"), *[5] * 10])
    assert (status, answer["status"], len(answer["errors"])) == (200, {"code": 2}, 10)
    status, answer = await _post(hub, [cloudevent("2"), *[5] * 11])
    assert (status, answer["status"], len(answer["errors"])) == (200, {"code": 2, "detail": {"moreErrors": 1}}, 10)
