"""A webhook receiver that remembers everything in the order in which it came, and fails now and then."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from hub.outbox.sign import verify


@dataclass(frozen=True, slots=True)
class Arrival:
    """One POST that was answered 200."""

    id: str
    """``webhook-id``."""
    sequence: int
    interaction: str
    event: str
    body: bytes


class Receiver:
    """Listens on loopback, in threads of its own. ``fails`` is the share of requests that it refuses, as receivers do."""

    def __init__(self, secret: str, *, fails: float, seed: int) -> None:
        self.arrivals: list[Arrival] = []
        self.unsigned = 0
        """Requests whose signature was wrong."""
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._fails = fails
        self._secret = secret
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def calm(self) -> None:
        """Refuse nothing from now on."""
        self._fails = 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def of(self, interaction: str) -> list[Arrival]:
        with self._lock:
            return [each for each in self.arrivals if each.interaction == interaction]

    def seen(self) -> set[tuple[str, str]]:
        """(interaction, event) of everything that came."""
        with self._lock:
            return {(each.interaction, each.event) for each in self.arrivals}

    def take(self, headers: Any, body: bytes) -> int:
        """One request; returns the status to answer with."""
        if not verify(self._secret, body, headers["X-Hub-Signature"]):
            self.unsigned += 1
            return 403
        with self._lock:
            if self._random.random() < self._fails:
                return 503
            for entity in orjson.loads(body)["data"]["entities"]:
                arrival = Arrival(headers["webhook-id"], int(headers["X-Hub-Sequence"]), entity["entity"]["id"], entity["event"], body)
                self.arrivals.append(arrival)
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(self.headers, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """The hub's own log tells enough."""

        return Handler
