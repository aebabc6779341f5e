"""Clients that keep a hub busy, from addresses of their own: ``python -m bench.flooding PORT RATE [KIND...]``. It ends when its input does.

They send the heads of requests byte by byte, ask for sessions without a credential, guess passwords, and ask for tokens as a client that
there is none of, each as often in a second as RATE says. KIND is one of ``slow``, ``handshakes``, ``sign-ins`` and ``tokens``: without one,
all of them. What came of it is printed at the end, as JSON.

The process takes only the time that nobody else wants of its core: whoever measures latency there does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Collection
from urllib.parse import urlencode

ADDRESSES = 4
"""127.0.0.2 and so on: limits are by address, and honest clients come from another one."""

SLOW = 50
"""Connections of each address that never end a head."""

BYTE_EVERY_S = 0.2
CONNECTIONS = 2
"""Of each kind of request and address. A kind that is answered late gets no further: the flood is of so many at a time."""

SLOW_HEADS = "slow"
"""The kind of the heads that never end; the others are those of :func:`kinds`."""

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def request(path: str, body: bytes, content_type: str) -> bytes:
    """A POST on a connection that stays."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def kinds(number: int) -> dict[str, bytes]:
    """What is sent, by kind; each address and turn has names of its own."""
    handshake = [{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}]
    guess = {"tenant": "demo", "username": f"user{number % 1000}", "password": "not that one"}
    grant = {"grant_type": "client_credentials", "client_id": f"client{number % 1000}", "client_secret": "not that one"}
    form = "application/x-www-form-urlencoded"
    return {
        "handshakes": request("/cometd", json.dumps(handshake).encode(), "application/json"),
        "sign-ins": request("/auth/v3/sign-in", urlencode(guess).encode(), form),
        "tokens": request("/auth/v3/oauth/token", urlencode(grant).encode(), form),
    }


class Flood:
    """All of them, until they are cancelled."""

    def __init__(self, port: int, rate: float, chosen: Collection[str] = ()) -> None:
        """``chosen`` are the kinds; without any, all."""
        self._chosen = chosen or (SLOW_HEADS, *kinds(0))
        self._port = port
        self._pause_s = ADDRESSES * CONNECTIONS / rate
        self._number = 0
        self.answered: Counter[str] = Counter()
        """Answers, by kind and status."""

    async def run(self) -> None:
        """Keep the hub busy."""
        async with asyncio.TaskGroup() as group:
            for address in range(2, 2 + ADDRESSES):
                for _ in range(SLOW if SLOW_HEADS in self._chosen else 0):
                    group.create_task(self._again(f"127.0.0.{address}", None))
                for kind in (each for each in kinds(0) if each in self._chosen):
                    for _ in range(CONNECTIONS):
                        group.create_task(self._again(f"127.0.0.{address}", kind))

    async def _again(self, address: str, kind: str | None) -> None:
        """One connection after another, as each is closed."""
        while True:
            try:
                await (self._slow(address) if kind is None else self._fast(address, kind))
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self.answered[f"{kind or SLOW_HEADS} closed"] += 1
                await asyncio.sleep(BYTE_EVERY_S)

    async def _slow(self, address: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        with contextlib.closing(writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(BYTE_EVERY_S)
            raise ConnectionResetError

    async def _fast(self, address: str, kind: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        with contextlib.closing(writer):
            while True:
                self._number += 1
                writer.write(kinds(self._number)[kind])
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                await reader.readexactly(int(length[1]) if length else 0)
                self.answered[f"{kind} {head[9:12].decode()}"] += 1
                await asyncio.sleep(self._pause_s)


async def main(port: int, rate: float, chosen: Collection[str]) -> None:
    """Flood until the input ends."""
    flood = Flood(port, rate, chosen)
    task = asyncio.create_task(flood.run())
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    sys.stdout.write(json.dumps(flood.answered) + "\n")


if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
