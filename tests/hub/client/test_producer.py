import asyncio
from typing import Any

import pytest

from hub.client.producer import Producer, ProducerError
from tests.hub.client.fake_hub import FakeHub, taken


def impatient(url: str, **options: Any) -> Producer:
    """One that tries again at once."""
    return Producer(url, backoff_s=0.001, **options)


def _refused(index: int, message: str) -> dict[str, object]:
    return {"index": index, "status": {"code": 400, "message": message}}


async def test_a_batch_is_one_request_with_the_credentials() -> None:
    async with FakeHub().running() as hub, impatient(hub.url + "/", token="T", api_key="K") as producer:
        outcome = await producer.send([b'{"id":"1"}', b'{"id":"2"}'])
    ((headers, events),) = hub.requests
    assert events == [{"id": "1"}, {"id": "2"}]
    assert headers["Content-Type"] == "application/cloudevents-batch+json"
    assert (headers["Authorization"], headers["x-api-key"]) == ("Bearer T", "K")
    assert (outcome.accepted, outcome.duplicates, outcome.refused) == (2, 0, [])


async def test_no_credentials_no_headers() -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        await producer.send([b"{}"])
    assert not {"Authorization", "x-api-key"} & set(hub.requests[0][0])


@pytest.mark.parametrize("refused", [[_refused(1, "bad")], [_refused(0, "worse"), _refused(1, "bad")]])
async def test_refused_events_are_named(refused: list[dict[str, object]]) -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        hub.answers = [taken(2, refused)]
        outcome = await producer.send([b"{}", b"{}"])
    assert outcome.refused[-1] == (1, "bad")
    assert outcome.accepted == 2 - len(refused)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_hub_that_is_away_is_asked_again(status: int) -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        hub.answers = [(status, {"status": {"code": status, "message": "later"}}), (status, "no JSON")]
        outcome = await producer.send([b"{}"])
    assert outcome.accepted == 1
    assert (len(hub.requests), producer.retries) == (3, 2)


async def test_a_hub_that_comes_back_gets_the_batch() -> None:
    hub = FakeHub()
    async with hub.running():
        pass
    async with impatient(hub.url) as producer:
        sending = asyncio.create_task(producer.send([b"{}"]))
        while not producer.retries:
            await asyncio.sleep(0.001)
        async with hub.running():
            assert (await sending).accepted == 1


async def test_a_hub_that_stays_away_is_given_up() -> None:
    hub = FakeHub()
    async with hub.running():
        pass
    async with impatient(hub.url, give_up_s=0.01) as producer:
        with pytest.raises(ProducerError, match=r"did not take events for 0\.01 s"):
            await producer.send([b"{}"])


async def test_who_wants_to_end_does_not_wait() -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        hub.answers = [(503, {})] * 1000
        sending = asyncio.create_task(producer.send([b"{}"]))
        while not producer.retries:
            await asyncio.sleep(0.001)
        producer.stop_trying()
        with pytest.raises(ProducerError, match="did not take the last events: HTTP 503"):
            await sending


async def test_a_request_that_is_too_large_is_halved() -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        too_large = (413, {"status": {"code": 413, "message": "too large"}})
        hub.answers = [too_large, taken(2, [_refused(1, "bad")]), too_large, taken(1), taken(1, [_refused(0, "worse")])]
        outcome = await producer.send([b'{"id":%d}' % number for number in range(4)])
    assert [len(events) for _, events in hub.requests] == [4, 2, 2, 1, 1]
    assert outcome.refused == [(1, "bad"), (3, "worse")]
    assert outcome.accepted == 2


async def test_one_event_that_is_too_large_is_refused() -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        hub.answers = [(413, {"status": {"code": 413, "message": "too large"}})]
        assert (await producer.send([b"{}"])).refused == [(0, "too large")]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"status": {"code": 401, "message": "wrong token"}}, "wrong token; give a valid token"),
        (403, {"message": "Forbidden"}, "Forbidden; give a valid API key"),
        (404, "nothing here", "no message; is this the address of a hub"),
        (400, {"status": {"code": 400, "message": "malformed"}}, "HTTP 400: malformed"),
        (500, {"status": {"code": 500, "message": "failed"}}, "HTTP 500: failed"),
        (200, "<html>", "HTTP 200: no message"),
        (200, {"answer": 1}, "HTTP 200: no message"),
    ],
)
async def test_what_cannot_get_better_is_an_error_that_helps(status: int, body: object, expected: str) -> None:
    async with FakeHub().running() as hub, impatient(hub.url) as producer:
        hub.answers = [(status, body)]
        with pytest.raises(ProducerError, match=expected):
            await producer.send([b"{}", b"{}"])
    assert len(hub.requests) == 1
