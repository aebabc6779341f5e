"""The endpoint /events on the wire: a real server, a real gate, clients that read and that do not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.transports.sse import EventStreamEndpoint
from tests.hub.transports.endpoint_house import BEARER, House
from tests.hub.transports.endpoint_house import house as build_house

WITHIN_S = 10.0


@asynccontextmanager
async def house(**options: Any) -> AsyncIterator[House[EventStreamEndpoint]]:
    async with build_house(EventStreamEndpoint, **options) as made:
        try:
            yield made
        finally:
            await made.endpoint.drain(0.0)
            await until(lambda: len(made.endpoint) == 0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


def http(hub: House[EventStreamEndpoint], **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{hub.port}", headers=headers, timeout=WITHIN_S)


class Stream:
    """An open stream, read block by block: each a map of field to its value, comments under an empty name."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def block(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(WITHIN_S):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        raise EOFError(fields)

    async def event(self) -> Any:
        """The data of the next message."""
        while True:
            fields = await self.block()
            if fields.get("event") == "message":
                return json.loads(fields["data"])

    async def ended(self) -> None:
        """Read to the end."""
        async with asyncio.timeout(WITHIN_S):
            async for _ in self._lines:
                pass


@asynccontextmanager
async def stream(hub: House[EventStreamEndpoint], *channels: str, **headers: str) -> AsyncIterator[Stream]:
    query = [("channel", channel) for channel in channels]
    async with http(hub, **(headers or BEARER)) as client, client.stream("GET", "/events", params=query) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)


def raw(hub: House[EventStreamEndpoint]) -> AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that reads when the test does, and with a small buffer."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, limit=4096)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    return opened()


# -- who is let in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/events", "/events/"])
@pytest.mark.parametrize("headers", [BEARER, {"x-api-key": "demo-key"}])
async def test_a_stream_opens_at_once(path: str, headers: dict[str, str]) -> None:
    async with house() as hub, http(hub, **headers) as client, client.stream("GET", path, params={"channel": "/a"}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert "hub-recovered" not in response.headers
        assert (await Stream(response).block())["retry"].isdigit()


async def test_the_sign_in_cookie_of_the_own_page() -> None:
    async with house() as hub, stream(hub, "/a", Cookie=await hub.cookie()) as events:
        await hub.emit("/a", b'"x"')
        assert await events.event() == {"channel": "/a", "data": "x"}


async def test_the_sign_in_cookie_of_a_foreign_page_is_not_looked_at() -> None:
    async with house() as hub, http(hub, Cookie=await hub.cookie(), Origin="https://elsewhere.example") as client:
        response = await client.get("/events", params={"channel": "/a"})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


async def test_a_ticket_opens_one_stream() -> None:
    async with house() as hub, http(hub) as client:
        query = {"channel": "/a", "ticket": await hub.ticket()}
        for _ in range(2):  # a browser's EventSource comes back to the same URL
            async with client.stream("GET", "/events", params=query) as response:
                assert response.status_code == 200
        other = {**query, "channel": "/b"}
        assert (await client.get("/events", params=other)).status_code == 401


async def test_a_newer_stream_of_the_ticket_takes_the_old_ones_place() -> None:
    async with house() as hub, http(hub) as client:
        query = {"channel": "/a", "ticket": await hub.ticket()}
        async with client.stream("GET", "/events", params=query) as old, client.stream("GET", "/events", params=query) as new:
            assert (old.status_code, new.status_code) == (200, 200)
            assert "took this one's place" in (await old.aread()).decode()
            assert len(hub.hub.sessions) == 1


async def test_a_head_leaves_a_ticket_and_its_stream_as_they_are() -> None:
    async with house() as hub, http(hub) as client:
        query = {"channel": "/a", "ticket": await hub.ticket()}
        assert (await client.head("/events", params=query)).status_code == 200
        async with client.stream("GET", "/events", params=query) as response:
            assert response.status_code == 200
            (stream,) = hub.hub.sessions.by_id
            assert (await client.head("/events", params=query)).status_code == 200
            assert list(hub.hub.sessions.by_id) == [stream]
        assert hub.gate.tickets.counters.resumed == 0
        assert (await client.head("/events", params={**query, "channel": "/b"})).status_code == 401


async def test_a_ticket_whose_stream_was_refused_is_used_up() -> None:
    async with house() as hub, http(hub) as client:
        query = {"channel": "nonsense", "ticket": await hub.ticket()}
        assert (await client.get("/events", params=query)).status_code == 400
        assert (await client.get("/events", params=query)).status_code == 401


async def test_anonymous() -> None:
    async with house(open_to_all=True) as hub, stream(hub, "/a", Accept="text/event-stream"):
        pass
    async with house() as hub, http(hub) as client:
        assert (await client.get("/events", params={"channel": "/a"})).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"), [({"Authorization": "Bearer wrong"}, 401), ({"x-api-key": "wrong"}, 403), ({"Authorization": "Basic x"}, 401)]
)
async def test_bad_credentials(headers: dict[str, str], status: int) -> None:
    async with house(open_to_all=True) as hub, http(hub, **headers) as client:
        assert (await client.get("/events", params={"channel": "/a"})).status_code == status


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "channel"),
        ("channel=", 400, "channel"),
        ("channel=/a/*/b", 400, "/a/*/b"),
        ("channel=/a&channel=b", 400, "b"),
        ("channel=/hub/x", 403, "/hub/x"),
        ("channel=/a&since=yesterday", 400, "since"),
    ],
)
async def test_a_bad_query_says_which_field(query: str, status: int, words: str) -> None:
    async with house(open_to_all=True) as hub, http(hub) as client:
        response = await client.get(f"/events?{query}")
        assert response.status_code == status
        assert response.json()["status"]["code"] == status
        assert words in response.json()["status"]["message"]


