"""Clients that read nothing, never connect, subscribe to everything, or publish as fast as they can: the hub's memory stays bounded,
others are served, and each limit shows in /metrics.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.hub_process import HubProcess

MIB = 1024 * 1024
PATIENCE_S = 60.0
HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket", "long-polling"]}
MAX_UNCONNECTED = 2_000  # of the 10,000 handshakes that come: as many as the slowest machine makes before the first of them run out


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub for all of them: what one leaves behind would be seen by the next."""
    environment = {
        "HUB_SIMULATOR__AGENTS": "4",
        "HUB_REPLAY__CHANNELS": "/log/**",
        "HUB_REPLAY__MAX_BYTES": str(4 * MIB),
        "HUB_LIMITS__MAX_INTERVAL_MS": "4000",
        "HUB_LIMITS__MAX_UNCONNECTED": str(MAX_UNCONNECTED),
        # all of them come from one address, as one tenant
        "HUB_LIMITS__TENANT_SHARE_PERCENT": "100",
        "HUB_LIMITS__MAX_UNIDENTIFIED": "5000",
        "HUB_LIMITS__MAX_UNIDENTIFIED_PER_ADDRESS": "5000",
        "HUB_LIMITS__HANDSHAKES_PER_S_PER_ADDRESS": "0",
        "HUB_LIMITS__HANDSHAKES_PER_S_PER_TENANT": "0",
        "HUB_LOG_LEVEL": "warning",
    }
    process = HubProcess(tmp_path_factory.mktemp("hostile"), ("--demo", "--open"), environment)
    try:
        yield process.start()
        assert "Traceback" not in process.log()
    finally:
        process.close()


