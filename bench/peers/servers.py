"""Other servers, by the same generator: Faye and CometD's Java server speak Bayeux, Centrifugo an own protocol on a channel like ours.

Each is installed by its own package manager the first time, and is left out with the reason where its tool chain is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.generator import BUILT, pinned
from bench.servers import SERVER_CORE, Words
from tests.conformance.peers.servers import PEERS, ToolchainError
from tests.support.hub_process import free_port

CENTRIFUGO = "github.com/centrifugal/centrifugo/v6@v6.9.1"
READY_WITHIN_S = 60.0

_CENTRIFUGO_SETTINGS = {
    "client": {"insecure": True, "allowed_origins": ["*"]},
    "channel": {"without_namespace": {"allow_subscribe_for_client": True, "allow_publish_for_client": True}},
    "log": {"level": "error"},
}


class Peer:
    """A process that listens on a port."""

    name: str

    def __init__(self, name: str, command: list[str], port: int) -> None:
        self.name = name
        self.port = port
        self._process = subprocess.Popen([*pinned(SERVER_CORE), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self._process.pid
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise ToolchainError(f"{name} ended with code {self._process.returncode} while it started")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        self.close()
        raise ToolchainError(f"{name} did not listen within {READY_WITHIN_S:.0f} s")

    def subscribers(self, transport: str) -> Words:
        """See :class:`bench.servers.Server`."""
        return {"proto": transport, "port": self.port, "path": "/cometd"}

    def publishers(self) -> Words:
        """See :class:`bench.servers.Server`."""
        return {"proto": "bayeux-ws", "port": self.port, "path": "/cometd", "per": 0}

    def channel(self, name: str) -> str:
        """See :class:`bench.servers.Server`."""
        return f"/bench/{name}"

    def wait(self) -> int:
        """Until it has ended by itself; returns its exit code."""
        return self._process.wait()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Bayeux(Peer):
    """Faye, or CometD's Java server: as the conformance suite starts them."""

    def __init__(self, name: str, port: int | None = None) -> None:
        peer = next(each for each in PEERS if each.name == name)
        peer.prepare()
        port = port or free_port()
        super().__init__(name, peer.command(port, 30_000, 10_000), port)


class Centrifugo(Peer):
    """Centrifugo, with clients that may do everything."""

    def __init__(self, port: int | None = None) -> None:
        program = _centrifugo()
        port = port or free_port()
        self._folder = tempfile.TemporaryDirectory()
        settings = Path(self._folder.name) / "config.json"
        settings.write_text(json.dumps({**_CENTRIFUGO_SETTINGS, "http_server": {"port": port, "address": "127.0.0.1"}}))
        super().__init__("Centrifugo", [str(program), "--config", str(settings)], port)

    def subscribers(self, transport: str) -> Words:
        """See :class:`bench.servers.Server`."""
        return {"proto": "centrifugo", "port": self.port, "path": "/connection/websocket"}

    def publishers(self) -> Words:
        """See :class:`bench.servers.Server`."""
        return self.subscribers("") | {"per": 0}

    def channel(self, name: str) -> str:
        """See :class:`bench.servers.Server`."""
        return f"bench-{name}"

    def close(self) -> None:
        """End it."""
        super().close()
        self._folder.cleanup()


STARTS: dict[str, Callable[[int | None], Peer]] = {
    "cometd-java": lambda port: Bayeux("cometd-java", port),
    "faye": lambda port: Bayeux("faye", port),
    "centrifugo": Centrifugo,
}
"""How each peer is started, on a port or on any free one. All raise ToolchainError where its tool chain is missing."""


def _centrifugo() -> Path:
    """The program, installed by Go where it is not there yet.

    Raises:
        ToolchainError: there is no Go, or it cannot install it.
    """
    program = BUILT / "centrifugo"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise ToolchainError("go is not installed")
    BUILT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "install", CENTRIFUGO], env={**os.environ, "GOBIN": str(BUILT.resolve())}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ToolchainError(f"go install {CENTRIFUGO} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ''}")
    return program
