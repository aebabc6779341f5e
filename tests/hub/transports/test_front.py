"""The front: doors first, then REST."""

from starlette.types import Message, Receive, Scope, Send

from hub.core.limits import Limits
from hub.ops.method import asked_method
from hub.transports.front import Front


class Named:
    """An ASGI application, and a door when it has a prefix, that writes down what it was asked to serve."""

    def __init__(self, seen: list[tuple[str, str]], name: str, prefix: str = "") -> None:
        self.seen = seen
        self.name = name
        self.prefix = prefix

    def serves(self, path: str) -> bool:
        return path.startswith(self.prefix)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append((self.name, scope["type"]))


async def receive() -> Message:
    raise AssertionError("the front itself receives nothing")


async def send(message: Message) -> None:
    raise AssertionError("the front itself sends nothing")


async def test_the_first_door_that_serves_a_path_gets_it_and_rest_gets_what_is_left() -> None:
    seen: list[tuple[str, str]] = []
    front = Front([Named(seen, "first", "/a"), Named(seen, "second", "/a/b"), Named(seen, "third", "/c")], Named(seen, "rest"))
    await front({"type": "http", "path": "/a/b", "headers": []}, receive, send)
    await front({"type": "websocket", "path": "/c", "headers": []}, receive, send)
    await front({"type": "http", "method": "GET", "path": "/x", "headers": []}, receive, send)
    await front({"type": "websocket", "path": "/x", "headers": []}, receive, send)
    await front({"type": "lifespan"}, receive, send)
    assert seen == [("first", "http"), ("third", "websocket"), ("rest", "http"), ("rest", "websocket"), ("rest", "lifespan")]


async def test_headers_by_the_hundred_are_refused() -> None:
    seen: list[tuple[str, str]] = []
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    front = Front([Named(seen, "door", "/a")], Named(seen, "rest"), Limits(max_headers=10))
    for kind, path in (("http", "/a"), ("http", "/x"), ("websocket", "/a")):
        await front({"type": kind, "method": "GET", "path": path, "headers": [(b"a", b"b")] * 11}, receive, keep)
        await front({"type": kind, "method": "GET", "path": path, "headers": [(b"a", b"b")] * 10}, receive, keep)
    assert seen == [("door", "http"), ("rest", "http"), ("door", "websocket")]
    assert [each.get("status", each.get("code")) for each in sent if "body" not in each] == [431, 431, 431]


async def test_a_request_to_two_hosts_is_refused() -> None:
    """One of them is what a proxy looked at, the other what the hub would make links from."""
    seen: list[tuple[str, str]] = []
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    front = Front([Named(seen, "door", "/a")], Named(seen, "rest"))
    for kind, path in (("http", "/a"), ("http", "/x"), ("websocket", "/a")):
        for hosts in ([b"x", b"y"], [b"x", b"x"], [b"x"], []):
            await front({"type": kind, "method": "GET", "path": path, "headers": [(b"host", host) for host in hosts]}, receive, keep)
    assert seen == [(name, kind) for name, kind in (("door", "http"), ("rest", "http"), ("door", "websocket")) for _ in range(2)]
    assert [each["status"] for each in sent if "status" in each] == [400] * 6


async def test_head_is_served_as_get_and_answered_without_the_body() -> None:
    seen: list[Message] = []

    async def rest(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], asked_method(scope)) == ("GET", "HEAD")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"body"})

    async def note(message: Message) -> None:
        seen.append(message)

    await Front([], rest)({"type": "http", "method": "HEAD", "path": "/x", "headers": []}, receive, note)
    assert seen == [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]},
        {"type": "http.response.body", "body": b""},
    ]
