"""Bayeux over WebSocket on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from hub.bayeux.server import BayeuxServer
from hub.core.limits import Limits
from tests.hub.transports.bayeux_house import BEARER, BY_TOKEN, HANDSHAKE, PATH, STATISTICS, House, house, listen, talk, until
from tests.hub.transports.harness import RawClient


@pytest.fixture(params=[True, False], ids=["prebuilt-frames", "plain-asgi"])
async def built(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with house(frames=request.param) as made:
        yield made


async def opened(socket: ClientConnection, message: dict[str, object] = BY_TOKEN) -> str:
    """Shaken hands, connected once, subscribed to /a; returns the clientId."""
    (reply,) = await talk(socket, message)
    client_id: str = reply["clientId"]
    await talk(socket, {"channel": "/meta/connect", "clientId": client_id, "connectionType": "websocket", "advice": {"timeout": 0}})
    (reply,) = await talk(socket, {"channel": "/meta/subscribe", "clientId": client_id, "subscription": "/a"})
    assert reply["successful"], reply
    return client_id


async def close_code(socket: ClientConnection) -> int:
    """The code that the server closes with, whatever it sends before."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionClosedError):  # any code but 1000 and 1001
            async for _ in socket:
                pass
    assert socket.close_code is not None
    return socket.close_code


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", f"{PATH}/connect", STATISTICS, f"{STATISTICS}/x/y"])
async def test_handshake(built: House, path: str) -> None:
    async with built.connect(path) as socket:
        (reply,) = await talk(socket, BY_TOKEN)
    assert reply["successful"]


async def test_messages_are_pushed(built: House) -> None:
    async with built.connect() as socket:
        await opened(socket)
        await built.emit("/a", b'{"x": 1.10}')
        assert await socket.recv() == '[{"channel":"/a","data":{"x": 1.10}}]'


async def test_publish_comes_back(built: House) -> None:
    async with built.connect() as socket:
        client_id = await opened(socket)
        received = await talk(socket, {"channel": "/a", "clientId": client_id, "data": "世界"})
    assert [message.get("data") for message in received] == ["世界", None]


async def test_held_connect_is_answered_in_time() -> None:
    async with house(limits=Limits(timeout_ms=100)) as built, built.connect() as socket:
        client_id = await opened(socket)
        (reply,) = await talk(socket, {"id": "c", "channel": "/meta/connect", "clientId": client_id, "connectionType": "websocket"})
    assert (reply["id"], reply["successful"]) == ("c", True)


async def test_bare_object_and_empty_array(built: House) -> None:
    async with built.connect() as socket:
        await socket.send("[]")
        await socket.send(json.dumps(BY_TOKEN))
        (reply,) = await listen(socket)
    assert reply["successful"]


@pytest.mark.parametrize("frame", ["", "{", "1", "[1]", "[" * 5000, b"binary"])
async def test_bad_frame(built: House, frame: str | bytes) -> None:
    async with built.connect() as socket:
        await socket.send(frame)
        assert await close_code(socket) == 4400
    assert built.server.counters.bad_requests == 1


async def test_text_that_is_not_utf_8() -> None:
    async with house() as built:
        client = await RawClient.connect(built.port, PATH)
        client.text(b'[{"data":"\xff"}]')
        assert await client.close_code() == 4400
        await client.close()


async def test_too_many_messages(built: House) -> None:
    async with built.connect() as socket:
        await socket.send(json.dumps([{}] * 101))
        assert await close_code(socket) == 1009


@pytest.mark.parametrize("frames", [True, False])
async def test_frame_that_is_too_large(frames: bool) -> None:
    async with house(limits=Limits(max_request_bytes=1000), frames=frames) as built, built.connect() as socket:
        await socket.send(" " * 1001)
        assert await close_code(socket) == 1009


async def test_fault_of_ours_in_a_message_is_its_answer(built: House) -> None:
    async with built.connect() as socket:
        client_id = await opened(socket)
        (reply,) = await talk(socket, {"channel": "/meta/subscribe", "clientId": client_id, "subscription": "/broken"})
        assert reply == {"channel": "/meta/subscribe", "successful": False, "error": "500::internal_error", "subscription": "/broken"}
        assert await talk(socket, {"channel": "/b", "clientId": client_id, "data": 1}) == [{"channel": "/b", "successful": True}]


