"""One HTTP request over a link: what the owner's application sees, what the client gets, and what happens when one of them goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from hub.cluster.link.tuning import Tuning
from hub.cluster.ports import LinkError, NodeGoneError, UnreachableError
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.http import KIND, HttpRelay
from hub.cluster.relay.owner import HttpOwner
from hub.cluster.relay.wire import PIECE_BYTES
from hub.security.connections import connection_of
from hub.transports.plain_http import respond
from hub.transports.relaying import HOPS
from tests.hub.transports.bayeux_house import until
from tests.hub.transports.harness import listening
from tests.support.cluster import MemoryCluster

App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


class Pair:
    """A node that relays every request, and the node that answers them."""

    def __init__(self, app: App, *, confirm: bool, timeout_s: float, tuning: Tuning | None = None) -> None:
        self.cluster = MemoryCluster(2, tuning=tuning)
        self.near, self.far = self.cluster.nodes
        self.relay = HttpRelay(self.near.links, RelayCounters(), response_timeout_s=0.5)
        self.owner = HttpOwner(app, RelayCounters(), confirm_s=0.5)
        self.far.links.serve(KIND, self.owner.answer)
        self.confirm = confirm
        self.timeout_s = timeout_s
        self.node = self.far.incarnation
        self.whole = False
        self.errors: list[LinkError] = []
        self.written: list[bool] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive) if self.whole else None
        try:
            done = await self.relay.send_on(scope, receive, send, self.node, body, timeout_s=self.timeout_s, confirm=self.confirm)
        except LinkError as error:
            self.errors.append(error)
            await respond(send, 503, (), b"no")
        else:
            self.written.append(done)


@asynccontextmanager
async def pair(
    app: App, *, confirm: bool = True, timeout_s: float = 10, tuning: Tuning | None = None
) -> AsyncIterator[tuple[Pair, httpx.AsyncClient]]:
    made = Pair(app, confirm=confirm, timeout_s=timeout_s, tuning=tuning)
    async with (
        listening(made) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client,
    ):
        yield made, client
    await made.cluster.close()


async def test_the_owner_sees_the_request_as_it_came() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await respond(
            send, 201, [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")], await body_of(receive)
        )

    async with pair(app) as (hub, client):
        answer = await client.put(
            "/a%20b?c=d&e", content=b"x" * 10, headers={"X-Many": "1", "Cookie": "k=v", "X-Forwarded-For": "203.0.113.7"}
        )
    assert (answer.status_code, answer.content) == (201, b"x" * 10)
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    (scope,) = seen
    wanted = {"type": "http", "method": "PUT", "scheme": "http", "path": "/a b", "raw_path": b"/a%20b", "query_string": b"c=d&e", HOPS: 1}
    assert {name: scope[name] for name in wanted} == wanted
    assert scope["client"] == ("203.0.113.7", 0)  # as the trusted proxy said to the node that has the connection
    assert dict(scope["headers"])[b"cookie"] == b"k=v"
    assert hub.written == [True]
    assert (hub.relay.counters.requests_out, hub.owner.counters.requests_in, hub.owner.counters.unconfirmed) == (1, 1, 0)


@pytest.mark.parametrize("confirm", [True, False])
@pytest.mark.parametrize("size", [0, 1, 70_000, 600_000, 5_000_000])
@pytest.mark.parametrize("whole", [True, False])
async def test_bodies_of_every_size_go_both_ways(size: int, whole: bool, confirm: bool) -> None:
    results: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        results.append(await respond(send, 200, (), await body_of(receive)))

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, size, 50_000):
            yield b"x" * min(50_000, size - begin)

    async with pair(app, confirm=confirm) as (hub, client):
        hub.whole = whole
        answer = await client.post("/", content=pieces())
        assert answer.content == b"x" * size
        assert answer.headers["content-length"] == str(size)
        await until(lambda: results == [True] and hub.written == [True])
        await until(lambda: not hub.near.links.ends[hub.node].calls)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_body_that_is_longer_than_what_a_link_takes_in_one_piece_is_cut(whole: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, (), b"%d" % len(await body_of(receive)))

    async with pair(app, tuning=Tuning(max_piece=PIECE_BYTES + 1000)) as (hub, client):
        hub.whole = whole
        answer = await client.post("/", content=b"x" * 3_000_000)
        assert (answer.status_code, answer.content, hub.errors) == (200, b"3000000", [])


async def test_an_answer_without_a_length_comes_in_pieces_as_they_are_sent() -> None:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async with pair(app, confirm=False) as (_, client), client.stream("GET", "/") as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b"first"
        more.set()
        assert await anext(parts) == b"last"


async def test_head_has_the_length_of_get_and_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
        await send({"type": "http.response.body", "body": b""})

    async with pair(app) as (_, client):
        answer = await client.head("/")
        assert (answer.headers["content-length"], answer.content) == ("7", b"")


@pytest.mark.parametrize("confirm", [True, False])
async def test_a_client_that_leaves_is_noticed_by_the_owner(confirm: bool) -> None:
    gone = asyncio.Event()
    held = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        held.set()
        assert (await receive())["type"] == "http.disconnect"
        gone.set()

    async with pair(app, confirm=confirm) as (hub, client):
        request = asyncio.create_task(client.get("/"))
        await held.wait()
        request.cancel()
        async with asyncio.timeout(10):
            await gone.wait()
        await until(lambda: hub.written == [False])
        assert (hub.relay.counters.client_left, hub.errors) == (1, [])


async def test_an_answer_that_its_client_did_not_take_is_lost_for_the_owner() -> None:
    results: list[bool] = []
    answer_now = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await answer_now.wait()
        results.append(await respond(send, 200, (), b"x" * 20_000_000, timeout_s=5))

    async with pair(app) as (hub, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: hub.owner.counters.requests_in == 1)
        answer_now.set()  # and the client reads nothing
        await until(lambda: results == [False])
        assert (hub.owner.counters.unconfirmed, hub.relay.counters.broken_off) == (1, 1)
        writer.close()
        del reader


@pytest.mark.parametrize("lost", ["cut", "killed"])
async def test_an_answer_that_nobody_confirms_is_lost_for_the_owner(lost: str) -> None:
    results: list[bool] = []
    answer_now = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await answer_now.wait()
        results.append(await respond(send, 200, (), b"x"))

    async with pair(app) as (hub, client):
        request = asyncio.create_task(client.get("/"))
        await until(lambda: hub.owner.counters.requests_in == 1)
        if lost == "cut":  # the answer arrives, but no confirmation
            hub.cluster.dead_s = 60
            hub.cluster.cut(hub.near, hub.far, both=False)
        else:
            hub.cluster.kill(hub.near)
        answer_now.set()
        await until(lambda: results == [False])
        assert hub.owner.counters.unconfirmed == 1
        assert (await request).status_code == (200 if lost == "cut" else 503)


async def test_a_node_that_lives_no_more_is_told_from_one_that_cannot_be_reached() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async with pair(app) as (hub, client):
        hub.cluster.kill(hub.far, lapse=False)
        assert (await client.get("/")).status_code == 503
        hub.cluster.lapse(hub.far)
        assert (await client.get("/")).status_code == 503
        assert [type(error) for error in hub.errors] == [UnreachableError, NodeGoneError]
        assert (hub.relay.counters.failed_unreachable, hub.relay.counters.failed_gone) == (1, 1)


async def test_a_held_request_ends_when_the_link_breaks() -> None:
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        assert (await receive())["type"] == "http.disconnect"
        gone.set()

    async with pair(app) as (hub, client):
        request = asyncio.create_task(client.get("/"))
        await until(lambda: hub.owner.counters.requests_in == 1)
        hub.cluster.drop(hub.near, hub.far)
        assert (await request).status_code == 503
        assert isinstance(hub.errors[0], UnreachableError)
        async with asyncio.timeout(10):
            await gone.wait()


async def test_an_owner_that_does_not_answer_in_time() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with pair(app, timeout_s=0.1) as (hub, client):
        assert (await client.get("/")).status_code == 503
        assert hub.relay.counters.failed_timeout == 1


async def test_an_application_that_fails_is_an_unreachable_node(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("x")

    async with pair(app) as (hub, client):
        assert (await client.get("/")).status_code == 503
        assert isinstance(hub.errors[0], UnreachableError)


async def test_an_answer_that_breaks_off_ends_with_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with pair(app, confirm=False) as (hub, client):
        async with client.stream("GET", "/") as answer:
            parts = answer.aiter_raw()
            assert await anext(parts) == b"12345"
            hub.cluster.kill(hub.far)
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(parts)
        await until(lambda: hub.written == [False])
        assert hub.relay.counters.broken_off == 1


async def test_a_request_is_not_relayed_twice() -> None:
    async with pair(lambda scope, receive, send: respond(send, 200, (), b"x")) as (hub, client):  # type: ignore[arg-type, return-value]
        inner = hub.relay.send_on

        async def once_more(scope: Scope, *args: Any, **options: Any) -> bool:
            return await inner({**scope, HOPS: 1}, *args, **options)

        hub.relay = type("Twice", (), {"send_on": staticmethod(once_more), "counters": hub.relay.counters})()  # type: ignore[assignment]
        assert (await client.get("/")).status_code == 503
        assert "links" in str(hub.errors[0])


async def test_what_the_client_shows_counts_at_the_node_that_has_its_connection() -> None:
    known: list[tuple[bool, str]] = []
    answer_now = asyncio.Event()
    here: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        connection = connection_of(scope)
        assert connection is not None
        known.append((connection.identified, connection.tenant))
        assert connection.limited_address is None
        connection.admit(anonymous=False, tenant="acme")
        gone = asyncio.ensure_future(receive())  # it holds the request
        await answer_now.wait()
        await respond(send, 200, (), b"x")
        await gone

    async with pair(app) as (hub, client):
        serve = hub.relay.send_on

        async def note(scope: Scope, *args: Any, **options: Any) -> bool:
            here.append(connection_of(scope))
            return await serve(scope, *args, **options)

        hub.relay = type("Noting", (), {"send_on": staticmethod(note), "counters": hub.relay.counters})()  # type: ignore[assignment]
        request = asyncio.create_task(client.get("/"))
        await until(lambda: bool(here) and here[0].tenant == "acme")  # while the request is held
        answer_now.set()
        await request
        await client.get("/")
        assert known == [(False, ""), (True, "acme")]
