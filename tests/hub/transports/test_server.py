"""The server: ports, start, bounded request heads, signals, drain."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hub.core.limits import Limits
from hub.transports.listener import StartError, bind
from hub.transports.server import HubServer, serve
from hub.transports.socket import Socket
from tests.hub.transports.harness import listening


class House:
    """An application that writes down when it starts and stops; ``/ws`` is a WebSocket that stays open, ``/`` answers."""

    def __init__(self, *, fail: bool = False) -> None:
        self.story: list[str] = []
        self.fail = fail
        self.rest = Starlette(routes=[Route("/", self.answer)], lifespan=self.lifespan)

    async def answer(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.scheme)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        if self.fail:
            raise RuntimeError("no database")
        self.story.append("started")
        yield
        self.story.append("stopped")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.rest(scope, receive, send)
            return
        peer = Socket(scope, receive, send, max_message_bytes=100)
        await peer.accept()
        while await peer.receive() is not None:
            pass


class Running:
    """A server in the test's own process; it ends by a signal, as outside."""

    def __init__(
        self, house: House, drain: Callable[[], Awaitable[None]] | None = None, *, drain_seconds: float = 5, **options: Any
    ) -> None:
        self.ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.house = house
        self.task = asyncio.create_task(
            serve(
                house,
                host="127.0.0.1",
                port=0,
                on_ready=self.ready.set_result,
                drain=drain or self.drain,
                drain_seconds=drain_seconds,
                **options,
            )
        )

    async def drain(self) -> None:
        self.house.story.append("drained")

    async def port(self) -> int:
        return await asyncio.wait_for(self.ready, 10)

    async def end(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(self.task, 15)


async def fetch(port: int, path: str = "/") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_it_starts_says_its_port_drains_and_stops() -> None:
    running = Running(house := House())
    port = await running.port()
    response = await fetch(port)
    assert response.text == "http"
    assert "server" not in response.headers
    await running.end()
    assert house.story == ["started", "drained", "stopped"]
    with pytest.raises(httpx.ConnectError):
        await fetch(port)


async def test_sockets_live_through_the_drain_and_are_closed_1012_after_it() -> None:
    codes: list[str] = []
    house = House()

    async def drain() -> None:
        await client.ping()
        codes.append("alive")

    running = Running(house, drain)
    async with connect(f"ws://127.0.0.1:{await running.port()}/ws") as client:
        ending = asyncio.create_task(running.end())
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        codes.append(str(closed.value.rcvd.code))
        await ending
    assert codes == ["alive", "1012"]


async def test_while_it_drains_each_answer_ends_its_connection() -> None:
    draining, drained = asyncio.Event(), asyncio.Event()
    held = asyncio.Event()

    class Held(House):
        async def answer(self, request: Request) -> PlainTextResponse:
            if "held" in request.url.query:
                held.set()
                await draining.wait()
            return PlainTextResponse(request.url.query)

    async def drain() -> None:
        draining.set()
        await drained.wait()

    running = Running(Held(), drain, drain_seconds=60)
    port = await running.port()
    idle, busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    assert await _answers(idle, "before") == [("before", False)]
    busy[1].write(_get("held") + _get("behind"))
    await held.wait()
    ending = asyncio.create_task(running.end())
    await draining.wait()
    assert await _answers(busy, "held", "behind", asked=True) == [("held", False), ("behind", True)]
    assert await busy[0].read() == b""
    assert await _answers(idle, "after") == [("after", True)]  # it was not closed while a request might have been on its way
    assert await idle[0].read() == b""
    late = await asyncio.open_connection("127.0.0.1", port)
    assert await _answers(late, "late") == [("late", True)]
    drained.set()
    await ending
    for _, writer in (idle, busy, late):
        writer.close()


def _get(query: str) -> bytes:
    return b"GET /?%b HTTP/1.1\r\nHost: x\r\n\r\n" % query.encode()


async def _answers(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], *queries: str, asked: bool = False
) -> list[tuple[str, bool]]:
    """The bodies of answers, and whether each ends the connection."""
    reader, writer = connection
    if not asked:
        writer.writelines(map(_get, queries))
    found = []
    for query in queries:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        found.append(((await reader.readexactly(len(query))).decode(), b"connection: close" in head.lower()))
    return found