async def test_fault_of_ours_in_a_request_closes_with_1011(built: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("x")

    async with built.connect() as socket:
        await opened(socket)
        monkeypatch.setattr(BayeuxServer, "handle", broken)
        with capture_logs() as logs:
            await socket.send(json.dumps([HANDSHAKE]))
            assert await close_code(socket) == 1011
    assert "bayeux_message_failed" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("path", [PATH, STATISTICS])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
async def test_denied(built: House, path: str, headers: dict[str, str]) -> None:
    async with built.connect(path, **headers) as socket:
        (reply,) = await talk(socket, HANDSHAKE)
    assert (reply["error"], reply["advice"]) == ("403::handshake_denied", {"reconnect": "none", "interval": 0, "timeout": 20000})


async def test_header_credentials(built: House) -> None:
    async with built.connect(**BEARER) as socket:
        await opened(socket, HANDSHAKE)


async def test_sign_in_cookie(built: House) -> None:
    cookie = await built.cookie()
    async with built.connect(Cookie=cookie, Origin=f"http://127.0.0.1:{built.port}") as socket:
        await opened(socket, HANDSHAKE)
    async with built.connect(Cookie=cookie, Origin="https://evil.example") as socket:
        (reply,) = await talk(socket, HANDSHAKE)
    assert reply["error"] == "403::handshake_denied"


async def test_anonymous_where_they_are_let_in() -> None:
    async with house(open_to_all=True) as built, built.connect() as socket:
        await opened(socket, HANDSHAKE)


async def test_statistics_cookie_is_set_where_it_is_missing(built: House) -> None:
    async with built.connect(STATISTICS) as socket:
        assert socket.response is not None
        statistics, browser = socket.response.headers.get_all("Set-Cookie")
    assert statistics.startswith("STATISTICS_SESSIONID=")
    assert browser.startswith("BAYEUX_BROWSER=")
    brought = {"Cookie": f"STATISTICS_SESSIONID=s; BAYEUX_BROWSER={'b' * 20}"}
    for path, headers, names in [(STATISTICS, brought, []), (PATH, brought, []), (PATH, {}, ["BAYEUX_BROWSER"])]:
        async with built.connect(path, **headers) as socket:
            assert socket.response is not None
            assert [cookie.partition("=")[0] for cookie in socket.response.headers.get_all("Set-Cookie")] == names


async def test_statistics_cookie_tells_the_login(built: House) -> None:
    async with built.connect(STATISTICS, Cookie="STATISTICS_SESSIONID=s", **BEARER) as socket:
        principal = built.server.sessions[await opened(socket, HANDSHAKE)].principal
    assert principal.login != principal.token_login


@pytest.mark.parametrize("cookie", ["", f"BAYEUX_BROWSER={'c' * 20}", 'BAYEUX_BROWSER="x y"'])
async def test_new_socket_resumes_the_session(built: House, cookie: str) -> None:
    """With the cookie that it was offered, with none, and with one of another hub on the same host."""
    async with built.connect() as socket:
        client_id = await opened(socket)
        assert socket.response is not None
        offered = socket.response.headers["Set-Cookie"].partition(";")[0]
    await until(lambda: built.server.sessions[client_id].websocket is None)
    await built.emit("/a")
    connect = {"channel": "/meta/connect", "clientId": client_id, "connectionType": "websocket", "advice": {"timeout": 0}}
    for brought in (cookie, f"{cookie}; {offered}"):
        async with built.connect(Cookie=brought) as socket:
            received = await talk(socket, connect)
        await until(lambda: built.server.sessions[client_id].websocket is None)
        if brought == cookie:
            assert received[0] == {"channel": "/a", "data": 1}
        assert received[-1]["successful"]


async def test_another_sessions_cookie_or_credential_opens_no_other_session(built: House) -> None:
    async with built.connect(Cookie=f"BAYEUX_BROWSER={'b' * 20}") as socket:
        client_id = await opened(socket)
        async with built.connect(Cookie=f"BAYEUX_BROWSER={'c' * 20}") as other:
            await opened(other)
            for headers in ({"Cookie": f"BAYEUX_BROWSER={'c' * 20}"}, {"Authorization": "Bearer nope"}):
                async with built.connect(**headers) as thief:
                    (reply,) = await talk(thief, {"channel": "/a", "clientId": client_id, "data": 1})
                assert reply["error"] == "402::session_unknown"


async def test_strict_binding_asks_a_socket_for_the_cookie() -> None:
    async with house(limits=Limits(session_binding="strict")) as built:
        async with built.connect(Cookie=f"BAYEUX_BROWSER={'b' * 20}") as socket:
            client_id = await opened(socket)
        async with built.connect() as socket:
            (reply,) = await talk(socket, {"channel": "/a", "clientId": client_id, "data": 1})
    assert reply["error"] == "402::session_unknown"


async def test_session_ends_after_its_socket() -> None:
    async with house(limits=Limits(max_interval_ms=50)) as built:
        async with built.connect() as socket:
            await opened(socket)
        await until(lambda: not built.server.sessions)


async def test_slow_reader_gets_everything_in_order() -> None:
    """More than the sockets' buffers and the queue hold: the rest is dropped by rule, what was queued comes in order."""
    async with house(limits=Limits(max_queue_bytes=100_000)) as built:
        client = await RawClient.connect(built.port, PATH)
        client.text(json.dumps([BY_TOKEN]).encode())
        client_id = json.loads((await client.read_frame())[1])[0]["clientId"]
        client.text(json.dumps([{"channel": "/meta/subscribe", "clientId": client_id, "subscription": "/a"}]).encode())
        await client.read_frame()
        session = built.server.sessions[client_id]
        number = 0
        while not session.dropped:
            await built.emit("/a", b'[%d,"%b"]' % (number, b"x" * 20_000))
            number += 1
            await asyncio.sleep(0)
        seen = []
        while len(seen) < number - session.dropped:
            _, payload = await client.read_frame()
            seen += [message["data"][0] for message in json.loads(payload)]
        assert seen == list(range(number - session.dropped))
        await client.close()


async def test_many_slow_readers_share_a_budget_and_cost_the_others_nothing() -> None:
    """None of them is above its own limit; together they are above the process's."""
    limits = Limits(max_queue_bytes=8_000_000, max_process_queue_bytes=3_000_000)
    async with house(limits=limits) as built, built.connect() as reader:
        await opened(reader)
        slow = []
        for _ in range(4):
            client = await RawClient.connect(built.port, PATH)
            client.text(json.dumps([BY_TOKEN]).encode())
            client_id = json.loads((await client.read_frame())[1])[0]["clientId"]
            client.text(json.dumps([{"channel": "/meta/subscribe", "clientId": client_id, "subscription": "/a"}]).encode())
            await client.read_frame()
            slow.append(client)
        number = 0
        async with asyncio.timeout(30):
            while built.hub.counters.over_budget < 4:
                await built.emit("/a", b'[%d,"%b"]' % (number, b"x" * 20_000))
                assert [message["data"][0] for message in await listen(reader)] == [number]
                number += 1
        assert built.hub.counters.too_slow == 4
        await until(lambda: built.hub.budget.waiting_bytes == 0)
        for client in slow:
            await client.close()


async def test_drain_closes_with_1012(built: House) -> None:
    async with built.connect() as socket:
        await opened(socket)
        draining = asyncio.create_task(built.endpoint.drain(0.05))
        assert await close_code(socket) == 1012
        await draining
    async with built.connect() as socket:
        assert await close_code(socket) == 1012


async def test_removed_credential_closes_with_4401(built: House) -> None:
    async with built.connect(**BEARER) as socket:
        await opened(socket, HANDSHAKE)
        for listener in built.gate.on_revoked:
            listener(lambda who: who.subject == "demo")
        assert await listen(socket) == [{"channel": "/meta/disconnect", "successful": True}]
        assert await close_code(socket) == 4401


async def test_socket_without_a_session_is_closed() -> None:
    async with house(limits=Limits(hello_timeout_s=0)) as built, built.connect() as socket:
        assert await close_code(socket) == 1000
