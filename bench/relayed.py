"""Compares long-polling through a node that does not have the sessions with long-polling at the node that has them, alternating in one
run.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, cast

from bench.machine import cpu_us, median
from bench.result import Result, Row, Size, goal
from bench.servers import Hub
from tests.support.redis_server import RedisServer

SESSIONS = 200
CHANNEL = "/bench/relayed"
GOAL_US = 200
_SETTLE_S = 0.05
_HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}


class _Session:
    """One session. It has a connection to each node, and sends its next connect as soon as one is answered with a message."""

    def __init__(self) -> None:
        self.id = ""
        self.cookie = ""

    def message(self, channel: str, **members: Any) -> dict[str, Any]:
        return {"channel": channel, "clientId": self.id, **members}


class _Connection(asyncio.Protocol):
    """One connection of a session to a node. It sends requests and reads whole responses."""

    def __init__(self, session: _Session, polls: _Polls) -> None:
        self.session = session
        self.polls = polls
        self.waiting: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._connect = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, *messages: dict[str, Any]) -> None:
        assert self._transport is not None
        body = json.dumps(messages).encode()
        cookie = f"Cookie: {self.session.cookie}\r\n" if self.session.cookie else ""
        head = f"POST /cometd HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{cookie}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    async def ask(self, *messages: dict[str, Any]) -> tuple[bytes, list[dict[str, Any]]]:
        self.waiting = asyncio.get_running_loop().create_future()
        self.send(*messages)
        head, _, body = (await self.waiting).partition(b"\r\n\r\n")
        return head, json.loads(body)

    def hold(self) -> None:
        """Send a connect, which the hub holds."""
        self.send(self.session.message("/meta/connect", connectionType="long-polling"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) < length:
            return
        whole, self._data = self._data, b""
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.set_result(whole)
        elif b'"data"' in body:
            self.hold()
            self.polls.arrived()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class _Polls:
    """All sessions, and the number of those that have the last message."""

    def __init__(self) -> None:
        self.got = 0
        self._wanted = 0
        self._all: asyncio.Future[None] | None = None

    def arrived(self) -> None:
        self.got += 1
        if self._all is not None and self.got >= self._wanted and not self._all.done():
            self._all.set_result(None)

    async def all_have_it(self, wanted: int) -> None:
        self._wanted = wanted
        self._all = asyncio.get_running_loop().create_future()
        if self.got < wanted:
            async with asyncio.timeout(60):
                await self._all
        self.got = 0


async def _opened(polls: _Polls, port: int) -> _Session:
    """Open a session at a node, with a subscription and a connect."""
    session = _Session()
    connection = await _connected(session, polls, port)
    head, (reply,) = await connection.ask(_HANDSHAKE)
    session.id = reply["clientId"]
    session.cookie = head.decode().partition("BAYEUX_BROWSER=")[2].partition(";")[0]
    session.cookie = f"BAYEUX_BROWSER={session.cookie}"
    await connection.ask(session.message("/meta/subscribe", subscription=CHANNEL))
    await connection.ask(session.message("/meta/connect", connectionType="long-polling"))
    connection.close()
    return session


async def _connected(session: _Session, polls: _Polls, port: int) -> _Connection:
    _, made = await asyncio.get_running_loop().create_connection(lambda: _Connection(session, polls), "127.0.0.1", port)
    return made


async def _measured(sessions: list[_Session], polls: _Polls, publisher: _Connection, hubs: list[Hub], port: int, messages: int) -> float:
    """Return the CPU time of both nodes for each delivery, in microseconds, if all connects go to ``port``."""
    connections = [await _connected(session, polls, port) for session in sessions]
    for connection in connections:
        connection.hold()
    await asyncio.sleep(_SETTLE_S * 4)
    before = sum(cpu_us(hub.pid) for hub in hubs)
    for number in range(messages):
        await publisher.ask(publisher.session.message("/bench/relayed", data={"number": number, "text": "x" * 180}))
        await polls.all_have_it(len(sessions))
        await asyncio.sleep(_SETTLE_S)
    cost = (sum(cpu_us(hub.pid) for hub in hubs) - before) / (messages * len(sessions))
    for connection in connections:
        connection.close()
    await asyncio.sleep(_SETTLE_S * 2)
    return cost


async def _run(size: Size, hubs: list[Hub]) -> list[tuple[float, float]]:
    polls = _Polls()
    count = min(size.clients, SESSIONS)
    sessions = [await _opened(polls, hubs[0].port) for _ in range(count)]
    own = await _opened(polls, hubs[0].port)
    publisher = await _connected(own, polls, hubs[0].port)
    await publisher.ask(own.message("/meta/unsubscribe", subscription=CHANNEL))
    messages = max(2, size.deliveries // 50 // count)
    runs = [[await _measured(sessions, polls, publisher, hubs, hub.port, messages) for hub in hubs] for _ in range(size.runs + 1)]
    publisher.close()
    return [(local, relayed) for local, relayed in runs[1:] or runs]  # the first run warms up


def relayed(size: Size) -> Result:
    """Run the benchmark of this module."""
    result = Result("relayed long-polling")
    redis = RedisServer()
    hubs: list[Hub] = []
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        for number in range(2):
            link = f"unix:{Path(folder) / str(number)}.sock"
            environment = {"HUB_REDIS_URL": redis.url, "HUB_SECRET": "of these two hubs alone", "HUB_LINK_LISTEN": link}
            hubs.append(Hub(environment))
        try:
            runs = asyncio.run(_run(size, hubs))
        finally:
            for hub in hubs:
                hub.close()
            redis.close()
    local, more = median(one for one, _ in runs), median(other - one for one, other in runs)
    what = f"{min(size.clients, SESSIONS):,} long-polling clients, one message at a time"
    result.rows += [
        Row(what, "CPU of both nodes a delivery, at the owner", local, "us"),
        Row(what, "CPU of both nodes a delivery, at the other node", median(other for _, other in runs), "us"),
        goal(Row(what, "the difference", more, "us"), size, f"at most {GOAL_US} us", more <= GOAL_US),
        Row(what, "the ratio", median(other / one for one, other in runs), ""),
    ]
    result.detail = {"local": [one for one, _ in runs], "relayed": [other for _, other in runs]}
    return result