async def test_metrics_have_a_port_of_their_own() -> None:
    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("figures")(scope, receive, send)

    with bind("127.0.0.1", 0) as free:
        metrics_port = free.getsockname()[1]
    running = Running(House(), metrics_app=metrics, metrics_port=metrics_port)
    await running.port()
    assert (await fetch(metrics_port)).text == "figures"
    await running.end()


async def test_a_drain_that_takes_too_long_is_ended() -> None:
    running = Running(house := House(), lambda: asyncio.sleep(60), drain_seconds=0.1)
    await running.port()
    with capture_logs() as logs:
        await running.end()
    assert [line["event"] for line in logs] == ["draining", "drain_unfinished"]
    assert house.story == ["started", "stopped"]


async def test_a_drain_that_fails_is_logged_and_the_shutdown_goes_on() -> None:
    async def drain() -> None:
        raise KeyError("x")

    running = Running(house := House(), drain)
    await running.port()
    with capture_logs() as logs:
        await running.end()
    assert [line["event"] for line in logs] == ["draining", "drain_failed"]
    assert house.story == ["started", "stopped"]


async def test_a_second_signal_quits_at_once() -> None:
    draining = asyncio.Event()

    async def drain() -> None:
        draining.set()
        await asyncio.sleep(60)

    running = Running(house := House(), drain, drain_seconds=60)
    await running.port()
    os.kill(os.getpid(), signal.SIGINT)
    await draining.wait()
    await running.end()
    assert house.story == ["started"]


async def test_a_signal_while_connections_are_waited_for_quits_at_once() -> None:
    house = House()
    waiting = asyncio.Event()

    async def answer(request: Request) -> PlainTextResponse:
        waiting.set()
        await asyncio.sleep(60)
        return PlainTextResponse("late")

    house.rest.router.routes.append(Route("/slow", answer))
    running = Running(house)
    port = await running.port()
    request = asyncio.create_task(fetch(port, "/slow"))
    await waiting.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    while "drained" not in house.story:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running.task, 4)
    assert "stopped" not in house.story
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


async def test_a_cancelled_server_stops_in_order() -> None:
    running = Running(house := House())
    await running.port()
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.task
    assert house.story == ["started", "stopped"]


async def test_an_application_that_does_not_start_is_an_error() -> None:
    running = Running(House(fail=True))
    with pytest.raises(StartError, match="the application did not start"):
        await running.task
    assert not running.ready.done()


async def test_a_server_that_ends_while_it_starts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(server: HubServer, sockets: list[socket.socket] | None = None) -> None: ...

    monkeypatch.setattr(HubServer, "serve", nothing)
    with pytest.raises(StartError, match="ended while it started"):
        await Running(House()).task


async def test_a_fault_of_the_shutdown_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown = HubServer.shutdown

    async def fail(server: HubServer, sockets: list[socket.socket] | None = None) -> None:
        await shutdown(server, sockets)
        raise OSError("the disk is full")

    running = Running(House())
    await running.port()
    monkeypatch.setattr(HubServer, "shutdown", fail)
    with pytest.raises(OSError, match="the disk is full"):
        await running.end()


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            StartError, match=f"cannot listen on host '127.0.0.1', port {port}: .*; stop what listens there, or choose another port"
        ):
            bind("127.0.0.1", port)


def test_an_unknown_host_is_an_error_that_names_it() -> None:
    with pytest.raises(StartError, match=r"cannot listen on host 'no\.such\.host\.invalid', port 1"):
        bind("no.such.host.invalid", 1)


