"""Bayeux over HTTP on the wire: a real server, a real gate, real requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket as sockets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from hub.bayeux.server import BayeuxServer
from hub.bayeux.session import ServerSession
from hub.core.limits import Limits
from hub.transports import plain_http
from hub.transports.bayeux import BayeuxEndpoint
from tests.hub.transports.bayeux_house import BEARER, BY_TOKEN, HANDSHAKE, PATH, STATISTICS, Client, House, house, until

SUCCESS = {"id": "9", "channel": "/a", "successful": True}
DENIED_ADVICE = {"reconnect": "none", "interval": 0, "timeout": 20000}

WITHIN_S = 30.0


@pytest.fixture
async def built() -> AsyncIterator[House]:
    async with house() as made:
        yield made


async def raw_request(built: House, request: bytes) -> bytes:
    """Send bytes; returns the head of the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", built.port)
    writer.write(request)
    async with asyncio.timeout(WITHIN_S):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


# -- the paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, STATISTICS])
@pytest.mark.parametrize("suffix", ["", "/", "/handshake", "/connect", "/x/y"])
async def test_every_suffix_is_served(built: House, path: str, suffix: str) -> None:
    async with built.client(path) as client:
        (reply,) = await client.post(BY_TOKEN, suffix=suffix)
    assert reply["successful"]


@pytest.mark.parametrize("path", ["/cometdx", "/comet", "/", "/statistics/v3", "/statistics/v3/notificationsx", "/x/cometd"])
def test_other_paths_are_not_served(path: str) -> None:
    assert not BayeuxEndpoint.serves(None, path)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
async def test_other_methods(built: House, method: str) -> None:
    async with built.client() as client:
        response = await client.http.request(method, PATH)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST, OPTIONS")


async def test_response_headers(built: House) -> None:
    async with built.client() as client:
        response = await client.raw(json.dumps([BY_TOKEN]))
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-cache, no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("content_type", [None, "application/json;charset=UTF-8", "text/plain", "application/x-www-form-urlencoded"])
async def test_content_type_is_not_looked_at(built: House, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    async with built.client() as client:
        response = await client.raw(json.dumps([BY_TOKEN]), headers=headers)
    assert response.json()[0]["successful"]


async def test_bare_object(built: House) -> None:
    async with built.client() as client:
        response = await client.raw(json.dumps(BY_TOKEN))
    assert response.json()[0]["successful"]


async def test_chunked_body(built: House) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        whole = json.dumps([BY_TOKEN]).encode()
        for start in range(0, len(whole), 10):
            yield whole[start : start + 10]

    async with built.client() as client:
        response = await client.http.post(PATH, content=chunks())
    assert response.json()[0]["successful"]


# -- bad requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "[]", "{", "1", "[1]", "null", "[" * 5000, '[{"data":NaN}]', b"\xff", "[{}]]"])
async def test_malformed_body(built: House, body: str | bytes) -> None:
    async with built.client() as client:
        response = await client.raw(body)
    assert response.status_code == 400
    assert response.json()["status"]["code"] == 400
    assert response.json()["status"]["message"].startswith("expected ")
    assert built.server.counters.bad_requests == 1


async def test_too_many_messages(built: House) -> None:
    async with built.client() as client:
        response = await client.raw(json.dumps([{}] * 101))
    assert response.status_code == 413


@pytest.mark.parametrize("path", [PATH, STATISTICS])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(b"[]")), ("br", b"\x0b\x02\x80[]\x03"), ("x" * 500, b"\xff")],
    ids=["gzip", "br", "long"],
)
async def test_an_encoded_body_is_refused_by_name(built: House, path: str, encoding: str, body: bytes) -> None:
    async with built.client(path) as client:
        response = await client.raw(body, headers={"Content-Encoding": encoding})
        assert (response.status_code, response.json()["status"]["code"]) == (415, 415)
        assert response.json()["status"]["message"].startswith(f"Content-Encoding: expected identity, got '{encoding[:100]}")
        assert response.headers["accept-encoding"] == "identity"
        assert len(response.content) < 400
        assert built.server.counters.bad_requests == 1
        # what is not encoded is taken
        assert (await client.raw(json.dumps([BY_TOKEN]), headers={"Content-Encoding": "identity"})).status_code == 200


