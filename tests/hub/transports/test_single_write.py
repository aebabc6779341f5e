"""Responses in one write: the same bytes on the wire as those of ASGI, and the same end of the request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.transports.plain_http import respond
from hub.transports.single_write import SINGLE_WRITE_BYTES, single_write
from tests.hub.transports.harness import listening

HEADERS = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
Answer = Callable[[Send, bytes], Any]


class App:
    """Answers every request with its own body, in the way it is told, and notes what came of it."""

    def __init__(self, *, whole: bool, body: bytes | None = None) -> None:
        self.whole = whole
        self.body = body
        self.written: list[bool | None] = []
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body = self.body if self.body is not None else message["body"] or b"nothing"
        if self.whole:
            self.written.append(single_write(send, 200, HEADERS, body))
        if not self.whole or self.written[-1] is None:
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
            await send({"type": "http.response.body", "body": body})
        self.heard.append((await receive())["type"])


async def talk(app: ASGIApp, requests: bytes) -> bytes:
    """What the server says to some bytes until it closes."""
    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    return answer


def parsed(answer: bytes) -> list[tuple[bytes, set[bytes], bytes]]:
    """(status line, header lines, body) of each response; the date is left out."""
    found = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = {line.lower() for line in lines if not line.lower().startswith(b"date:")}
        size = next(int(line.split(b":")[1]) for line in headers if line.startswith(b"content-length"))
        found.append((status, headers, answer[:size]))
        answer = answer[size:]
    return found


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlast"


@pytest.mark.parametrize(
    "requests",
    [LAST, GET + LAST, GET * 3 + LAST, b"GET / HTTP/1.0\r\n\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi" + LAST],
)
async def test_the_client_sees_no_difference(requests: bytes) -> None:
    whole, usual = App(whole=True), App(whole=False)
    assert parsed(await talk(whole, requests)) == parsed(await talk(usual, requests))
    assert set(whole.written) == {True}
    assert whole.heard == usual.heard == ["http.disconnect"] * len(whole.written)


async def test_a_client_that_waits_to_be_asked_for_its_body_is_answered_at_once() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        assert single_write(send, 413, [], b"too large")

    answer = await talk(app, b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 4\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"\r\n\r\ntoo large")


@pytest.mark.parametrize(
    ("requests", "body"),
    [
        (b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"not sent"),
        (LAST, b"x" * (SINGLE_WRITE_BYTES + 1)),
        (LAST, b""),
    ],
)
async def test_what_is_no_matter_of_one_write_is_left_to_the_server(requests: bytes, body: bytes) -> None:
    app = App(whole=True, body=body)
    answer = await talk(app, requests)
    assert app.written == [None]
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n" if requests.startswith(b"HEAD") else b"\r\n\r\n" + body)


async def test_a_response_that_has_begun_is_not_begun_again() -> None:
    seen: list[bool | None] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        seen.append(single_write(send, 200, [], b"no"))
        await send({"type": "http.response.body", "body": b"ok"})

    assert (await talk(app, LAST)).endswith(b"\r\n\r\nok")
    assert seen == [None]


async def test_a_client_that_is_gone() -> None:
    seen: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.set_result(single_write(send, 200, [], b"too late"))

    async with listening(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await writer.drain()
        writer.close()
        async with asyncio.timeout(10):
            assert await seen is False


async def test_a_value_that_no_header_can_have_is_an_error_and_nothing_is_sent() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        with pytest.raises(ValueError, match="expected a value that the header x-name can have"):
            single_write(send, 200, [(b"x-name", b"a\r\nset-cookie: evil=1")], b"body")
        await respond(send, 200, [], b"fine")

    answer = await talk(app, LAST)
    assert b"evil" not in answer
    assert answer.endswith(b"\r\n\r\nfine")


async def test_another_server_is_asked_the_usual_way() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert single_write(send, 200, [], b"body") is None
    assert await respond(send, 200, [], b"body")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
