"""What is measured: the hub, and the kernel's limit beside it. Each has a port, a process, and words for the generator."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import httpx

from bench.generator import LIMIT, compiled, pinned
from bench.machine import pin
from tests.support.hub_process import HubProcess, free_port

SERVER_CORE = 0
GENERATOR_CORE = 1

Words = dict[str, object]


class Server(Protocol):
    """A running server on loopback."""

    name: str
    pid: int

    def subscribers(self, transport: str) -> Words:
        """What ``open`` is told to make subscribers: protocol, port, path."""
        ...

    def publishers(self) -> Words:
        """What ``open`` is told to make publishers."""
        ...

    def channel(self, name: str) -> str:
        """A channel as this server writes it; ``%d`` in it stands for a number."""
        ...

    def close(self) -> None:
        """End it."""
        ...


UNLIMITED = {
    "HUB_LIMITS__MAX_SESSIONS": "50000",
    "HUB_LIMITS__TENANT_SHARE_PERCENT": "100",
    "HUB_LIMITS__MAX_CONNECTIONS": "100000",
    "HUB_LIMITS__MAX_UNIDENTIFIED": "100000",
    "HUB_LIMITS__MAX_UNIDENTIFIED_PER_ADDRESS": "100000",
    "HUB_LIMITS__HANDSHAKES_PER_S_PER_ADDRESS": "0",
    "HUB_LIMITS__HANDSHAKES_PER_S_PER_TENANT": "0",
    "HUB_LIMITS__MAX_INTERVAL_MS": "60000",
}
"""All clients of a benchmark come from one address, without a credential, as one tenant. A generator that gets no time of its core for long
loses no session.
"""


class Hub:
    """One hub process, open to all, on a core of its own."""

    name = "hub"

    def __init__(self, environment: Mapping[str, str] | None = None, flags: tuple[str, ...] = ("--open",)) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._metrics_port = free_port()
        settings = {"HUB_LOG_LEVEL": "warning", "HUB_METRICS_PORT": str(self._metrics_port), **UNLIMITED, **(environment or {})}
        self.process = HubProcess(Path(self._folder.name), flags, settings)
        self.process.start()
        self.pid = self.process.process.pid
        self.port = int(self.process.url.rsplit(":", 1)[1])
        pin(self.pid, SERVER_CORE)

    def subscribers(self, transport: str) -> Words:
        """See :class:`Server`; transports are ``bayeux-ws``, ``bayeux-polling`` and ``dashboard``."""
        return {"proto": transport, "port": self.port, "path": "/ws" if transport == "dashboard" else "/cometd"}

    def publishers(self) -> Words:
        """See :class:`Server`."""
        return {"proto": "bayeux-ws", "port": self.port, "path": "/cometd", "per": 0}

    def channel(self, name: str) -> str:
        """See :class:`Server`."""
        return f"/bench/{name}"

    def sessions(self) -> int:
        """How many sessions it has, as its metrics tell: also those whose clients have gone, until they expire."""
        text = httpx.get(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=30).raise_for_status().text
        return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith("hub_sessions "))

    def close(self) -> None:
        """See :class:`Server`."""
        self.process.close()
        self._folder.cleanup()


class Limit:
    """A C program that writes one prebuilt frame to each of the same sockets with ``send()``, and does nothing else."""

    name = "C limit"

    def __init__(self) -> None:
        command = [*pinned(SERVER_CORE), str(compiled("limit", LIMIT))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def subscribers(self, transport: str) -> Words:
        """See :class:`Server`; it knows one transport."""
        return {"proto": "limit", "port": self.port, "path": "/sub"}

    def publishers(self) -> Words:
        """See :class:`Server`."""
        return {"proto": "limit", "port": self.port, "path": "/pub"}

    def channel(self, name: str) -> str:
        """See :class:`Server`: everybody gets everything."""
        return name

    def close(self) -> None:
        """See :class:`Server`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