async def test_methods() -> None:
    async with house() as hub, http(hub, **BEARER) as client:
        post = await client.post("/events", params={"channel": "/a"})
        assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        head = await client.head("/events", params={"channel": "/a"})
        assert (head.status_code, head.headers["content-type"], head.content) == (200, "text/event-stream", b"")


async def test_allowed_origins() -> None:
    async with house() as hub, http(hub, Origin="https://wallboard.example", **BEARER) as client:
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization,last-event-id"}
        preflight = await client.options("/events", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://wallboard.example"
        assert "last-event-id" in preflight.headers["access-control-allow-headers"].lower()
        async with client.stream("GET", "/events", params={"channel": "/a"}) as response:
            assert response.headers["access-control-allow-origin"] == "https://wallboard.example"
            assert response.headers["access-control-allow-credentials"] == "true"
            assert "Hub-Recovered" in response.headers["access-control-expose-headers"]


async def test_too_many_sessions() -> None:
    async with house(limits=Limits(max_sessions=1)) as hub, stream(hub, "/a"), http(hub, **BEARER) as client:
        refused = await client.get("/events", params={"channel": "/a"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"].isdigit()


async def test_an_address_that_asks_too_often_is_told_when_to_come_back() -> None:
    async with house(limits=Limits(handshakes_per_s_per_address=1)) as hub, stream(hub, "/a"), http(hub, **BEARER) as client:
        refused = await client.get("/events", params={"channel": "/a"})
        assert refused.status_code == 429
        assert refused.headers["retry-after"].isdigit()


async def test_http_1_0_gets_a_stream_without_chunks() -> None:
    async with house() as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(b"GET /events?channel=/a HTTP/1.0\r\nAuthorization: Bearer demo-token\r\n\r\n")
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).lower()
        body = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
    assert head.startswith(b"http/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"\r\nconnection: close\r\n" in head
    assert not re.fullmatch(rb"[0-9a-f]+\r\n", body)


async def test_a_websocket_is_refused() -> None:
    async with house() as hub:
        with pytest.raises(InvalidStatus) as raised:
            async with hub.connect("/events?channel=/a", **BEARER):
                pass
        assert raised.value.response.status_code == 403


# -- what is heard ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [True, False], ids=["own server", "plain uvicorn"])
async def test_events_in_their_order_with_data_as_it_is(frames: bool) -> None:
    async with house(frames=frames) as hub, stream(hub, "/a", "/b/**") as events:
        for number in range(100):
            await hub.emit("/b/c" if number % 2 else "/a", b'{"n":%d,"price":1.10}' % number)
        await hub.emit("/c")
        blocks = [await events.block() for _ in range(101)][1:]
        assert [json.loads(block["data"])["data"]["n"] for block in blocks] == list(range(100))
        assert blocks[1] == {"event": "message", "data": '{"channel":"/b/c","data":{"n":1,"price":1.10}}'}


async def test_state_channels_say_their_values_first() -> None:
    async with house() as hub:
        hub.states["/state"] = b'"present"'
        async with stream(hub, "/state") as events:
            assert await events.event() == {"channel": "/state", "data": "present"}


async def test_last_event_id_resumes_a_log() -> None:
    async with house() as hub:
        async with stream(hub, "/log/**") as events:
            for number in range(5):
                await hub.emit("/log/a", b"%d" % number)
            blocks = [await events.block() for _ in range(6)][1:]
            ids = [block["id"] for block in blocks]
            assert [int(one) for one in ids] == sorted({int(one) for one in ids})
        await hub.emit("/log/b", b"5")
        async with stream(hub, "/log/**", **BEARER, **{"Last-Event-ID": ids[2]}) as events:
            assert events.response.headers["hub-recovered"] == "true"
            assert [(await events.event())["data"] for _ in range(3)] == [3, 4, 5]
            await hub.emit("/log/c", b"6")
            assert (await events.event())["data"] == 6


@pytest.mark.parametrize("parameter", ["since", "lastEventId"])
async def test_the_query_resumes_too(parameter: str) -> None:
    async with house() as hub, http(hub, **BEARER) as client:
        await hub.emit("/log/a", b"1")
        async with client.stream("GET", "/events", params={"channel": "/log/a", parameter: "0"}) as response:
            assert (await Stream(response).event())["data"] == 1


@pytest.mark.parametrize("identifier", ["5", "nonsense"])
async def test_a_position_that_is_none_is_told_as_a_gap(identifier: str) -> None:
    async with house() as hub:
        await hub.emit("/log/a", b"1")
        async with stream(hub, "/log/a", **BEARER, **{"Last-Event-ID": identifier}) as events:
            assert events.response.headers["hub-recovered"] == "false"
            blocks = [await events.block() for _ in range(2)]
            (gap,) = (block for block in blocks if block.get("event") == "gap")
            (channel,) = json.loads(gap["data"])["channels"]
            assert (channel["channel"], channel["recovered"]) == ("/log/a", False)


async def test_comments_tell_the_position() -> None:
    async with house(limits=Limits(sse_comment_s=1)) as hub, stream(hub, "/log/a") as events:
        begin = await events.block()
        await hub.emit("/log/b", b"1")
        block: dict[str, str] = {}
        while "" not in block:
            block = await events.block()
        assert int(block["id"]) > int(begin["id"])
        assert (block["event"], json.loads(block["data"])) == ("position", {"position": int(block["id"])})


# -- how it ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [True, False], ids=["own server", "plain uvicorn"])
async def test_a_client_that_goes_gives_everything_back(frames: bool) -> None:
    async with house(frames=frames) as hub:
        async with stream(hub, "/a", "/log/**"):
            assert (len(hub.endpoint), len(hub.hub.sessions)) == (1, 1)
        await until(lambda: not hub.hub.sessions.by_id and not len(hub.endpoint))
        assert len(hub.hub.router) == 0


async def test_revocation_ends_it() -> None:
    async with house() as hub, stream(hub, "/a") as events:
        for subscriber in list(hub.hub.sessions.by_id.values()):
            subscriber.end_revoked()
        await events.ended()


async def test_an_administrator_ends_it() -> None:
    async with house() as hub, stream(hub, "/a") as events:
        (subscriber,) = hub.hub.sessions.by_id.values()
        assert subscriber.door == "sse"
        subscriber.disconnect()
        await events.ended()


async def test_drain_spreads_the_return_and_refuses_what_is_new() -> None:
    async with house() as hub, stream(hub, "/a") as events, http(hub, **BEARER) as client:
        await events.block()
        await hub.emit("/a", b"1")
        await hub.endpoint.drain(0.2)
        assert (await events.event())["data"] == 1
        assert int((await events.block())["retry"]) >= 0
        await events.ended()
        late = await client.get("/events", params={"channel": "/a"})
        assert (late.status_code, late.text.startswith("retry: ")) == (200, True)  # no browser comes back after another status


@pytest.mark.parametrize("frames", [True, False], ids=["own server", "plain uvicorn"])
async def test_a_client_that_does_not_read_costs_the_others_nothing(frames: bool) -> None:
    """Its queue stays bounded, what is dropped is counted, and somebody else hears everything meanwhile."""
    limits = Limits(max_queue_bytes=64 * 1024)
    async with house(limits=limits, frames=frames) as hub, raw(hub) as (_, writer), stream(hub, "/a") as events:
        writer.write(b"GET /events?channel=/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer demo-token\r\n\r\n")
        await until(lambda: len(hub.endpoint) == 2)
        payload = b'"%s"' % (b"x" * 8000)
        sent = 0
        while not hub.hub.counters.dropped and sent < 5000:
            await hub.emit("/a", payload)
            assert (await events.event())["channel"] == "/a"
            sent += 1
        assert hub.hub.counters.dropped
        assert max(s.queued_bytes for s in hub.hub.sessions.by_id.values()) <= limits.max_queue_bytes + len(payload) + 200


async def test_a_log_stream_that_does_not_read_is_ended_to_resume() -> None:
    async with house(limits=Limits(max_queue_bytes=64 * 1024)) as hub, raw(hub) as (reader, writer):
        writer.write(b"GET /events?channel=/log/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer demo-token\r\n\r\n")
        await until(lambda: len(hub.endpoint) == 1)
        payload = b'"%s"' % (b"x" * 8000)
        for _ in range(5000):
            if not hub.hub.sessions.by_id:
                break
            await hub.emit("/log/a", payload)
            await asyncio.sleep(0)
        assert not hub.hub.sessions.by_id
        text = b""
        async with asyncio.timeout(WITHIN_S):
            while not text.endswith(b"\r\n0\r\n\r\n") and (chunk := await reader.read(1_000_000)):
                text += chunk
    ids = [int(line.partition(b":")[2]) for line in text.split(b"\n") if line.startswith(b"id:")]
    assert len(ids) > 1
    assert ids == sorted(set(ids))


async def test_a_principal_hears_its_own_tenant_alone() -> None:
    async with house() as hub, stream(hub, "/a") as events:
        await hub.hub.publisher.emit("another", "/a", b"1")
        await hub.emit("/a", b"2")
        assert (await events.event())["data"] == 2
        (subscriber,) = hub.hub.sessions.by_id.values()
        assert isinstance(subscriber.principal, Principal)
