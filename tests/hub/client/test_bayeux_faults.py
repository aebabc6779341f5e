"""The client against a server that misbehaves, and a network that does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from hub.client import (
    BayeuxClient,
    ClosedError,
    ConnectionLostError,
    HandshakeDeniedError,
    OverflowedError,
    ProtocolError,
    PublishError,
    RemoteCallError,
    ReplayError,
    ServerDisconnectedError,
    State,
    SubscribeError,
)
from tests.hub.client.scripted_server import ADVICE, Messages, ScriptedServer
from tests.support.hub_process import free_port

WITHIN_S = 20.0
IMPATIENT: dict[str, Any] = {"backoff_s": 0.01, "max_network_delay_s": 2.0, "request_timeout_s": 10.0}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().running() as server:
        yield server


def client_of(server: ScriptedServer, **options: Any) -> BayeuxClient:
    return BayeuxClient(server.url, **(IMPATIENT | options))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


def status(code: int) -> Callable[[web.Request, Messages], web.Response]:
    return lambda request, messages: web.Response(status=code)


def body(text: str) -> Callable[[web.Request, Messages], web.Response]:
    return lambda request, messages: web.Response(text=text)


def reset(request: web.Request, messages: Messages) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def plain(request: web.Request, messages: Messages) -> None:
    return None


async def truncated(request: web.Request, messages: Messages) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'[{"channel":')
    reset(request, messages)
    return response


GONE = {"successful": False, "error": "402::session_unknown", "advice": {"reconnect": "handshake", "interval": 0}}
"""What a connect is answered with when its session is over."""


def logged(message: dict[str, Any]) -> dict[str, Any]:
    """What a subscribe is answered with where every channel has a log, which stands at 1."""
    return {"ext": {"replay": dict.fromkeys(message["subscription"], 1)}}


FAULTS = {
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "redirect": lambda request, messages: web.Response(status=302, headers={"Location": "http://localhost:1/"}),
    "reset": reset,
    "truncated": truncated,
    "empty": body(""),
    "html": body("<html>"),
    "no reply": body("[]"),
    "somebody else's reply": body('[{"id":"999","channel":"/meta/connect","successful":true}]'),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_long_polling_goes_on_after_a_bad_answer_to_a_connect(server: ScriptedServer, fault: Any) -> None:
    server.faults = [plain, fault, fault, plain]
    async with client_of(server) as client:
        await client.publish("/a", 1)
        assert client.client_id == "session-1"
        assert client.state is State.CONNECTED


async def test_a_session_that_fails_again_and_again_is_given_up(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        await client.subscribe("/a")
        server.faults = [status(500)] * 3
        await until(lambda: client.rehandshakes == 1 and client.state is State.CONNECTED)
        assert client.client_id == "session-2"
        assert [message["subscription"] for message in server.of("/meta/subscribe")] == [["/a"], ["/a"]]


@pytest.mark.parametrize("code", [401, 403])
async def test_bad_credentials_by_http_status(server: ScriptedServer, code: int) -> None:
    server.faults = [status(code)]
    with pytest.raises(HandshakeDeniedError, match=f"HTTP {code}"):
        await client_of(server).open()


async def test_denied_by_the_reply(server: ScriptedServer) -> None:
    server.replies["/meta/handshake"] = lambda message: {
        "successful": False,
        "error": "403::handshake_denied",
        "advice": {"reconnect": "none"},
    }
    with pytest.raises(HandshakeDeniedError, match="403::handshake_denied"):
        await client_of(server).open()


async def test_no_transport_in_common(server: ScriptedServer) -> None:
    server.replies["/meta/handshake"] = lambda message: {"supportedConnectionTypes": ["callback-polling"]}
    with pytest.raises(HandshakeDeniedError, match="callback-polling"):
        await client_of(server).open()


async def test_nobody_is_there() -> None:
    client = BayeuxClient(f"http://127.0.0.1:{free_port()}", open_within_s=0.3, **IMPATIENT)
    with pytest.raises(ConnectionLostError, match=r"no connection in time; last: .*nothing listens there"):
        await client.open()
    assert client.state is State.DISCONNECTED


@pytest.mark.parametrize("fault", [status(404), body("<html>")], ids=["404", "html"])
async def test_no_bayeux_server_is_said_at_once(server: ScriptedServer, fault: Any) -> None:
    server.faults = [fault] * 2
    with pytest.raises(ProtocolError, match=r"is this the address|array of Bayeux"):
        await client_of(server).open()


async def test_long_polling_where_websockets_do_not_pass(server: ScriptedServer) -> None:
    server.websocket_status = 502
    async with client_of(server) as client:
        assert client.transport == "long-polling"


@pytest.mark.parametrize("answer", [400, 403, 404, 405, 426, 501])
async def test_long_polling_where_a_proxy_stops_what_the_server_offers(server: ScriptedServer, answer: int) -> None:
    server.websocket_status = answer
    server.replies["/meta/handshake"] = lambda _: {"supportedConnectionTypes": ["websocket", "long-polling"]}
    async with client_of(server) as client:
        assert client.transport == "long-polling"


async def test_who_is_let_in_nowhere_is_told_so(server: ScriptedServer) -> None:
    server.websocket_status = 401
    server.faults = [status(401)]
    with pytest.raises(HandshakeDeniedError, match="HTTP 401"):
        await client_of(server).open()


async def test_a_get_without_its_upgrade_is_no_wrong_address(server: ScriptedServer) -> None:
    server.websocket_status = 405
    with pytest.raises(ConnectionLostError, match="long-polling is the transport that passes"):
        await client_of(server, transports=["websocket"], open_within_s=0.2).open()


async def test_a_new_session_has_what_the_old_one_had(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        await client.subscribe("/a", "/b/**")
        server.replies["/meta/connect"] = lambda message: GONE if message["clientId"] == "session-1" else {}
        await until(lambda: client.client_id == "session-2" and client.state is State.CONNECTED)
    again = [(message["clientId"], message["subscription"]) for message in server.of("/meta/subscribe")]
    assert again == [("session-1", ["/a", "/b/**"]), ("session-2", ["/a", "/b/**"])]


async def test_a_refusal_in_a_new_session_ends_what_is_refused_alone(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        kept, refused = await client.subscribe("/a"), await client.subscribe("/b", "/c")
        denied = {"successful": False, "error": "403:denied:subscribe_denied"}
        server.replies["/meta/subscribe"] = lambda message: denied if "/b" in message["subscription"] else {}
        server.replies["/meta/connect"] = lambda message: GONE if message["clientId"] == "session-1" else {}
        with pytest.raises(SubscribeError, match="/b: 403"):
            await asyncio.wait_for(anext(refused), WITHIN_S)
        await until(lambda: server.of("/meta/unsubscribe") and client.state is State.CONNECTED)
        assert kept.is_open
    again = [message["subscription"] for message in server.of("/meta/subscribe") if message["clientId"] == "session-2"]
    assert again == [["/a", "/b", "/c"], ["/a"], ["/b"], ["/c"]] or again == [["/a", "/b", "/c"], ["/a"], ["/b"]]
    assert [message["subscription"] for message in server.of("/meta/unsubscribe")] == [["/c"]]


async def test_a_new_session_that_cannot_subscribe_again_is_replaced(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        messages = await client.subscribe("/a")
        server.replies["/meta/connect"] = lambda message: GONE if message["clientId"] == "session-1" else {}
        failing = ["session-2"]

        def fail_once(request: web.Request, heard: Messages) -> web.Response | None:
            server.faults.append(fail_once)
            if heard[0]["channel"] == "/meta/subscribe" and heard[0]["clientId"] in failing:
                return web.Response(status=503)
            return None

        server.faults = [fail_once]
        await until(lambda: client.client_id == "session-3" and client.state is State.CONNECTED)
        assert messages.is_open
    assert [message["clientId"] for message in server.of("/meta/subscribe")] == ["session-1", "session-2", "session-3"]


async def test_a_publish_in_an_ended_session_is_sent_again_in_the_next(server: ScriptedServer) -> None:
    unknown = {"successful": False, "error": "402::session_unknown"}
    server.replies["/a"] = lambda message: unknown if message["clientId"] == "session-1" else {}
    async with client_of(server) as client:
        await client.publish("/a", 1)
    assert [message["clientId"] for message in server.of("/a")] == ["session-1", "session-2"]


async def test_a_publish_whose_answer_is_lost_is_not_sent_again(server: ScriptedServer) -> None:
    async with client_of(server, ack=False) as client:
        await until(lambda: len(server.of("/meta/connect")) == 2)
        server.faults = [reset]
        with pytest.raises(ConnectionLostError):
            await client.publish("/a", 1)
    assert len(server.of("/a")) == 1


async def test_a_subscribe_whose_answer_is_lost_is_sent_again(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        await until(lambda: len(server.of("/meta/connect")) == 2)
        server.faults = [reset]
        await client.subscribe("/a")
    assert len(server.of("/meta/subscribe")) == 2


async def test_refusals_have_the_servers_words(server: ScriptedServer) -> None:
    server.replies["/meta/subscribe"] = lambda message: {"successful": False, "error": "403:denied:subscribe_denied"}
    server.replies["/a"] = lambda message: {"successful": False, "error": "413::message_too_large"}
    async with client_of(server) as client:
        with pytest.raises(SubscribeError, match="/b: 403:denied:subscribe_denied"):
            await client.subscribe("/b")
        with pytest.raises(PublishError, match="413::message_too_large") as raised:
            await client.publish("/a", 1)
        assert raised.value.code == 413
        assert [str(error) for error in await client.publish_many([("/a", 1), ("/c", 2)])] == ["/a: 413::message_too_large", "None"]


async def test_reconnect_none_ends_the_client_and_tells_who_listens(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        messages = await client.subscribe("/a")
        server.replies["/meta/connect"] = lambda message: {"successful": False, "error": "403::go", "advice": {"reconnect": "none"}}
        with pytest.raises(ServerDisconnectedError, match="403::go"):
            await asyncio.wait_for(anext(messages), WITHIN_S)
        with pytest.raises(ServerDisconnectedError):
            await client.publish("/a", 1)


async def test_the_servers_disconnect_over_websocket(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:
        messages = await client.subscribe("/a")
        await server.sockets[0].send_str('[{"channel":"/meta/disconnect","successful":true}]')
        with pytest.raises(ServerDisconnectedError):
            await asyncio.wait_for(anext(messages), WITHIN_S)


async def test_a_new_token_opens_a_new_session_where_the_old_one_ended(server: ScriptedServer) -> None:
    tokens = ["old"]
    ended = {"successful": False, "error": "403::expired", "advice": {"reconnect": "none"}}
    async with client_of(server, token=lambda: tokens[-1], credentials_in="ext") as client:
        tokens.append("new")
        server.replies["/meta/connect"] = lambda message: ended if message["clientId"] == "session-1" else {}
        await until(lambda: client.client_id == "session-2")
    assert [message["ext"]["authentication"] for message in server.of("/meta/handshake")] == [{"token": "old"}, {"token": "new"}]


async def test_a_lost_websocket_goes_on_in_the_same_session(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:
        await client.subscribe("/a")
        await server.sockets[0].close(code=1011)
        await until(lambda: client.reconnects == 1 and client.state is State.CONNECTED)
        assert (client.client_id, client.transport) == ("session-1", "websocket")
        first_of_the_socket = server.of("/meta/connect")[-2:]
        assert any(message.get("advice") == {"timeout": 0} for message in first_of_the_socket)


@pytest.mark.parametrize("frame", ["not json", "{}", '[{"channel":1}]'])
async def test_garbage_on_a_websocket(server: ScriptedServer, frame: str) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:
        await server.sockets[0].send_str(frame)
        await until(lambda: client.reconnects == 1)
        await client.publish("/a", 1)


async def test_late_replies_are_nobodys(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:
        late = '{"id":"1","channel":"/meta/handshake","successful":false,"error":"late"}'
        await server.sockets[0].send_str(f'[{late},{{"id":"77","channel":"/a","successful":true}}]')
        await client.publish("/a", 1)
        assert client.state is State.CONNECTED


async def test_a_connect_that_is_never_answered_is_taken_for_lost(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server, max_network_delay_s=0.3) as client:
        silent = asyncio.Event()

        async def never(message: dict[str, Any]) -> dict[str, Any]:
            await silent.wait()
            return {}

        plainly, server.reply = server.reply, never  # type: ignore[method-assign]
        await until(lambda: client.state is not State.CONNECTED)
        server.reply = plainly  # type: ignore[method-assign]
        await until(lambda: client.state is State.CONNECTED)
        silent.set()


async def test_messages_reach_all_that_match_once(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:
        several = await client.subscribe("/a/b", "/a/*", "/**")
        other = await client.subscribe("/a/**")
        await server.sockets[0].send_str('[{"channel":"/a/b","data":1},{"channel":"/c","data":2}]')
        assert [(await anext(several)).data for _ in range(2)] == [1, 2]
        assert (await anext(other)).data == 1
        assert (several.waiting, other.waiting) == (0, 0)


async def test_unsubscribing_leaves_what_others_share(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        kept = await client.subscribe("/a")
        async with client.subscribe("/a", "/b"):
            pass
        assert [message["subscription"] for message in server.of("/meta/unsubscribe")] == [["/b"]]
        await kept.unsubscribe()
        assert [message["subscription"] for message in server.of("/meta/unsubscribe")] == [["/b"], ["/a"]]


async def test_a_slow_consumer_hears_of_it(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:
        strict = await client.subscribe("/a", max_queue=2)
        lax = await client.subscribe("/a", max_queue=2, on_overflow="drop_oldest")
        await server.sockets[0].send_str('[{"channel":"/a","data":1},{"channel":"/a","data":2},{"channel":"/a","data":3}]')
        await until(lambda: lax.dropped == 1)
        assert [(await anext(strict)).data, (await anext(strict)).data] == [1, 2]
        with pytest.raises(OverflowedError, match="more than 2 messages"):
            await anext(strict)
        assert [(await anext(lax)).data, (await anext(lax)).data] == [2, 3]


async def test_closing_ends_the_iteration(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        messages = await client.subscribe("/a")
    assert [message async for message in messages] == []
    assert server.of("/meta/disconnect")[0]["clientId"] == "session-1"
    with pytest.raises(ClosedError):
        await client.publish("/a", 1)


async def test_a_client_that_was_not_opened(server: ScriptedServer) -> None:
    with pytest.raises(ClosedError, match="async with"):
        await client_of(server).publish("/a", 1)


async def test_calls(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server) as client:

        async def answer(successful: str) -> None:
            await until(lambda: len(server.of("/service/x")) == expected)
            identifier = server.of("/service/x")[-1]["id"]
            await server.sockets[0].send_str(f'[{{"channel":"/service/x","id":"{identifier}","data":7,"successful":{successful}}}]')

        expected = 1
        assert (await asyncio.gather(client.call("x", {"a": 1}), answer("true")))[0] == 7
        expected = 2
        with pytest.raises(RemoteCallError, match="x: 7"):
            await asyncio.gather(client.call("x"), answer("false"))
        with pytest.raises(ConnectionLostError, match="no result came within"):
            await client.call("x", timeout_s=0.05)


GAP = "400::The replayId {5} you provided was invalid. Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."


@pytest.mark.parametrize(("on_gap", "then"), [("raise", None), ("all", -2), ("new", -1)])
async def test_what_cannot_be_resumed(server: ScriptedServer, on_gap: Any, then: int | None) -> None:
    server.websocket_status = 101
    server.replies["/meta/handshake"] = lambda message: {"ext": {"replay": True}}
    server.replies["/meta/subscribe"] = logged
    async with client_of(server) as client:
        messages = await client.subscribe("/log", on_gap=on_gap)
        await server.sockets[0].send_str('[{"channel":"/log","data":{"event":{"replayId":5}}}]')
        assert (await anext(messages)).position == 5
        gap = {"successful": False, "error": GAP}
        server.replies["/meta/subscribe"] = lambda message: gap if message["ext"]["replay"]["/log"] == 5 else logged(message)
        server.replies["/meta/connect"] = lambda message: GONE if message["clientId"] == "session-1" else {}
        if then is None:
            with pytest.raises(ReplayError, match="replayId"):
                await asyncio.wait_for(anext(messages), WITHIN_S)
        else:
            await until(lambda: server.of("/meta/subscribe")[-1].get("ext") == {"replay": {"/log": then}})
            assert messages.is_open


async def test_what_came_before_a_new_session_does_not_come_twice(server: ScriptedServer) -> None:
    server.websocket_status = 101
    server.replies["/meta/handshake"] = lambda message: {"ext": {"replay": True}}
    server.replies["/meta/subscribe"] = logged
    async with client_of(server) as client:
        messages = await client.subscribe("/log")
        old, new = '{"channel":"/log","data":{"event":{"replayId":5}}}', '{"channel":"/log","data":{"event":{"replayId":6}}}'
        await server.sockets[0].send_str(f"[{old}]")
        assert (await anext(messages)).position == 5
        server.replies["/meta/connect"] = lambda message: GONE if message["clientId"] == "session-1" else {}
        await until(lambda: client.client_id == "session-2" and client.state is State.CONNECTED)
        await server.sockets[-1].send_str(f"[{old},{new}]")
        assert (await anext(messages)).position == 6
        assert messages.waiting == 0


async def test_positions_of_publishers_silence_nobody(server: ScriptedServer) -> None:
    """On a channel that the server does not list as logged, ``event.replayId`` is the publisher's own."""
    server.websocket_status = 101
    server.replies["/meta/handshake"] = lambda message: {"ext": {"replay": True}}
    server.replies["/meta/subscribe"] = lambda message: {"ext": {"replay": {"/log/**": 1}}}
    async with client_of(server) as client:
        messages = await client.subscribe("/plain", "/log/**")
        for number in (7, 7, 3, -5, 2**53, 2**70):
            await server.sockets[0].send_str(f'[{{"channel":"/plain","data":{{"event":{{"replayId":{number}}}}}}}]')
        await until(lambda: messages.waiting == 6)
        assert messages.positions == {"/plain": None, "/log/**": 1}


