"""RFC 6455 as a table: a name, the section, the frames that a client sends after the opening handshake, and what it must get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

Ask = Callable[..., bytes]
"""``ask(size)``: a text of so many bytes that the endpoint answers. ``ask(size, echoed)``: one with a further text in it, as its last but
two bytes.
"""

ASK_BYTES = 120

KEY = bytes.fromhex("37fa213d")
"""The masking key of the RFC's own examples (section 5.7)."""

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80

ANSWER = "answer"
EOF = "end of stream"

MAX_MESSAGE = 70_000
"""What the server of these cases takes at most."""


def pong(payload: bytes = b"") -> str:
    """The server answers a ping with its payload."""
    return f"pong {payload.hex()}"


def close(code: int | None) -> str:
    """The server sends a close frame, with this code or without one, and the connection ends."""
    return f"close {code}"


class Case(NamedTuple):
    """One row. All frames leave in one segment; what closes the connection also ends what came before it and is not answered yet. Without
    a close at the end of ``expected`` the connection must go on: it still answers, and closes as it should.
    """

    name: str
    section: str
    sent: list[bytes]
    expected: list[str]
    fallback: list[str] | None = None
    """What a server without prebuilt frames answers, where that differs: there a library looks at everything before the hub does."""
    half_close: bool = False
    """The client ends its side of the TCP connection behind the bytes."""


def frame(first: int, payload: bytes = b"", *, masked: bool = True, size: int | None = None, width: int | None = None) -> bytes:
    """A frame whose first byte is ``first``. ``size`` is the length that its head tells, ``width`` the bytes of the length (0, 2 or 8)."""
    size = len(payload) if size is None else size
    width = (0 if size < 126 else 2 if size < 65536 else 8) if width is None else width
    short = {0: size, 2: 126, 8: 127}[width]
    head = bytes((first, (FIN if masked else 0) | short)) + (size.to_bytes(width, "big") if width else b"")
    return head + KEY + mask(payload) if masked else head + payload


