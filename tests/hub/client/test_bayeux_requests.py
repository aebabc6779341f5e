"""What becomes of requests whose session or connection goes away, and of those that cannot be sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from hub.client import BayeuxClient, ConnectionLostError, NotSentError, PublishError, State
from tests.hub.client.scripted_server import Messages, ScriptedServer
from tests.hub.client.test_bayeux_faults import GONE, client_of, status, until

WITHIN_S = 20.0
UNKNOWN = {"successful": False, "error": "402::session_unknown"}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().running() as server:
        yield server


async def held(server: ScriptedServer) -> None:
    """Wait until the second connect is held: from now on faults meet other requests."""
    await until(lambda: len(server.of("/meta/connect")) == 2)


async def test_subscribing_waits_for_an_unsubscribe_of_the_same_channel(server: ScriptedServer) -> None:
    """An unsubscribe that has to be sent again must not end the subscription that came after it."""
    async with client_of(server) as client:
        first = await client.subscribe("/a")
        await held(server)
        server.faults = [status(503)]
        leaving = asyncio.create_task(first.unsubscribe())
        await until(lambda: server.of("/meta/unsubscribe"))
        second = await client.subscribe("/a")
        await leaving
        assert second.is_open
    asked = [message["channel"] for message in server.heard if "subscribe" in message["channel"]]
    assert asked[-1] == "/meta/subscribe"


@pytest.mark.parametrize("connects", ["all", "every second"])
async def test_a_server_that_knows_no_session_is_not_stormed(server: ScriptedServer, connects: str) -> None:
    """As behind a balancer that sends each request to another server."""
    answered = 0

    def unknown(message: dict[str, Any]) -> dict[str, Any]:
        nonlocal answered
        answered += 1
        return GONE if connects == "all" or answered % 2 == 0 else {}

    server.replies["/meta/connect"] = unknown
    client = client_of(server, backoff_s=0.5, open_within_s=1.5)
    if connects == "all":
        with pytest.raises(NotSentError, match="402::session_unknown"):
            await client.open()
    else:
        async with client:
            await asyncio.sleep(1.5)
    assert 2 <= len(server.of("/meta/handshake")) <= 6  # after pauses of at least 0, 0.25, 0.5 s


async def test_a_publish_is_not_left_waiting_when_its_websocket_is_replaced(server: ScriptedServer) -> None:
    server.websocket_status = 101
    async with client_of(server, request_timeout_s=60) as client:
        await held(server)
        plainly = server.reply
        over = asyncio.Event()

        async def never(message: dict[str, Any]) -> dict[str, Any]:
            if message["channel"] == "/a":
                server.replies["/meta/connect"] = lambda connect: GONE if connect["clientId"] == "session-1" else {}
                await over.wait()
            return await plainly(message)

        server.reply = never  # type: ignore[method-assign]
        with pytest.raises(ConnectionLostError):
            await asyncio.wait_for(client.publish("/a", 1), WITHIN_S)
        over.set()


async def test_a_hub_that_never_comes_back_took_nothing(server: ScriptedServer) -> None:
    async with client_of(server, request_timeout_s=0.5) as client:
        await held(server)

        def away(request: web.Request, messages: Messages) -> web.Response:
            server.faults.append(away)
            return web.Response(status=502)

        server.faults = [away]
        await until(lambda: client.state is not State.CONNECTED)
        with pytest.raises(NotSentError, match=r"no connection in time; last: .*HTTP 502"):
            await client.publish("/a", 1)
        with pytest.raises(ConnectionLostError, match=r"no connection in time|no result came within 0\.2 s"):
            await client.call("x", timeout_s=0.2)
    assert server.of("/a") == []


async def test_the_answers_to_the_first_messages_are_not_lost_with_the_rest(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        await held(server)
        refused = {"successful": False, "error": "403::publish_denied"}
        server.replies["/b"] = lambda message: refused
        server.faults = [lambda request, messages: None, status(502)]
        with pytest.raises(ConnectionLostError) as raised:
            await client.publish_many([("/b", 0), *(("/a", number) for number in range(99))])
    answers = raised.value.answers
    assert len(answers) == 50
    assert isinstance(answers[0], PublishError)
    assert answers[1:] == [None] * 49


async def test_many_messages_go_in_requests_of_a_bounded_size(server: ScriptedServer) -> None:
    async with client_of(server, ack=False) as client:
        sizes: list[int] = []

        def measure(request: web.Request, messages: Messages) -> None:
            server.faults.append(measure)
            if messages[0]["channel"] == "/a":
                sizes.append(request.content_length or 0)

        server.faults = [measure]
        assert await client.publish_many(("/a", "x" * 30_000) for _ in range(50)) == [None] * 50
    assert len(sizes) > 1
    assert max(sizes) < 300_000


async def test_a_request_that_is_too_large_is_not_sent(server: ScriptedServer) -> None:
    async with client_of(server, max_request_bytes=1000) as client:
        with pytest.raises(PublishError, match=r"413::.*max_request_bytes, 1,000"):
            await client.publish("/a", "x" * 1000)
        assert await client.publish_many([("/a", 1)]) == [None]
    assert len(server.of("/a")) == 1


async def test_data_that_is_no_json_is_said_before_anything_is_sent(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        with pytest.raises(TypeError):
            await client.publish_many([("/a", 1), ("/a", object())])
    assert server.of("/a") == []


async def test_a_response_that_is_too_large_is_given_up(server: ScriptedServer) -> None:
    async with client_of(server, max_message_bytes=1000) as client:
        await held(server)
        server.faults = [lambda request, messages: web.Response(text="x" * 100_000)]
        with pytest.raises(ConnectionLostError, match="more than max_message_bytes, 1,000"):
            await client.publish("/a", 1)


async def test_a_call_in_an_ended_session_is_made_in_the_next(server: ScriptedServer) -> None:
    server.websocket_status = 101
    server.replies["/service/x"] = lambda message: UNKNOWN if message["clientId"] == "session-1" else {}
    async with client_of(server) as client:
        calling = asyncio.create_task(client.call("x"))
        await until(lambda: len(server.of("/service/x")) == 2)
        identifier = server.of("/service/x")[-1]["id"]
        await server.sockets[-1].send_str(f'[{{"channel":"/service/x","id":"{identifier}","data":7,"successful":true}}]')
        assert await asyncio.wait_for(calling, WITHIN_S) == 7


async def test_a_subscribe_that_is_given_up_is_taken_back(server: ScriptedServer) -> None:
    async with client_of(server) as client:
        await held(server)
        asked = asyncio.Event()

        async def slowly(message: dict[str, Any]) -> dict[str, Any]:
            if message["channel"] == "/meta/subscribe":
                asked.set()
                await asyncio.sleep(0.1)
            return await plainly(message)

        plainly, server.reply = server.reply, slowly  # type: ignore[method-assign]
        subscribing = asyncio.ensure_future(client.subscribe("/a"))
        await asyncio.wait_for(asked.wait(), WITHIN_S)
        subscribing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await subscribing
        await until(lambda: server.of("/meta/unsubscribe"))
    assert server.of("/meta/unsubscribe")[0]["subscription"] == ["/a"]


async def test_an_error_of_another_servers_that_only_looks_like_an_unknown_session(server: ScriptedServer) -> None:
    """Faye answers 402 with arguments to what is missing a parameter."""
    server.replies["/a"] = lambda message: {"successful": False, "error": "402:data:Missing required parameter"}
    async with client_of(server) as client:
        with pytest.raises(PublishError, match="402:data"):
            await client.publish("/a", 1)
    assert len(server.of("/a")) == 1


async def test_a_token_that_cannot_be_had_now_is_asked_for_again(server: ScriptedServer) -> None:
    answers = iter([RuntimeError("away"), RuntimeError("away"), "token"])

    def token() -> str:
        answer = next(answers, "token")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with client_of(server, token=token) as client:
        await client.publish("/a", 1)
    with pytest.raises(NotSentError, match="token: the function that gives it failed: ZeroDivisionError"):
        await BayeuxClient(server.url, token=lambda: 1 // 0, open_within_s=0.2, backoff_s=0.01).open()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "why"),
    [({"max_queue": 0}, "max_queue"), ({"on_overflow": "x"}, "on_overflow"), ({"on_gap": "x"}, "on_gap"), ({"replay": -3}, "replay")],
)
async def test_wrong_options_are_said_at_once(server: ScriptedServer, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}: expected"):
        client_of(server).subscribe("/a", **options)