def test_a_name_is_resolved() -> None:
    with bind("localhost", 0) as listener:
        assert listener.getsockname()[1] > 0
        assert listener.family in {socket.AF_INET, socket.AF_INET6}


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


async def read_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"read {len(body)}")(scope, receive, send)


# -- request heads ------------------------------------------------------------------------------------------------------


async def answer_to(port: int, *pieces: bytes) -> bytes:
    """What the server says to bytes that are sent piece by piece, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            if writer.is_closing():  # the server has gone meanwhile
                break
            writer.write(piece)
            await asyncio.sleep(0.02)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


async def test_a_head_in_pieces_is_served() -> None:
    async with listening(House()) as port:
        answer = await answer_to(port, b"GET / HT", b"TP/1.1\r\nHost: x\r\n", b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_head_without_end_is_refused() -> None:
    async with listening(House()) as port:
        answer = await answer_to(port, b"GET / HTTP/1.1\r\nX: ", b"x" * 70_000)
    assert answer == b"reset" or answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
async def test_a_head_that_does_not_come_is_given_up(beginning: bytes) -> None:
    async with listening(House(), limits=Limits(head_timeout_ms=200)) as port:
        answer = await answer_to(port, beginning)
    assert b"HTTP/1.1 408 Request Timeout\r\n" in answer


async def test_a_silent_connection_is_closed() -> None:
    async with listening(House(), limits=Limits(head_timeout_ms=200)) as port:
        assert await answer_to(port) == b""


async def test_a_body_may_be_larger_than_a_head() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while (message := await receive()).get("more_body"):
            size += len(message["body"])
        await PlainTextResponse(str(size + len(message["body"])))(scope, receive, send)

    async with listening(app, limits=Limits()) as port, httpx.AsyncClient() as client:
        assert (await client.post(f"http://127.0.0.1:{port}/", content=b"x" * 300_000)).text == "300000"


async def hold_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """As a held connect does, which has the server read on meanwhile."""
    body = await Request(scope, receive).body()
    waiting = asyncio.ensure_future(receive())
    await asyncio.sleep(0.2)
    waiting.cancel()
    await PlainTextResponse(f"held {len(body)}")(scope, receive, send)


LONG_POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("cut", [100_000, 70_000, 10])
async def test_a_body_before_it_counts_nothing_against_a_head(cut: int) -> None:
    """The last pieces of a body and the beginning of the next head come in one read, twice: more than a head may have."""
    async with listening(read_and_answer) as port:
        body = b"x" * 100_000
        first, second = LONG_POST + body[:-cut], body[-cut:] + LONG_POST[:30]
        answer = await answer_to(port, first, second, LONG_POST[30:] + body[:-cut], body[-cut:] + LAST[:20], LAST[20:])
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"read 100000") == 2
    assert answer.count(b"HTTP/1.1") == 3


async def test_a_head_without_end_behind_a_body_is_refused_too() -> None:
    async with listening(read_and_answer) as port:
        answer = await answer_to(port, LONG_POST + b"x" * 100_000 + b"GET / HTTP/1.1\r\nX: ", b"x" * 40_000, b"x" * 40_000)
    assert answer == b"reset" or (b"read 100000" in answer and b"HTTP/1.1 431 " in answer)


async def test_a_late_head_behind_a_request_that_is_held_has_its_time_afterwards() -> None:
    async with listening(hold_and_answer, limits=Limits(head_timeout_ms=50)) as port:
        answer = await answer_to(port, POST + b"x" * 100 + b"GET /")
    first, second = answer.split(b"held 100")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_the_server_does_not_read_yet_is_not_late() -> None:
    """uvicorn reads no further while a second request waits for the first."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.15)
        await PlainTextResponse("slow")(scope, receive, send)

    get = LAST.replace(b"Connection: close\r\n", b"")
    async with listening(app, limits=Limits(head_timeout_ms=100)) as port:
        answer = await answer_to(port, get + get + LAST[:20], LAST[20:])
    assert answer.count(b"slow") == 3