def metric(hub: HubProcess, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", hub.get("/metrics").text, re.MULTILINE)
    assert found is not None, f"/metrics has no {name}"
    return float(found[1])


def resident(hub: HubProcess) -> int:
    """Bytes of memory of the hub's process."""
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{hub.process.pid}/status").read_text(), re.MULTILINE)
    return int(kilobytes) * 1024


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about within {PATIENCE_S:.0f} s"
        time.sleep(0.05)


class Bayeux:
    """A Bayeux client on a WebSocket, by hand."""

    def __init__(self, hub: HubProcess, socket: ClientConnection) -> None:
        self.socket = socket
        (reply,) = self.ask({**HANDSHAKE, "id": "h"})
        self.id = reply["clientId"]
        self.ask(self.message("/meta/connect", connectionType="websocket", advice={"timeout": 0}))

    def message(self, channel: str, **members: Any) -> dict[str, Any]:
        return {"id": "1", "channel": channel, "clientId": self.id, **members}

    def send(self, *messages: dict[str, Any]) -> None:
        self.socket.send(json.dumps(messages))

    def read(self) -> list[dict[str, Any]]:
        frame: list[dict[str, Any]] = json.loads(self.socket.recv(timeout=PATIENCE_S))
        return frame

    def ask(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        self.send(message)
        return self.read()

    def subscribe(self, *patterns: str) -> dict[str, Any]:
        return self.ask(self.message("/meta/subscribe", subscription=list(patterns)))[-1]


@contextmanager
def client(hub: HubProcess, **options: Any) -> Iterator[Bayeux]:
    with connect(f"{hub.ws_url}/cometd", proxy=None, max_size=None, **options) as socket:
        yield Bayeux(hub, socket)


class Canary:
    """A well-behaved client on channels of its own. It talks to the hub all the time, and counts how often it was answered."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answered = 0
        self.fault: Exception | None = None

    def __enter__(self) -> Canary:
        self._thread.start()
        until(lambda: self.answered > 0 or self.fault is not None, "the canary's first event")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert self.fault is None, self.fault

    def _run(self) -> None:
        try:
            with client(self._hub) as bird:
                assert bird.subscribe("/canary")["successful"]
                while not self._stop.is_set():
                    bird.send(bird.message("/canary", data=self.answered))
                    messages: list[dict[str, Any]] = []
                    while len(messages) < 2:  # its own event, and the reply
                        messages += bird.read()
                    assert messages[0]["data"] == self.answered
                    self.answered += 1
                    time.sleep(0.01)
        except Exception as fault:
            self.fault = fault

    def sings(self) -> None:
        """It is served now, not only before."""
        before = self.answered
        until(lambda: self.answered > before + 2 or self.fault is not None, "an event of the canary's")
        assert self.fault is None, self.fault


@pytest.fixture
def canary(hub: HubProcess) -> Iterator[Canary]:
    with Canary(hub) as bird:
        yield bird
        bird.sings()


def deaf(hub: HubProcess, stack: ExitStack, *patterns: str) -> Bayeux:
    """A client that has subscribed and reads nothing more: its system's buffer is small, and the library reads one frame ahead."""
    raw = socket.create_connection(("127.0.0.1", hub.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found = stack.enter_context(client(hub, sock=raw, max_queue=1, ping_interval=None, close_timeout=0))
    assert found.subscribe(*patterns)["successful"]
    return found


def flood(publisher: Bayeux, channel: str, count: int, size: int) -> None:
    """Publish in batches, and read all that comes back."""
    payload = "x" * size
    for start in range(0, count, 10):
        publisher.send(*(publisher.message(channel, data=[start + n, payload]) for n in range(10)))
        replies = 0
        while replies < 10:
            replies += sum("successful" in message for message in publisher.read())


def test_slow_readers(hub: HubProcess, canary: Canary) -> None:
    """20 clients that do not read cost two queues each at most, however much is published: 200 MB were waiting for them else."""
    before, dropped = resident(hub), metric(hub, 'hub_messages_dropped_total{outcome="dropped"}')
    with ExitStack() as stack:
        for _ in range(20):
            deaf(hub, stack, "/flood/slow")
        with client(hub) as publisher:
            flood(publisher, "/flood/slow", 500, 20_000)
        canary.sings()
        assert metric(hub, 'hub_messages_dropped_total{outcome="dropped"}') > dropped
        assert resident(hub) - before < 20 * 3 * MIB + 30 * MIB


def test_slow_readers_of_a_log_are_sent_away(hub: HubProcess, canary: Canary) -> None:
    """They come back and replay; until then they cost nothing."""
    too_slow = metric(hub, 'hub_slow_sessions_total{reason="log_overflow"}')
    with ExitStack() as stack:
        for _ in range(5):
            deaf(hub, stack, "/log/slow")
        with client(hub) as publisher:
            flood(publisher, "/log/slow", 700, 20_000)  # the kernel takes some megabytes, too
        until(lambda: metric(hub, 'hub_slow_sessions_total{reason="log_overflow"}') == too_slow + 5, "the end of all slow readers")


def test_who_asks_and_reads_no_answers_is_cut_off(hub: HubProcess, canary: Canary) -> None:
    before, unread = resident(hub), metric(hub, "hub_bayeux_unread_replies_total")
    with ExitStack() as stack:
        asker = deaf(hub, stack, "/nothing")
        message = asker.message("/meta/unsubscribe", subscription="/" + "x" * 250, id="y" * 1000)
        for _ in range(500):
            asker.send(*[message] * 50)
        until(lambda: metric(hub, "hub_bayeux_unread_replies_total") == unread + 1, "the end of who asks and does not read")
    assert resident(hub) - before < 40 * MIB


def test_a_subscriber_to_everything(hub: HubProcess, canary: Canary) -> None:
    """500 wildcards that all match one channel: the message comes once, the 501st is refused, and nothing is left of them."""
    before = metric(hub, "hub_topics")
    refused = metric(hub, 'hub_bayeux_errors_total{reason="subscribe_refused"}')
    with client(hub) as greedy:
        deep = [f"/wild/{'/'.join('abcdefghijkl'[:depth])}/**" for depth in range(1, 13)]
        wide = [f"/wild/{number}/**" for number in range(500 - len(deep))]
        assert greedy.subscribe(*deep, *wide)["successful"]
        assert greedy.subscribe("/wild/one/more/**")["error"] == "429::rate_limited"
        assert metric(hub, 'hub_bayeux_errors_total{reason="subscribe_refused"}') == refused + 1
        channel = "/wild/a/b/c/d/e/f/g/h/i/j/k/l/end"
        messages = greedy.ask(greedy.message(channel, data=1))
        assert [message for message in messages if "data" in message] == [{"channel": channel, "data": 1}]
        assert metric(hub, "hub_topics") >= before + 500
    until(lambda: metric(hub, "hub_topics") <= before + 1, "the end of the subscriptions")


def test_a_publisher_that_never_stops(hub: HubProcess, canary: Canary) -> None:
    """5,000 messages as fast as they go: whoever listens gets them in order, and the canary is served in between."""
    before = resident(hub)
    sung = canary.answered
    heard: list[int] = []
    with client(hub) as listener, client(hub) as publisher:
        assert listener.subscribe("/flood/fast")["successful"]

        def listen() -> None:
            while len(heard) < 5_000:
                heard.extend(message["data"][0] for message in listener.read() if "data" in message)

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        flood(publisher, "/flood/fast", 5_000, 50)
        listening.join(PATIENCE_S)
    assert heard == list(range(5_000))
    assert canary.answered > sung
    assert resident(hub) - before < 40 * MIB


def test_ten_thousand_handshakes_that_never_connect(hub: HubProcess, canary: Canary) -> None:
    """Those over the limit are told to come back later, and all of them are forgotten again."""
    sessions = metric(hub, "hub_sessions")
    limited = metric(hub, 'hub_bayeux_handshakes_total{outcome="limited"}')
    body = json.dumps([HANDSHAKE]).encode()
    head = f"POST /cometd/handshake HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    before = resident(hub)
    most = 0
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", hub.port))) for _ in range(10)]
        for line in lines:
            line.settimeout(PATIENCE_S)
        for _ in range(10):
            for line in lines:
                line.sendall(request * 100)
            for line in lines:
                answered = b""
                while answered.count(b"HTTP/1.1 200 OK") < 100:
                    answered += line.recv(256 * 1024)
            most = max(most, resident(hub))
            assert metric(hub, "hub_sessions") <= sessions + MAX_UNCONNECTED
    assert metric(hub, 'hub_bayeux_handshakes_total{outcome="limited"}') > limited, "the sessions ran out faster than they were made"
    canary.sings()
    assert most - before < 120 * MIB
    until(lambda: metric(hub, "hub_sessions") <= sessions, "the end of all sessions")


def test_connections_that_say_nothing(hub: HubProcess, canary: Canary) -> None:
    """Half a request head, half a frame, nothing at all: each is closed after a while."""
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", hub.port))) for _ in range(150)]
        for number, line in enumerate(lines):
            line.settimeout(PATIENCE_S)
            if number % 3 == 0:
                line.sendall(b"POST /cometd HTTP/1.1\r\nHost: lo")
        for line in lines:
            while line.recv(4096):  # what it is told before it is closed
                pass