async def test_a_position_of_the_log_counts_for_what_had_begun_before_it_was_asked_for(server: ScriptedServer) -> None:
    server.websocket_status = 101
    server.replies["/meta/handshake"] = lambda message: {"ext": {"replay": True}}
    server.replies["/meta/connect"] = lambda message: {"ext": {"replay": 100}}
    async with client_of(server) as client:
        messages = await client.subscribe("/log", replay=10)
        held = server.of("/meta/connect")[-1]["id"]
        await server.sockets[0].send_str(f'[{{"id":"{held}","channel":"/meta/connect","successful":true,"ext":{{"replay":100}}}}]')
        await server.sockets[0].send_str('[{"channel":"/log","data":{"event":{"replayId":11}}}]')
        assert (await anext(messages)).position == 11
        await until(lambda: messages.positions["/log"] == 100)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "localhost:8080"}, "url: expected http"),
        ({"transports": ["carrier-pigeon"]}, "carrier-pigeon"),
        ({"transports": []}, "some of"),
    ],
)
def test_wrong_options(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        BayeuxClient(**({"url": "http://localhost"} | options))


@pytest.mark.parametrize("taken", [True, False])
async def test_a_newer_token_is_shown_on_the_live_session_when_the_old_one_ends_soon(server: ScriptedServer, taken: bool) -> None:
    """Once, by a connect. If the server does not take it, the session goes on with the old one."""
    tokens = ["first"]
    shown = asyncio.Event()

    def answer(connect: dict[str, Any]) -> dict[str, Any]:
        if "authentication" in connect.get("ext", {}):
            shown.set()
            if not taken:
                return {"successful": False, "error": "403::credential_denied", "advice": ADVICE}
        return {"ext": {"authentication": {"expiresIn": 59}}}

    server.replies["/meta/connect"] = answer
    async with client_of(server, token=lambda: tokens[-1], credentials_in="ext") as client:
        tokens.append("second")
        await until(shown.is_set)
        before = len(server.of("/meta/connect"))
        await until(lambda: len(server.of("/meta/connect")) >= before + 2)
        assert client.state is State.CONNECTED
    exts = [message.get("ext", {}) for message in server.of("/meta/connect")]
    authentications = [ext["authentication"] for ext in exts if "authentication" in ext]
    assert authentications == [{"token": "second"}]
    assert server.sessions == 1


async def test_a_function_that_fails_then_ends_nothing(server: ScriptedServer) -> None:
    asked: list[int] = []

    def token() -> str:
        asked.append(1)
        if len(asked) > 1:
            raise RuntimeError("the server that issues tokens is away")
        return "first"

    server.replies["/meta/connect"] = lambda connect: {"ext": {"authentication": {"expiresIn": 59}}}
    async with client_of(server, token=token, credentials_in="ext") as client:
        await until(lambda: len(asked) >= 3)
        assert client.state is State.CONNECTED
    assert server.sessions == 1
