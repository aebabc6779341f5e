"""The dispatcher: endpoints first, then REST."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from hub.core.limits import Limits
from hub.http.method import asked_method
from hub.http.security_headers import REFERRER_POLICY, SECURITY_HEADERS
from hub.transports.dispatcher import Dispatcher

HOST = [(b"host", b"x")]


class Named:
    """An ASGI application, and an endpoint when it has a prefix, that writes down what it was asked to serve."""

    def __init__(self, seen: list[tuple[str, str]], name: str, prefix: str = "") -> None:
        self.seen = seen
        self.name = name
        self.prefix = prefix

    def serves(self, path: str) -> bool:
        return path.startswith(self.prefix)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append((self.name, scope["type"]))


async def receive() -> Message:
    raise AssertionError("the dispatcher itself receives nothing")


async def send(message: Message) -> None:
    raise AssertionError("the dispatcher itself sends nothing")


async def test_the_first_door_that_serves_a_path_gets_it_and_rest_gets_what_is_left() -> None:
    seen: list[tuple[str, str]] = []
    dispatcher = Dispatcher([Named(seen, "first", "/a"), Named(seen, "second", "/a/b"), Named(seen, "third", "/c")], Named(seen, "rest"))
    await dispatcher({"type": "http", "path": "/a/b", "headers": HOST}, receive, send)
    await dispatcher({"type": "websocket", "path": "/c", "headers": HOST}, receive, send)
    await dispatcher({"type": "http", "method": "GET", "path": "/x", "headers": HOST}, receive, send)
    await dispatcher({"type": "websocket", "path": "/x", "headers": HOST}, receive, send)
    await dispatcher({"type": "lifespan"}, receive, send)
    assert seen == [("first", "http"), ("third", "websocket"), ("rest", "http"), ("rest", "websocket"), ("rest", "lifespan")]


async def test_headers_by_the_hundred_are_refused() -> None:
    seen: list[tuple[str, str]] = []
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    dispatcher = Dispatcher([Named(seen, "endpoint", "/a")], Named(seen, "rest"), Limits(max_headers=10))
    for kind, path in (("http", "/a"), ("http", "/x"), ("websocket", "/a")):
        await dispatcher({"type": kind, "method": "GET", "path": path, "headers": [(b"a", b"b")] * 11}, receive, keep)
        await dispatcher({"type": kind, "method": "GET", "path": path, "headers": [*HOST, *[(b"a", b"b")] * 9]}, receive, keep)
    assert seen == [("endpoint", "http"), ("rest", "http"), ("endpoint", "websocket")]
    assert [each.get("status", each.get("code")) for each in sent if "body" not in each] == [431, 431, 431]


HOSTS: dict[str, tuple[str, list[bytes], bool]] = {
    "a name": ("1.1", [b"x"], True),
    "a name and a port": ("1.1", [b"hub.example.com:8080"], True),
    "an address of IPv6": ("1.1", [b"[::1]:8080"], True),
    "an underscore": ("1.1", [b"my_hub"], True),
    "an empty one": ("1.1", [b""], True),
    "none": ("1.1", [], False),
    "none by HTTP/1.0": ("1.0", [], True),
    "none by a version to come": ("1.2", [], False),
    "two": ("1.1", [b"x", b"y"], False),
    "the same twice": ("1.1", [b"x", b"x"], False),
    "two by HTTP/1.0": ("1.0", [b"x", b"y"], False),
    "a path": ("1.1", [b"x/y"], False),
    "a user": ("1.1", [b"user@x"], False),
    "a port that is no number": ("1.1", [b"x:80a"], False),
    "a list": ("1.1", [b"x, y"], False),
    "no ASCII": ("1.1", [b"\xff\xfe"], False),
}


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(("version", "hosts", "served"), HOSTS.values(), ids=HOSTS)
async def test_a_request_says_once_whom_it_is_for(kind: str, version: str, hosts: list[bytes], served: bool) -> None:
    """RFC 9112 section 3.2. Where there are two, one is what a proxy looked at, the other what the hub would make links from."""
    seen: list[tuple[str, str]] = []
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    dispatcher = Dispatcher([Named(seen, "endpoint", "/a")], Named(seen, "rest"))
    headers = [(b"host", host) for host in hosts]
    for path in ("/a", "/x"):
        await dispatcher({"type": kind, "http_version": version, "method": "GET", "path": path, "headers": headers}, receive, keep)
    assert seen == ([("endpoint", kind), ("rest", kind)] if served else [])
    assert [each["status"] for each in sent if "status" in each] == ([] if served else [400, 400])
    assert all(b"Host: expected one name" in each["body"] for each in sent if "body" in each)


async def test_head_is_served_as_get_and_answered_without_the_body() -> None:
    seen: list[Message] = []

    async def rest(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], asked_method(scope)) == ("GET", "HEAD")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"body"})

    async def note(message: Message) -> None:
        seen.append(message)

    await Dispatcher([], rest)({"type": "http", "method": "HEAD", "path": "/x", "headers": HOST}, receive, note)
    assert seen == [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4"), *SECURITY_HEADERS]},
        {"type": "http.response.body", "body": b""},
    ]


async def test_an_answer_that_has_a_policy_of_its_own_keeps_it_and_gets_what_it_lacks() -> None:
    seen: list[Message] = []
    own = (b"Content-Security-Policy", b"default-src 'self'")

    async def rest(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [own]})
        await send({"type": "http.response.body", "body": b"body"})

    async def note(message: Message) -> None:
        seen.append(message)

    await Dispatcher([], rest)({"type": "http", "method": "GET", "path": "/x", "headers": HOST}, receive, note)
    assert seen[0]["headers"] == [own, REFERRER_POLICY]