def mask(payload: bytes) -> bytes:
    """A payload as a client sends it (section 5.3)."""
    key = (KEY * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def text(payload: bytes, **options: int) -> bytes:
    """One final text frame."""
    return frame(FIN | TEXT, payload, **options)


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(FIN | CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def _fragments(*payloads: bytes, opcode: int = TEXT) -> list[bytes]:
    last = len(payloads) - 1
    return [frame((FIN if number == last else 0) | (opcode if number == 0 else CONT), payload) for number, payload in enumerate(payloads)]


def _framing(ask: Ask) -> Iterator[Case]:
    whole = ask(ASK_BYTES)
    for size in (125, 126, 127, 128, 65535, 65536, MAX_MESSAGE):
        yield Case(f"text of {size} bytes", "5.2", [text(ask(size))], [ANSWER])
    yield Case("three texts in one segment", "5.2", [text(whole)] * 3, [ANSWER] * 3)
    for bits in (0x40, 0x20, 0x10, 0x70):
        yield Case(f"reserved bits 0x{bits:02x} on a text", "5.2", [frame(FIN | bits | TEXT, whole)], [close(1002)])
        yield Case(f"reserved bits 0x{bits:02x} on a ping", "5.2", [frame(FIN | bits | PING)], [close(1002)])
        yield Case(f"reserved bits 0x{bits:02x} on a continuation", "5.2", [frame(TEXT, whole), frame(FIN | bits)], [close(1002)])
    for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF):
        yield Case(f"reserved opcode 0x{opcode:x}", "5.2", [frame(FIN | opcode)], [close(1002)])
        yield Case(f"reserved opcode 0x{opcode:x} behind a text", "5.2", [text(whole), frame(FIN | opcode, b"x")], [close(1002)])
    for name, part in [
        ("text", text(whole, masked=False)),
        ("empty text", text(b"", masked=False)),
        ("ping", frame(FIN | PING, b"x", masked=False)),
        ("close", frame(FIN | CLOSE, b"\x03\xe8", masked=False)),
    ]:
        yield Case(f"unmasked {name}", "5.1", [part], [close(1002)])
    yield Case("binary", "5.6", [frame(FIN | BINARY, whole)], [close(4400)])
    yield Case("empty binary", "5.6", [frame(FIN | BINARY)], [close(4400)])
    yield Case("empty text", "5.6", [text(b"")], [close(4400)])


def _lengths(ask: Ask) -> Iterator[Case]:
    whole = ask(ASK_BYTES)
    yield Case("length in 2 bytes that fits in 7 bits", "5.2", [text(whole, width=2)], [ANSWER])
    yield Case("length in 8 bytes that fits in 7 bits", "5.2", [text(whole, width=8)], [ANSWER])
    yield Case("length in 8 bytes that fits in 2", "5.2", [text(ask(1000), width=8)], [ANSWER])
    yield Case("length of a ping in 2 bytes", "5.5", [frame(FIN | PING, b"x", width=2)], [pong(b"x")])
    yield Case("length with the highest bit set", "5.2", [text(b"", size=1 << 63)], [close(1009)])
    yield Case("length of all bits", "5.2", [text(b"", size=(1 << 64) - 1)], [close(1009)])
    yield Case("one byte more than the limit", "7.4.1", [text(b"", size=MAX_MESSAGE + 1)], [close(1009)])
    first = frame(TEXT, ask(40_000))
    yield Case("fragments that are too large together", "7.4.1", [first, frame(FIN, size=MAX_MESSAGE - 39_999)], [close(1009)])
    yield Case("binary of more than the limit", "7.4.1", [frame(FIN | BINARY, b"", size=MAX_MESSAGE + 1)], [close(1009)])


def _fragmentation(ask: Ask) -> Iterator[Case]:
    whole = ask(ASK_BYTES)
    yield Case("two fragments", "5.4", _fragments(whole[:50], whole[50:]), [ANSWER])
    yield Case("three fragments", "5.4", _fragments(whole[:1], whole[1:100], whole[100:]), [ANSWER])
    yield Case("a fragment for each byte", "5.4", _fragments(*[whole[at : at + 1] for at in range(ASK_BYTES)]), [ANSWER])
    yield Case("empty first fragment", "5.4", _fragments(b"", whole), [ANSWER])
    yield Case("empty middle fragment", "5.4", _fragments(whole[:50], b"", whole[50:]), [ANSWER])
    yield Case("empty last fragment", "5.4", _fragments(whole, b""), [ANSWER])
    yield Case("only empty fragments", "5.4", _fragments(b"", b"", b""), [close(4400)])
    first, last = _fragments(whole[:50], whole[50:])
    ping = frame(FIN | PING, b"p")
    yield Case("ping between fragments", "5.4", [first, ping, last], [pong(b"p"), ANSWER])
    yield Case("two pings between fragments", "5.4", [first, ping, ping, last], [pong(b"p"), pong(b"p"), ANSWER])
    yield Case("pong between fragments", "5.4", [first, frame(FIN | PONG, b"p"), last], [ANSWER])
    yield Case("close between fragments", "5.4", [first, closing(1000), last], [close(1000)], [close(1002)])
    yield Case("text amid a fragmented text", "5.4", [first, text(whole)], [close(1002)])
    yield Case("binary amid a fragmented text", "5.4", [first, frame(FIN | BINARY, whole)], [close(1002)])
    yield Case("first fragment amid a fragmented text", "5.4", [first, first], [close(1002)])
    yield Case("last fragment alone", "5.4", [last], [close(1002)])
    yield Case("middle fragment alone", "5.4", [frame(CONT, whole)], [close(1002)])
    yield Case("last fragment twice", "5.4", [first, last, last], [close(1002)])
    yield Case("binary in two fragments", "5.4", _fragments(whole[:50], whole[50:], opcode=BINARY), [close(4400)])
    yield Case("too many fragments", "7.4.1", _fragments(*[b""] * 2000), [close(1009)], [close(4400)])
    for opcode, name in ((CLOSE, "close"), (PING, "ping"), (PONG, "pong")):
        yield Case(f"fragmented {name}", "5.5", [frame(opcode)], [close(1002)])


def _control(ask: Ask) -> Iterator[Case]:
    whole = ask(ASK_BYTES)
    for size in (0, 1, 125):
        payload = bytes(range(size))
        yield Case(f"ping of {size} bytes", "5.5.2", [frame(FIN | PING, payload)], [pong(payload)])
        yield Case(f"pong of {size} bytes that nobody asked for", "5.5.3", [frame(FIN | PONG, payload)], [])
    for opcode, name in ((CLOSE, "close"), (PING, "ping"), (PONG, "pong")):
        yield Case(f"{name} of 126 bytes", "5.5", [frame(FIN | opcode, b"\x03\xe8" + b"x" * 124)], [close(1002)])
        yield Case(f"{name} of 65536 bytes", "5.5", [frame(FIN | opcode, b"\x03\xe8" + b"x" * 65534)], [close(1002)])
    pings = [frame(FIN | PING, bytes((number,))) for number in range(10)]
    yield Case("ten pings at once", "5.5.2", pings, [pong(bytes((number,))) for number in range(10)])
    yield Case("ping with bytes that are no UTF-8", "5.5.2", [frame(FIN | PING, b"\xff\xfe")], [pong(b"\xff\xfe")])
    yield Case("a pong before its text", "5.5.3", [frame(FIN | PONG), text(whole)], [ANSWER])


def _closing(ask: Ask) -> Iterator[Case]:
    whole = ask(ASK_BYTES)
    yield Case("close without a code", "7.1.5", [closing()], [close(None)])
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        yield Case(f"close {code}", "7.4", [closing(code)], [close(code)])
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case(f"close {code}, which nobody may send", "7.4", [closing(code)], [close(1002)])
    yield Case("close of one byte", "5.5.1", [frame(FIN | CLOSE, b"\x03")], [close(1002)])
    yield Case("close with a reason", "5.5.1", [closing(1000, b"bye")], [close(1000)])
    yield Case("close with the longest reason", "5.5.1", [closing(1000, b"x" * 123)], [close(1000)])
    yield Case("close with a reason in UTF-8", "5.5.1", [closing(1000, "\u4f60\u597d".encode())], [close(1000)])
    for name, reason in _ILL_FORMED:
        yield Case(f"close with {name} in its reason", "5.5.1", [closing(1000, reason)], [close(1007)])
    yield Case("text behind a close", "5.5.1", [closing(1000), text(whole)], [close(1000)])
    yield Case("ping behind a close", "5.5.1", [closing(1000), frame(FIN | PING)], [close(1000)])
    yield Case("close behind a close", "5.5.1", [closing(1000), closing(1001)], [close(1000)])
    yield Case("garbage behind a close", "5.5.1", [closing(1000), b"\xff" * 40], [close(1000)])
    yield Case("text before a close in one segment", "5.5.1", [text(whole), closing(1000)], [close(1000)])


_ILL_FORMED = [
    ("a byte that UTF-8 never has", b"\xff"),
    ("a continuation byte alone", b"\x80"),
    ("an overlong slash", b"\xc0\xaf"),
    ("a surrogate", b"\xed\xa0\x80"),
    ("a code point above U+10FFFF", b"\xf4\x90\x80\x80"),
    ("a character that is cut", b"\xe4\xbd"),
]


def _utf8(ask: Ask) -> Iterator[Case]:
    snowman = "\u2603\U0001f600".encode()
    before, after = ask(ASK_BYTES, snowman).split(snowman)
    yield Case("characters of 3 and 4 bytes", "5.6", [text(before + snowman + after)], [ANSWER])
    for cut in (1, 2, 4, 5, 6):
        parts = _fragments(before + snowman[:cut], snowman[cut:] + after)
        yield Case(f"fragments that cut a character at byte {cut}", "5.6", parts, [ANSWER])
    for name, ill in _ILL_FORMED:
        yield Case(f"text with {name}", "8.1", [text(b'{"id":"' + ill + b'"}')], [close(4400)], [close(1007)])
        parts = _fragments(b'{"id":"' + ill[:1], ill[1:] + b'"}')
        yield Case(f"fragments with {name}", "8.1", parts, [close(4400)], [close(1007)])
    yield Case("text that ends within a character", "8.1", [text(b'{"id":"\xe4\xbd')], [close(4400)], [close(1007)])


def _ends(ask: Ask) -> Iterator[Case]:
    whole = ask(ASK_BYTES)
    asked = text(whole)
    yield Case("end of stream at once", "7.1.7", [], [EOF], half_close=True)
    for name, part in [
        ("one byte of a head", asked[:1]),
        ("half a head", text(ask(200))[:3]),
        ("half a masking key", asked[:4]),
        ("a head alone", asked[:6]),
        ("half a payload", frame(FIN | TEXT, whole[:50], size=ASK_BYTES)),
    ]:
        yield Case(f"end of stream behind {name}", "7.1.7", [part], [EOF], half_close=True)
    yield Case("end of stream behind a first fragment", "7.1.7", [frame(TEXT, whole)], [EOF], half_close=True)
    yield Case("end of stream behind a close", "7.1.1", [closing(1000)], [close(1000)], half_close=True)


def cases(ask: Ask) -> list[Case]:
    """All rows, for an endpoint that is asked in its own way."""
    parts = [_framing, _lengths, _fragmentation, _control, _closing, _utf8, _ends]
    return [case for part in parts for case in part(ask)]