async def test_a_head_too_large_behind_a_request_that_is_held_is_not_taken_for_its_answer() -> None:
    async with listening(hold_and_answer) as port:
        answer = await answer_to(port, POST + b"x" * 100 + b"GET / HTTP/1.1\r\nX: ", b"x" * 40_000, b"x" * 40_000)
    held, refusal = answer.split(b"HTTP/1.1 ")[1:]
    assert held.startswith(b"200 ")
    assert refusal.startswith(b"431 ")


async def test_an_empty_line_does_not_keep_an_idle_connection() -> None:
    async with listening(read_and_answer, limits=Limits(head_timeout_ms=300)) as port:
        answer = await answer_to(port, LAST.replace(b"Connection: close\r\n", b""), b"", b"\r\n")
    assert answer.endswith(b"read 0")


async def test_an_empty_line_before_a_request_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(read_and_answer) as port:
        first = LAST.replace(b"Connection: close\r\n", b"")
        answer = await answer_to(port, first, b"\r\n", first, b"\r\n" + LAST)
    assert answer.count(b"read 0") == 3


# -- request bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces", [[POST], [POST[:20], POST[20:]], [POST + b"x"], [POST] + [b"x"] * 20, [POST[:-2] + b"Expect: 100-continue\r\n\r\n"]]
)
async def test_a_body_that_does_not_come_is_given_up(pieces: list[bytes]) -> None:
    async with listening(read_and_answer, limits=Limits(body_timeout_ms=100)) as port:
        answer = await answer_to(port, *pieces)
    assert answer == b"reset" or answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_the_application_is_told_that_the_body_does_not_come() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])
        await PlainTextResponse("too late")(scope, receive, send)

    async with listening(app, limits=Limits(body_timeout_ms=100)) as port:
        answer = await answer_to(port, POST + b"x")
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"too late" not in answer


async def test_a_request_that_is_held_with_its_body_is_not_ended() -> None:

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await asyncio.sleep(0.2)
        await PlainTextResponse("held")(scope, receive, send)

    async with listening(app, limits=Limits(body_timeout_ms=50)) as port:
        answer = await answer_to(port, POST[:-2] + b"Connection: close\r\n\r\n" + b"x" * 100)  # in one piece: 50 ms are short
    assert answer.endswith(b"held")


async def test_a_request_behind_one_that_is_held_has_its_time_afterwards() -> None:
    async with listening(hold_and_answer, limits=Limits(body_timeout_ms=50)) as port:
        answer = await answer_to(port, POST + b"x" * 100 + POST)
    first, second = answer.split(b"held 100")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_the_application_does_not_read_yet_is_not_late() -> None:

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.25)
        await read_and_answer(scope, receive, send)

    async with listening(app, limits=Limits(body_timeout_ms=100)) as port, httpx.AsyncClient() as client:
        assert (await client.post(f"http://127.0.0.1:{port}/", content=b"x" * 1_000_000)).text == "read 1000000"


@pytest.mark.parametrize("whole", [True, False])
async def test_what_is_answered_before_its_body_has_come_is_closed_without_a_word(whole: bool) -> None:

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"1234" if whole else b"12", "more_body": not whole})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with listening(app, limits=Limits(body_timeout_ms=100)) as port:
        answer = await answer_to(port, POST + b"x")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"1234" if whole else b"12")


# -- times that are settings --------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_kept_as_long_as_the_setting_says() -> None:
    async with listening(House(), limits=Limits(keep_alive_s=0)) as port:
        answer = await answer_to(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")  # returns when the server has closed
    assert answer.startswith(b"HTTP/1.1 200")


async def test_0_waits_for_a_head_and_for_a_body_as_long_as_they_take() -> None:
    async with listening(read_and_answer, limits=Limits(head_timeout_ms=0, body_timeout_ms=0)) as port:
        answer = await answer_to(port, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-", b"Length: 4\r\n\r\nab", b"cd")
    assert answer.endswith(b"read 4")
