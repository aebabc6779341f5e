"""The endpoint /ws on the wire: a real server, a real gate, real clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect

from hub.core.limits import Limits
from hub.core.principal import login_key
from hub.security.changes import Changes
from hub.security.credentials import Credential
from hub.security.demo import DemoLookup
from hub.security.tickets import Opened
from hub.security.tickets_memory import MemoryTickets
from hub.transports.dashboard_websocket import DashboardEndpoint
from tests.hub.transports.endpoint_house import BEARER, House
from tests.hub.transports.endpoint_house import house as build_house
from tests.hub.transports.harness import RawClient


def house(**options: Any) -> AbstractAsyncContextManager[House[DashboardEndpoint]]:
    return build_house(DashboardEndpoint, **options)


async def read(client: ClientConnection) -> list[Any]:
    frame = json.loads(await asyncio.wait_for(client.recv(), 10))
    assert isinstance(frame, list)
    return frame


async def ask(client: ClientConnection, message: object) -> list[Any]:
    await client.send(json.dumps(message))
    return await read(client)


async def code_of(client: ClientConnection) -> int:
    """The close code of the server."""
    await asyncio.wait_for(client.wait_closed(), 10)
    assert client.close_code is not None
    return client.close_code


def is_welcome(frame: list[Any]) -> bool:
    (welcome,) = frame
    return welcome == {"type": "welcome", "session": welcome["session"], "heartbeat": 25} and len(welcome["session"]) >= 22


# -- credentials --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws?x=1"])
@pytest.mark.parametrize("headers", [BEARER, {"x-api-key": "demo-key"}, {"x-api-key": "demo-key", **BEARER}])
async def test_good_headers_are_welcomed(path: str, headers: dict[str, str]) -> None:
    async with house() as hub, connect(f"ws://127.0.0.1:{hub.port}{path}", additional_headers=headers) as client:
        assert is_welcome(await read(client))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic ZGVtbzpkZW1v"},
        {"Authorization": ""},
        {"x-api-key": "wrong"},
        {"x-api-key": "wrong", **BEARER},
        {"x-api-key": "demo-key", "Authorization": "Bearer wrong"},
        {"Cookie": "HUB_SESSION=forged"},
        {"Authorization": "Bearer wrong", "Cookie": "good"},
    ],
)
@pytest.mark.parametrize("open_to_all", [False, True])
async def test_bad_headers_are_accepted_and_closed_4401_never_skipped(headers: dict[str, str], open_to_all: bool) -> None:
    async with house(open_to_all=open_to_all) as hub:
        if headers.get("Cookie") == "good":
            headers = headers | {"Cookie": await hub.cookie()}
        async with connect(f"ws://127.0.0.1:{hub.port}/ws?ticket=x", additional_headers=headers) as client:
            assert await code_of(client) == 4401
        assert hub.endpoint.counters.not_authenticated == 1


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [(None, True), ("own", True), ("https://wallboard.example", True), ("https://evil.example", False), ("null", False)],
)
async def test_the_sign_in_cookie_counts_for_known_origins_only(origin: str | None, welcome: bool) -> None:
    async with house() as hub:
        headers = {"Cookie": await hub.cookie()}
        if origin is not None:
            headers["Origin"] = f"http://127.0.0.1:{hub.port}" if origin == "own" else origin
        async with connect(f"ws://127.0.0.1:{hub.port}/ws", additional_headers=headers) as client:
            if welcome:
                assert is_welcome(await read(client))
            else:
                assert await code_of(client) == 4401


async def test_a_ticket_opens_one_connection_and_that_one_again() -> None:
    async with house() as hub:
        ticket = await hub.ticket()
        for _ in range(2):
            async with hub.connect(f"/ws?ticket={ticket}") as client:
                assert is_welcome(await read(client))
        async with hub.connect(f"/ws?ticket={ticket}&x=1") as client:
            assert await code_of(client) == 4401


async def test_a_newer_connection_of_the_ticket_takes_the_old_ones_place() -> None:
    async with house() as hub:
        ticket = await hub.ticket()
        async with hub.connect(f"/ws?ticket={ticket}") as old:
            assert is_welcome(await read(old))
            async with hub.connect(f"/ws?ticket={ticket}") as new:
                assert is_welcome(await read(new))
                assert await code_of(old) == 1000
                assert len(hub.hub.sessions) == 1
                await new.send(json.dumps({"type": "ping", "id": 1}))
                assert await read(new) == [{"type": "pong", "id": 1}]


@pytest.mark.parametrize("ends", [True, False])
async def test_who_ends_while_the_ticket_is_noted_is_not_let_in(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """No session is there yet to be told."""
    async with house() as hub:
        ticket = await hub.ticket()
        await hub.gate.refresh()
        opened = MemoryTickets.opened

        async def slowly(tickets: MemoryTickets, stream: Opened, end: Callable[[], object]) -> None:
            await opened(tickets, stream, end)
            if ends:
                monkeypatch.setattr(DemoLookup, "changes", something)
                monkeypatch.setattr(DemoLookup, "by_ids", nobody)
                await hub.gate.refresh()

        async def something(database: DemoLookup, after: int | None) -> Changes:
            return Changes(7, None)

        async def nobody(database: DemoLookup, ids: Iterable[str]) -> dict[str, Credential]:
            return {}

        monkeypatch.setattr(MemoryTickets, "opened", slowly)
        async with hub.connect(f"/ws?ticket={ticket}") as client:
            if ends:
                assert await code_of(client) == 4401
                assert hub.endpoint.counters.not_authenticated == 1
            else:
                assert is_welcome(await read(client))


async def test_without_time_to_resume_a_ticket_lets_in_once() -> None:
    async with house(limits=Limits(ticket_resume_s=0)) as hub:
        ticket = await hub.ticket()
        async with hub.connect(f"/ws?ticket={ticket}") as client:
            assert is_welcome(await read(client))
        async with asyncio.timeout(10):
            while hub.hub.sessions.by_id:
                await asyncio.sleep(0.01)
        async with hub.connect(f"/ws?ticket={ticket}") as client:
            assert await code_of(client) == 4401


@pytest.mark.parametrize(("token", "good"), [("demo-token", True), ("wrong", False), ("", False), ("é" * 1000, False)])
async def test_hello_with_a_token(token: str, good: bool) -> None:
    async with house() as hub, hub.connect() as client:
        await client.send(json.dumps({"type": "hello", "token": token}))
        if good:
            assert is_welcome(await read(client))
        else:
            assert await code_of(client) == 4401


async def test_no_hello_in_time_closes_4401() -> None:
    async with house(limits=Limits(hello_timeout_s=0)) as hub, hub.connect() as client:
        assert await code_of(client) == 4401


async def test_an_open_hub_lets_in_who_has_no_credentials() -> None:
    async with house(open_to_all=True) as hub, hub.connect() as client:
        assert is_welcome(await read(client))
        (subscribed,) = await ask(client, {"type": "subscribe", "channels": ["/free/a"]})
        assert subscribed["type"] == "subscribed"
        (denied,) = await ask(client, {"type": "subscribe", "channels": ["/**"]})
        assert (denied["code"], denied["channel"]) == (403, "/**")


async def test_the_login_is_that_of_the_statistics_cookie() -> None:
    async with house() as hub, hub.connect(Cookie="x=y; STATISTICS_SESSIONID=abc") as client:
        assert is_welcome(await ask(client, {"type": "hello", "token": "demo-token"}))
        (session,) = hub.hub.sessions.by_id.values()
        assert session.principal.login == login_key("demo", "demo", "abc")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_plain_http_is_told_to_upgrade(method: str) -> None:
    async with house() as hub, httpx.AsyncClient() as client:
        response = await client.request(method, f"http://127.0.0.1:{hub.port}/ws")
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.json()["status"]["code"] == 426


def test_the_door_serves_its_path_alone() -> None:
    serves = DashboardEndpoint.serves
    assert [serves(None, path) for path in ("/ws", "/ws/", "/wsx", "/ws/x", "/")] == [True, True, False, False, False]  # type: ignore[arg-type]


# -- the conversation on the wire ---------------------------------------------------------------------------------------


async def test_subscribe_event_unsubscribe_ping() -> None:
    async with house() as hub, hub.connect(**BEARER) as client:
        await read(client)
        assert await ask(client, {"type": "subscribe", "id": 1, "channels": ["/a", "/log/**"]}) == [
            {"type": "subscribed", "id": 1, "channels": [{"channel": "/a"}, {"channel": "/log/**", "position": ANY, "recovered": False}]}
        ]
        await hub.emit("/a", b'{"x":1.10,"y":"\\u00e9"}')
        assert await read(client) == [{"type": "event", "channel": "/a", "data": {"x": 1.1, "y": "é"}}]
        await hub.emit("/log/x")
        (event,) = await read(client)
        assert event["position"] > 1_600_000_000_000_000
        assert await ask(client, [{"type": "unsubscribe", "id": 2, "channels": ["/a"]}, {"type": "ping", "id": 3}]) == [
            {"type": "unsubscribed", "id": 2, "channels": ["/a"]},
            {"type": "pong", "id": 3},
        ]


async def test_one_fault_of_ours_closes_1011_and_is_logged() -> None:
    async with house() as hub, hub.connect(**BEARER) as other, hub.connect(**BEARER) as client:
        with capture_logs() as logs:
            await client.send('{"type":"subscribe","channels":["/broken"]}')
            assert await code_of(client) == 1011
        assert "dashboard_message_failed" in [line["event"] for line in logs]
        await read(other)
        assert await ask(other, {"type": "ping"}) == [{"type": "pong"}]


async def test_a_revoked_credential_closes_4401() -> None:
    async with house() as hub, hub.connect(**BEARER) as client:
        await read(client)
        for session in list(hub.hub.sessions.by_id.values()):
            session.end_revoked()
        assert await code_of(client) == 4401


async def test_a_full_server_closes_4429() -> None:
    async with house(limits=Limits(max_sessions=1)) as hub, hub.connect(**BEARER) as first:
        await read(first)
        async with hub.connect(**BEARER) as second:
            assert await code_of(second) == 4429


async def test_an_address_that_asks_too_often_is_closed_4429() -> None:
    async with house(limits=Limits(handshakes_per_s_per_address=1)) as hub, hub.connect(**BEARER) as first:
        await read(first)
        async with hub.connect(**BEARER) as second:
            assert await code_of(second) == 4429
        assert hub.hub.counters.refused_by_address_rate == 1


async def test_draining_closes_1012_and_lets_nobody_in() -> None:
    async with house() as hub, hub.connect(**BEARER) as first, hub.connect(**BEARER) as second:
        await read(first)
        await read(second)
        await hub.endpoint.drain(0.1)
        assert await code_of(first) == 1012
        assert await code_of(second) == 1012
        async with hub.connect(**BEARER) as third:
            assert await code_of(third) == 1012
        await hub.endpoint.drain(60)  # nobody is here: nothing to wait for


@pytest.mark.parametrize(
    ("clients", "seconds", "sleeps"), [(0, 5, 0), (1, 5, 0), (10, 5, 9), (100, 5, 99), (1000, 5, 99), (1000, 0.01, 0), (1000, 0, 0)]
)
async def test_draining_takes_the_longer_the_more_there_are(
    monkeypatch: pytest.MonkeyPatch, clients: int, seconds: float, sleeps: int
) -> None:
    made = House(DashboardEndpoint, open_to_all=True, limits=Limits())
    story: list[int] = []
    closed: list[int] = []

    class Open:
        def close(self, code: int, reason: str) -> None:
            closed.append(code)

    async def sleep(duration: float) -> None:
        assert duration == 0.05
        story.append(len(closed))

    made.endpoint._conversations.update({Open(): None for _ in range(clients)})  # type: ignore[misc]
    monkeypatch.setattr("hub.transports.dashboard_websocket.asyncio.sleep", sleep)
    await made.endpoint.drain(seconds)
    assert len(story) == sleeps
    assert closed == [1012] * clients
    assert story == [round((number + 1) * clients / (sleeps + 1)) for number in range(sleeps)]  # evenly


# -- bad and slow clients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(0x81, b"{", True)], 4400),
        ([(0x81, b'{"type":"ping"', True)], 4400),
        ([(0x81, b'"\xff"', True)], 4400),  # not UTF-8
        ([(0x01, b'{"type":"p', True), (0x80, b"\xc3", True)], 4400),
        ([(0x81, b"[" * 100_000, True)], 4400),
        ([(0x82, b'{"type":"ping"}', True)], 4400),  # binary
        ([(0x81, b"[" + b'{"type":"ping"},' * 100 + b"{}]", True)], 4429),
        ([(0x81, b"x" * 200_001, True)], 1009),
        ([(0x01, b"x" * 150_000, True), (0x80, b"x" * 150_000, True)], 1009),
        ([(0x01, b"x", True)] + [(0x00, b"x", True)] * 1024, 1009),
        ([(0x8B, b"x", True)], 1002),  # a reserved opcode
        ([(0x81, b'{"type":"ping"}', False)], 1002),  # not masked
    ],
)
async def test_garbage_ends_its_own_connection_with_the_right_code(frames: list[tuple[int, bytes, bool]], code: int) -> None:
    async with house(limits=Limits(max_request_bytes=200_000)) as hub, hub.connect(**BEARER) as other:
        await read(other)
        client = await RawClient.connect(hub.port, "/ws", headers="Authorization: Bearer demo-token\r\n")
        for first, payload, masked in frames:
            client.frame(first, payload, masked=masked)
        assert await client.close_code() == code
        await client.close()
        assert await ask(other, {"type": "ping"}) == [{"type": "pong"}]


async def test_a_server_that_lets_larger_messages_pass_makes_no_difference() -> None:
    limits = Limits(max_request_bytes=1000)
    async with house(limits=limits, server_limits=Limits(), frames=False) as hub, hub.connect(**BEARER) as client:
        await read(client)
        await client.send("x" * 1001)
        assert await code_of(client) == 1009


async def test_a_fragmented_command_is_one_command() -> None:
    async with house() as hub, hub.connect(**BEARER) as client:
        await read(client)
        await client.send(['{"type":', '"ping"', ',"id":1}'])
        assert await read(client) == [{"type": "pong", "id": 1}]


async def slow_client(hub: House, channel: str) -> RawClient:
    """A client that has subscribed, and reads nothing any more."""
    client = await RawClient.connect(hub.port, "/ws", headers="Authorization: Bearer demo-token\r\n")
    client.text(json.dumps({"type": "subscribe", "channels": [channel]}).encode())
    while b"subscribed" not in (await client.read_frame())[1]:
        pass
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    return client


async def test_a_reader_that_stops_costs_bounded_memory_and_others_are_served() -> None:
    limits = Limits(max_queue_bytes=200_000)
    async with house(limits=limits) as hub, hub.connect(**BEARER) as other:
        await read(other)
        slow = await slow_client(hub, "/a")
        await ask(other, {"type": "subscribe", "channels": ["/a"]})
        _, stuck = hub.hub.sessions.by_id.values()
        payload = b'"%b"' % (b"x" * 50_000)
        received = 0
        peak = 0
        for _ in range(400):  # 20 MB: far more than the system's own buffers take
            await hub.emit("/a", payload)
            received += len(await read(other))
            peak = max(peak, stuck.queued_bytes + stuck._connection.buffered)  # type: ignore[attr-defined]
        assert received == 400
        assert stuck.dropped > 0
        assert peak <= 3 * limits.max_queue_bytes
        slow.writer.transport.abort()


async def test_a_slow_reader_that_reads_again_goes_on() -> None:
    async with house(limits=Limits(max_queue_bytes=200_000)) as hub:
        slow = await slow_client(hub, "/a")
        payload = b'"%b"' % (b"x" * 50_000)
        for _ in range(400):
            await hub.emit("/a", payload)
            await asyncio.sleep(0)
        (stuck,) = hub.hub.sessions.by_id.values()
        kept = 400 - stuck.dropped
        assert kept < 400
        slow.reader._transport.resume_reading()  # type: ignore[attr-defined]
        while kept:
            kept -= len(json.loads((await asyncio.wait_for(slow.read_frame(), 10))[1]))
        await hub.emit("/a", b'"the end"')
        assert json.loads((await slow.read_frame())[1])[0]["data"] == "the end"
        await slow.close()


async def test_a_slow_reader_of_a_log_is_closed_4408() -> None:
    async with house(limits=Limits(max_queue_bytes=200_000)) as hub:
        slow = await slow_client(hub, "/log/a")
        payload = b'"%b"' % (b"x" * 50_000)
        while hub.hub.sessions.by_id:
            await hub.emit("/log/a", payload)
            await asyncio.sleep(0)
        slow.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert await slow.close_code() == 4408
        await slow.close()