async def test_body_of_the_limit() -> None:
    async with house(limits=Limits(max_request_bytes=1000)) as built, built.client() as client:
        response = await client.raw(json.dumps([BY_TOKEN]).ljust(1000))
    assert response.status_code == 200


@pytest.mark.parametrize("size", [1001, 3000, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_above_the_limit(size: int, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(0, size, 100):
            yield b" " * 100
        yield b" "

    async with house(limits=Limits(max_request_bytes=1000)) as built, built.client() as client:
        response = await client.http.post(PATH, content=chunks() if chunked else b" " * size)
    assert response.status_code == 413
    assert response.json()["status"]["code"] == 413


async def test_large_body_is_refused_before_it_is_sent() -> None:
    async with house(limits=Limits(max_request_bytes=1000)) as built:
        head = b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
        answer = await raw_request(built, head)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("begun", [b"", b"["])
async def test_body_that_never_comes(begun: bytes) -> None:
    async with house(limits=Limits(body_timeout_ms=50)) as built:
        answer = await raw_request(built, b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + begun)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert built.server.counters.bad_requests == 0


@pytest.mark.parametrize("begun", [b"", b"["])
async def test_client_that_goes_before_its_body_came(built: House, begun: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", built.port)
    writer.write(b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + begun)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    async with built.client() as client:
        assert (await client.shake())["successful"]
    assert built.server.counters.bad_requests == 0


async def test_fault_of_ours_in_a_message_is_its_answer(built: House) -> None:
    async with built.client() as client:
        await client.opened()
        (reply,) = await client.post(client.message("/meta/subscribe", subscription="/broken"))
    assert reply["error"] == "500::internal_error"


async def test_fault_of_ours_in_a_request_is_logged_and_answered_500(built: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("x")

    async with built.client() as client:
        await client.opened()
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(BayeuxServer, "handle", broken)
            response = await client.raw(json.dumps([client.message("/a", data=1)]))
        assert (response.status_code, response.json()) == (500, {"status": {"code": 500, "message": "Internal Server Error"}})
        assert [entry["event"] for entry in logs] == ["bayeux_request_failed"]
        assert await client.post(client.message("/a", data=1)) == [SUCCESS]


# -- who asks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [BEARER, {"x-api-key": "demo-key"}, {**BEARER, "x-api-key": "demo-key"}])
@pytest.mark.parametrize("path", [PATH, STATISTICS])
async def test_header_credentials(built: House, path: str, headers: dict[str, str]) -> None:
    async with built.client(path, **headers) as client:
        assert (await client.shake(HANDSHAKE))["successful"]
        assert (await client.post(client.message("/a", data=1))) == [SUCCESS]


@pytest.mark.parametrize("authentication", [{"token": "demo-token"}, {"apiKey": "demo-key"}])
async def test_ext_credentials(built: House, authentication: dict[str, str]) -> None:
    async with built.client() as client:
        assert (await client.shake({**HANDSHAKE, "ext": {"authentication": authentication}}))["successful"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"x-api-key": "wrong"}, {"Cookie": "HUB_SESSION=x"}]
)
async def test_denied_on_cometd(built: House, headers: dict[str, str]) -> None:
    async with built.client(**headers) as client:
        reply = await client.shake(HANDSHAKE)
    assert (reply["error"], reply["advice"]) == ("403::handshake_denied", DENIED_ADVICE)


async def test_denied_handshake_sets_no_cookie(built: House) -> None:
    async with built.client() as client:
        response = await client.raw(json.dumps([HANDSHAKE]))
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({}, 401, None),
        ({"Authorization": "Bearer wrong"}, 401, None),
        ({"Cookie": "HUB_SESSION=x"}, 401, None),
        ({"x-api-key": "wrong"}, 403, {"message": "Forbidden"}),
        ({**BEARER, "x-api-key": "wrong"}, 403, {"message": "Forbidden"}),
    ],
)
async def test_denied_on_the_statistics_path(built: House, headers: dict[str, str], status: int, body: Any) -> None:
    async with built.client(STATISTICS, **headers) as client:
        response = await client.raw(json.dumps([HANDSHAKE]))
    assert response.status_code == status
    assert response.json()["status"]["code"] == 401 if body is None else response.json() == body
    assert built.server.counters.handshakes_denied == 1


async def test_bad_header_of_a_later_request_on_the_statistics_path(built: House) -> None:
    async with built.client(STATISTICS, **BEARER) as client:
        await client.opened(message=HANDSHAKE)
        response = await client.raw(json.dumps([client.connect()]), headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401


async def test_ext_on_the_statistics_path(built: House) -> None:
    async with built.client(STATISTICS) as client:
        assert (await client.shake())["successful"]
        wrong = await client.shake({**HANDSHAKE, "ext": {"authentication": {"token": "wrong"}}})
        assert wrong["error"] == "403::handshake_denied"
        odd = await client.shake({**HANDSHAKE, "ext": []})
        assert odd["error"] == "400:ext:message_invalid"


@pytest.mark.parametrize("path", [PATH, STATISTICS])
async def test_anonymous_where_they_are_let_in(path: str) -> None:
    async with house(open_to_all=True) as built, built.client(path) as client:
        await client.opened("/a", message=HANDSHAKE)
        replies = await client.post(client.message("/a", data=1))
        assert [reply.get("data") for reply in replies] == [1, None]
        (reply,) = await client.post(client.message("/meta/subscribe", subscription="/statistics/**"))
        assert reply["error"] == "403:denied:subscribe_denied"


async def test_bad_credentials_are_refused_where_anonymous_are_let_in() -> None:
    async with house(open_to_all=True) as built, built.client(STATISTICS, Authorization="Bearer wrong") as client:
        assert (await client.raw(json.dumps([HANDSHAKE]))).status_code == 401


async def test_header_session_needs_no_cookie(built: House) -> None:
    async with built.client(**BEARER) as client:
        await client.opened(message=HANDSHAKE)
        client.http.cookies.clear()
        assert await client.post(client.message("/a", data=1)) == [SUCCESS]


async def test_header_session_needs_the_header(built: House) -> None:
    async with built.client(**BEARER) as client:
        await client.opened(message=HANDSHAKE)
        del client.http.headers["authorization"]
        (reply,) = await client.post(client.message("/a", data=1))
    assert reply["error"] == "402::session_unknown"


async def test_ext_session_needs_its_cookie(built: House) -> None:
    async with built.client() as client:
        await client.opened()
        client.http.cookies.clear()
        (reply,) = await client.post(client.connect())
    assert (reply["error"], reply["advice"]["reconnect"]) == ("402::session_unknown", "handshake")


async def test_sign_in_cookie_of_an_own_page(built: House) -> None:
    origin = {"Origin": f"http://127.0.0.1:{built.port}"}
    async with built.client(Cookie=await built.cookie(), **origin) as client:
        await client.opened(message=HANDSHAKE)
        assert await client.post(client.message("/a", data=1)) == [SUCCESS]


async def test_sign_in_cookie_of_a_foreign_page(built: House) -> None:
    async with built.client(Cookie=await built.cookie(), Origin="https://evil.example") as client:
        assert (await client.shake(HANDSHAKE))["error"] == "403::handshake_denied"
    async with built.client(STATISTICS, Cookie=await built.cookie(), Origin="https://evil.example") as client:
        assert (await client.raw(json.dumps([HANDSHAKE]))).status_code == 403


# -- cross-origin -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [json.dumps([BY_TOKEN]), "{"])
async def test_allowed_origin_is_echoed(built: House, body: str) -> None:
    async with built.client(Origin="https://wallboard.example") as client:
        response = await client.raw(body)
    assert response.headers["access-control-allow-origin"] == "https://wallboard.example"
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["vary"] == "origin"


async def test_other_origins_are_not(built: House) -> None:
    async with built.client(Origin="https://evil.example") as client:
        response = await client.raw(json.dumps([BY_TOKEN]))
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["vary"] == "origin"


@pytest.mark.parametrize(("origin", "allowed"), [("https://wallboard.example", True), ("https://evil.example", False)])
async def test_preflight(built: House, origin: str, allowed: bool) -> None:
    async with built.client(Origin=origin) as client:
        response = await client.http.options(PATH)
    assert (response.status_code, response.content) == (204, b"")
    assert ("authorization" in response.headers.get("access-control-allow-headers", "").lower()) == allowed
    assert ("access-control-allow-origin" in response.headers) == allowed
    assert response.headers["allow"] == "GET, POST, OPTIONS"


# -- a connect that is held ---------------------------------------------------------------------------------------------


async def test_message_wakes_it(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        held = await client.hold()
        await built.emit("/a", b'{"x": 1.10}')
        response = await held
    assert response.text.startswith('[{"channel":"/a","data":{"x": 1.10}},{"id":"9","channel":"/meta/connect","successful":true')


async def test_time_ends_it() -> None:
    async with house(limits=Limits(timeout_ms=100)) as built, built.client() as client:
        await client.opened()
        response = await client.raw(json.dumps([client.connect()]))
    assert response.json()[0]["advice"] == {"reconnect": "retry", "interval": 0, "timeout": 100}


async def test_second_ends_the_first_with_500(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        first = await client.hold()
        second = await client.hold()
        response = await first
        assert (response.status_code, response.json()["status"]["code"]) == (500, 500)
        await built.emit("/a")
        assert (await second).json()[0] == {"channel": "/a", "data": 1}


async def test_status_of_the_first_can_be_chosen() -> None:
    async with house(limits=Limits(duplicate_connect_status=409)) as built, built.client() as client:
        await client.opened()
        first = await client.hold()
        await client.post(client.connect(timeout=0))
        assert (await first).status_code == 409


async def test_own_publish_does_not_wake_it(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        held = await client.hold()
        replies = await client.post(client.message("/a", data=1))
        assert [reply.get("data") for reply in replies] == [1, None]
        await asyncio.sleep(0.02)
        assert not held.done()
        await client.post(client.message("/meta/disconnect"))
        assert (await held).json()[0]["advice"]["reconnect"] == "none"


async def test_client_that_goes_loses_nothing(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        held = await client.hold()
        held.cancel()
        await until(lambda: built.server.sessions[client.id].held is None)
        await built.emit("/a")
        replies = await client.post(client.connect())
    assert [reply.get("data") for reply in replies] == [1, None]


async def test_client_that_goes_expires() -> None:
    # longer than a loaded machine takes from the handshake to the connect that is held
    async with house(limits=Limits(max_interval_ms=1000)) as built, built.client() as client:
        await client.opened()
        held = await client.hold()
        await asyncio.sleep(1.2)
        assert client.id in built.server.sessions
        held.cancel()
        await until(lambda: not built.server.sessions)


MUCH = 200
LARGE = Limits(max_queue_bytes=100_000_000)


async def _answer_much(built: House, client: Client) -> ServerSession:
    """End the held connect with 12 MB, and let the server write what the system takes."""
    for number in range(MUCH):
        await built.emit("/a", b'{"n":%d,"x":"%b"}' % (number, b"x" * 60_000))
    session = built.server.sessions[client.id]
    await until(lambda: session.held is None)
    await asyncio.sleep(0.05)
    return session


async def _raw_hold(built: House, client: Client) -> sockets.socket:
    """A connect that is held on a socket of the test's own."""
    body = json.dumps([client.connect()]).encode()
    cookies = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", built.port))
    raw.sendall(b"POST /cometd HTTP/1.1\r\nHost: x\r\nCookie: %b\r\nContent-Length: %d\r\n\r\n%b" % (cookies.encode(), len(body), body))
    await until(lambda: built.server.sessions[client.id].held is not None)
    return raw


async def test_client_that_goes_in_the_tick_of_the_message_loses_nothing(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        raw = await _raw_hold(built, client)
        raw.close()
        await built.emit("/a")  # the server cannot know yet that nobody is there
        session = built.server.sessions[client.id]
        await until(lambda: session.held is None)
        await asyncio.sleep(0.02)
        replies = await client.post(client.connect())
    assert [reply.get("data") for reply in replies][:1] == [1]


async def test_client_that_goes_while_it_reads_loses_nothing() -> None:
    """A response larger than every buffer between the two: the client goes before it has read it."""
    async with house(limits=LARGE) as built, built.client() as client:
        await client.opened("/a")
        raw = await _raw_hold(built, client)
        session = await _answer_much(built, client)
        raw.close()
        await until(lambda: len(session.queue) > 0)
        replies = await client.post(client.connect())
    assert [reply["data"]["n"] for reply in replies if "data" in reply] == list(range(MUCH))


async def test_client_that_stops_reading_is_cut_off() -> None:
    async with house(limits=replace(LARGE, response_timeout_ms=100)) as built, built.client() as client:
        await client.opened("/a")
        raw = await _raw_hold(built, client)
        session = await _answer_much(built, client)
        await until(lambda: len(session.queue) == MUCH)
        raw.close()


async def test_large_response_arrives_whole(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        held = await client.hold()
        for _ in range(10):
            await built.emit("/a", b'"%b"' % (b"x" * 60_000))
        assert len((await held).json()) == 11


async def test_one_connection_serves_many_requests(built: House) -> None:
    async with built.client() as client:
        await client.opened("/a")
        for number in range(5):
            held = await client.hold()
            await built.emit("/a", b"%d" % number)
            assert (await held).json()[0]["data"] == number


async def test_drain_sends_clients_away(built: House) -> None:
    async with built.client() as client:
        await client.opened()
        held = await client.hold()
        await built.endpoint.drain(0.05)
        (reply,) = (await held).json()
        assert reply["advice"]["reconnect"] == "handshake"
        assert 0 < reply["advice"]["interval"] <= 5000
        (refused,) = await client.post(BY_TOKEN)
    assert refused["error"] == "429::rate_limited"


async def test_drain_of_many_takes_its_time(built: House) -> None:
    clients = [built.client() for _ in range(4)]
    held = []
    for client in clients:
        await client.opened()
        held.append(await client.hold())
    await built.endpoint.drain(0.1)
    assert [(await task).json()[0]["advice"]["reconnect"] for task in held] == ["handshake"] * 4
    for client in clients:
        await client.http.aclose()


async def test_removed_credential_ends_the_held_connect(built: House) -> None:
    async with built.client() as client:
        await client.opened()
        held = await client.hold()
        for listener in built.gate.on_revoked:
            listener(lambda who: who.subject == "demo")
        replies = (await held).json()
    assert [reply["channel"] for reply in replies] == ["/meta/disconnect", "/meta/connect"]
    assert replies[1]["advice"]["reconnect"] == "none"


# -- under a server that knows nothing of the hub -----------------------------------------------------------------------


async def test_server_that_raises_at_a_lost_connection() -> None:
    async def send(message: Any) -> None:
        raise OSError

    assert not await plain_http.respond(send, 200, [], b"x")


async def test_stalled_send_under_another_server() -> None:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await asyncio.Event().wait()

    assert not await plain_http.respond(send, 200, [], b"x" * 100_000, timeout_s=0.01)


async def test_door_in_process() -> None:
    """httpx's own transport is another ASGI server: the endpoint relies on nothing but ASGI."""
    async with house() as built:
        app = httpx.ASGITransport(app=built.endpoint)
        async with httpx.AsyncClient(transport=app, base_url="http://hub") as client:
            response = await client.post(PATH, content=json.dumps([BY_TOKEN]))
    assert response.json()[0]["successful"]


async def test_secure_cookies_under_tls() -> None:
    async with house() as built:
        app = httpx.ASGITransport(app=built.endpoint)
        async with httpx.AsyncClient(transport=app, base_url="https://hub") as client:
            response = await client.post(PATH, content=json.dumps([BY_TOKEN]))
    assert response.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
