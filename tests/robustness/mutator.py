"""Bytes that are nearly right: small random changes to what is valid, from a seeded source of chance."""

from __future__ import annotations

import random
from collections.abc import Sequence

JSON_TOKENS = [
    *rb"""{ } [ ] " : , \ \u \ud83d \ude00 \u0000 \\ \" / // ' null true false NaN Infinity - -0 01 1. .5 1e5 1e400""".split(),
    *(bytes((byte,)) for byte in b" \t\n\r\v\x00\x1f\x7f\xff\x80"),
    *(character.encode() for character in "\u00e9\u2028\U0001f600\ufeff"),
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"9" * 400,
    b"[" * 70,
    b'{"a":' * 70,
]
"""What a parser of JSON may stumble over."""

HTTP_TOKENS = [
    *(bytes((byte,)) for byte in b"\r\n: \t\x00;,%?#\xff"),
    *(line.encode() + b"\r\n" for line in ["", "\r\n", "0\r\n", "5", "ffffffffffffffff", "Host: x", "Connection: close"]),
    *(
        line.encode() + b"\r\n"
        for line in ["Content-Length: 5", "Content-Length: -1", "Transfer-Encoding: chunked", "Expect: 100-continue"]
    ),
    *(line.encode() + b"\r\n" for line in ["Upgrade: websocket", "Cookie: BAYEUX_BROWSER=\x01", "POST /cometd HTTP/1.1"]),
    *b"HTTP/1.0 GET CONNECT http://x/".split(),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"A" * 5000,
]
"""What a parser of HTTP may stumble over."""

FRAME_TOKENS = [
    *(bytes((byte,)) for byte in (0x00, 0x01, 0x02, 0x08, 0x09, 0x0A, 0x7E, 0x7F, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0xFE, 0xFF)),
    bytes.fromhex("818000000000"),
    bytes.fromhex("018000000000"),
    bytes.fromhex("008000000000"),
    bytes.fromhex("808000000000"),
    bytes.fromhex("898000000000"),
    bytes.fromhex("888000000000"),
    bytes.fromhex("88820000000003e8"),
    bytes.fromhex("81fe000000000000"),
    bytes.fromhex("81ff000000000000000000000000"),
    bytes.fromhex("81ffffffffffffffffff00000000"),
]
"""What a parser of WebSocket frames may stumble over: first bytes, and whole frames with a masking key of zeros."""


class Mutator:
    """Changes bytes a little, again and again the same for the same ``chance``."""

    def __init__(self, chance: random.Random, tokens: Sequence[bytes]) -> None:
        self._chance = chance
        self._tokens = tokens

    def mutate(self, data: bytes) -> bytes:
        """One to four changes."""
        for _ in range(self._chance.choice([1, 1, 1, 2, 2, 4])):
            data = self._once(data)
        return data

    def _once(self, data: bytes) -> bytes:
        chance = self._chance
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice([0, 1, 1, 2, 8, 64]))
        kind = chance.randrange(6)
        if kind == 0:  # put in a token
            return data[:start] + chance.choice(self._tokens) + data[start:]
        if kind == 1:  # put a token in place of something
            return data[:start] + chance.choice(self._tokens) + data[end:]
        if kind == 2:  # take out
            return data[:start] + data[end:]
        if kind == 3:  # twice
            return data[:end] + data[start:end] + data[end:]
        if kind == 4:  # other bytes
            return data[:start] + bytes(chance.randrange(256) for _ in range(end - start)) + data[end:]
        return data[: chance.choice([start, len(data) - 1, len(data) // 2])]
