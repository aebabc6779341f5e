"""HTTP/1.1 as a table: a name, the section of RFC 9112 (or 9110), the bytes of a connection, and the status of each answer to them."""

from __future__ import annotations

from typing import NamedTuple

ASK = b'[{"id":"1","channel":"/meta/connect","clientId":"nobody","connectionType":"long-polling"}]'
"""A request that is answered with 402, in a response of status 200."""

MAX_BODY = 70_000
"""What the server of these cases takes at most."""

SIZE = len(ASK)


class Case(NamedTuple):
    """One row. The connection ends behind the answers; ``open`` says that the server may also wait for more."""

    name: str
    section: str
    sent: bytes
    expected: list[int]
    open: bool = False


def post(*headers: str, body: bytes = ASK, length: object = None, line: str = "POST /cometd HTTP/1.1") -> bytes:
    """A request with ``Content-Length``, its own or another; False leaves it out."""
    told = [] if length is False else [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([line, "Host: x", *headers, *told, "", ""]).encode("latin-1") + body


def chunked(*chunks: bytes, headers: tuple[str, ...] = ("Connection: close",), coding: str = "chunked") -> bytes:
    """A request whose body is these chunks, as they stand."""
    return post(f"Transfer-Encoding: {coding}", *headers, body=b"".join(chunks), length=False)


END = "Connection: close"
GET = "GET /ws HTTP/1.1"
UTF16 = ASK.decode().encode("utf-16")
FIRST, SECOND = ASK[:40], ASK[40:]


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """One chunk."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


CASES = [
    Case("a request", "6.2", post(END), [200]),
    Case("two requests, one behind the other", "9.3.2", post() + post(END), [200, 200]),
    Case("ten requests, one behind the other", "9.3.2", post() * 9 + post(END), [200] * 10),
    Case("a request behind a bad one", "9.3.2", post(body=b"{") + post(END), [400, 200]),
    Case("an empty line before the request", "2.2", b"\r\n" + post(END), [200]),
    Case("no body", "6.3", post(END, body=b""), [400]),
    Case("neither length nor body", "6.3", post(END, body=b"", length=False), [400]),
    Case("a length of 0 in front of a body", "6.3", post(END, length=0), [400]),
    Case("a length that is too small", "6.3", post(END, length=SIZE - 1), [400]),
    Case("a length that is too large", "6.3", post(END, length=SIZE + 1), [], open=True),
    Case("a length of more than the limit", "6.3", post(END, body=b"x" * 100, length=MAX_BODY + 1), [], open=True),
    Case("a body of more than the limit", "6.3", post(END, body=b"x" * (MAX_BODY + 1)), [413]),
    Case("a negative length", "6.2", post(END, length=-1), [400]),
    Case("a length that is no number", "6.2", post(END, length="x"), [400]),
    Case("a length beyond 64 bits", "6.2", post(END, length=1 << 70), [400]),
    Case("two lengths", "6.3", post(f"Content-Length: {SIZE}", END), [400]),
    Case("two lengths that differ", "6.3", post("Content-Length: 3", END), [400]),
    Case("a length and chunks", "6.3", post("Transfer-Encoding: chunked", END), [400]),
    Case("one chunk", "7.1", chunked(chunk(ASK), b"0\r\n\r\n"), [200]),
    Case("two chunks", "7.1", chunked(chunk(FIRST), chunk(SECOND), b"0\r\n\r\n"), [200]),
    Case("a chunk for each byte", "7.1", chunked(*[chunk(ASK[at : at + 1]) for at in range(SIZE)], b"0\r\n\r\n"), [200]),
    Case("a chunk extension", "7.1.1", chunked(chunk(ASK, b";a=b"), b"0\r\n\r\n"), [200]),
    Case("a trailer", "7.1.2", chunked(chunk(ASK), b"0\r\nX-Trailer: 1\r\n\r\n"), [200]),
    Case("chunks without an end", "7.1", chunked(chunk(ASK)), [], open=True),
    Case("a chunk that is shorter than told", "7.1", chunked(b"ff\r\n" + ASK + b"\r\n", b"0\r\n\r\n"), [], open=True),
    Case("a chunk that is longer than told", "7.1", chunked(b"5\r\n" + ASK + b"\r\n", b"0\r\n\r\n"), [400]),
    Case("a chunk whose size is no number", "7.1", chunked(b"x\r\n" + ASK + b"\r\n0\r\n\r\n"), [400]),
    Case("a chunk whose size is negative", "7.1", chunked(b"-5\r\n" + ASK + b"\r\n0\r\n\r\n"), [400]),
    Case("a chunk beyond 64 bits", "7.1", chunked(b"fffffffffffffffff\r\n" + ASK), [400]),
    Case("chunks of more than the limit", "7.1", chunked(*[chunk(b"x" * 1000)] * 71, b"0\r\n\r\n"), [413]),
    Case("an unknown coding", "7", chunked(ASK, coding="gzip, x"), [400]),
    Case("a version that nobody knows", "2.3", post(END, line="POST /cometd HTTP/9.9"), [400]),
    Case("HTTP/1.0", "2.3", post(line="POST /cometd HTTP/1.0"), [200]),
    Case("no version", "2.3", b"POST /cometd\r\n\r\n", [400]),
    Case("the preface of HTTP/2", "9110 2.5", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    Case("a record of TLS", "3", bytes.fromhex("16030100c8010000c40303") + b"\x00" * 190, [400]),
    Case("garbage", "3", b"\x00\xff\x01\xfe" * 20 + b"\r\n\r\n", [400]),
    Case("a method that nobody knows", "9110 9", post(END, line="BREW /cometd HTTP/1.1"), [400]),
    Case("another method", "9110 15.5.6", post(END, line="DELETE /cometd HTTP/1.1"), [405]),
    Case("HEAD", "9110 9.3.2", post(END, line="HEAD /cometd HTTP/1.1", body=b""), [405]),
    Case("OPTIONS", "9110 9.3.7", post(END, line="OPTIONS /cometd HTTP/1.1", body=b""), [204]),
    Case("a target with a host", "3.2.2", post(END, line="POST http://x/cometd HTTP/1.1"), [200]),
    Case("a target that is a star", "3.2.4", post(END, line="POST * HTTP/1.1"), [404]),
    Case("a target with a byte that is not ASCII", "3.2", post(END, line="POST /cometd/\xff HTTP/1.1"), [400]),
    Case("a target with a bad escape", "3.2", post(END, line="POST /cometd/%zz HTTP/1.1"), [200]),
    Case("a folded header", "5.2", post("X-A: a\r\n b", END), [400]),
    Case("a space before the colon", "5.1", post("X-A : a", END), [400]),
    Case("a header without a name", "5.1", post(": a", END), [400]),
    Case("a header without a colon", "5.1", post("X-A", END), [400]),
    Case("a NUL in a header", "9110 5.5", post("X-A: a\x00b", END), [400]),
    Case("a header that is not ASCII", "9110 5.5", post("X-A: \xfc", END), [200]),
    Case("a cookie that nobody set", "9110 5.5", post("Cookie: BAYEUX_BROWSER=\xff; a; =; BAYEUX_BROWSER", END), [200]),
    Case("a credential that is none", "9110 11.4", post("Authorization: \xff\xfe", END), [200]),
    Case("a head of more than the limit", "9110 5.4", b"POST /cometd HTTP/1.1\r\nX-A: " + b"a" * 70_000, [431]),
    Case("a request line of more than the limit", "3", b"POST /" + b"a" * 70_000, [431]),
    Case("body in another encoding", "9110 8.4", post("Content-Encoding: gzip", END, body=b"\x1f\x8b\x08\x00"), [415]),
    Case(
        "body in UTF-16", "9110 8.3", post("Content-Type: application/json; charset=utf-16", END, body=ASK.decode().encode("utf-16")), [400]
    ),
    Case("a body that is asked for first", "9110 10.1.1", post("Expect: 100-continue", END), [100, 200]),
    Case(
        "a WebSocket without its key",
        "9110 7.8",
        post("Upgrade: websocket", "Connection: upgrade", line="GET /ws HTTP/1.1", body=b""),
        [400],
    ),
    Case("plain HTTP at the dashboards' endpoint", "9110 15.5.22", post(END, line=GET, body=b""), [426]),
]
