"""Which other servers there are, what their tool chains are, and how they are made ready on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent
INSTALL_WITHIN_S = 600


class ToolchainError(Exception):
    """What a server needs on this machine is not there, or its installation failed."""


class Peer(Protocol):
    """A server of others."""

    name: str
    title: str
    hooks: tuple[str, ...]
    """The server-side hooks of tests/conformance/hooks that it has."""
    has_max_interval: bool
    """Whether it takes --max-interval-ms; one that does not ends a session after twice the timeout."""

    def prepare(self) -> None:
        """Build or install it, if that was not done yet.

        Raises:
            ToolchainError: a tool is missing, or failed.
        """
        ...

    def command(self, port: int, timeout_ms: int, max_interval_ms: int) -> list[str]:
        """The command that runs it in the foreground until SIGTERM, and that prints one line when it is ready."""
        ...


def _flags(port: int, timeout_ms: int, max_interval_ms: int) -> list[str]:
    return ["--port", str(port), "--timeout-ms", str(timeout_ms), "--max-interval-ms", str(max_interval_ms)]


def _need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise ToolchainError(f"{', '.join(missing)}: not installed")


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolchainError(f"{' '.join(command)}: not done within {INSTALL_WITHIN_S} s") from None
    if done.returncode:
        raise ToolchainError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout[-4000:]}")


def _is_newer(made: Path, *sources: Path) -> bool:
    return made.exists() and all(made.stat().st_mtime >= source.stat().st_mtime for source in sources)


@dataclass(frozen=True, slots=True)
class JavaPeer:
    """CometD's own server, a Maven project of one class."""

    name: str = "cometd-java"
    title: str = "CometD, Java"
    hooks: tuple[str, ...] = ("echo", "kick", "deliver-kick", "call", "vetoed", "denied")
    has_max_interval: bool = True

    def prepare(self) -> None:
        _need("java", "mvn")
        folder = HERE / self.name
        stamp = folder / "build" / ".made"
        if _is_newer(stamp, folder / "pom.xml", *folder.rglob("src/**/*.java")):
            return
        _run(["mvn", "-B", "-q", "compile", "dependency:copy-dependencies", "-DoutputDirectory=build/lib"], folder)
        stamp.touch()

    def command(self, port: int, timeout_ms: int, max_interval_ms: int) -> list[str]:
        build = HERE / self.name / "build"
        log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        path = f"{build / 'classes'}:{build / 'lib'}/*"
        return ["java", log, "-cp", path, "conformance.Main", *_flags(port, timeout_ms, max_interval_ms)]


@dataclass(frozen=True, slots=True)
class NodePeer:
    """A server that is an npm package."""

    name: str
    title: str
    hooks: tuple[str, ...]
    has_max_interval: bool

    def prepare(self) -> None:
        _need("node", "npm")
        folder = HERE / "node"
        stamp = folder / "node_modules" / ".made"
        if _is_newer(stamp, folder / "package.json", folder / "package-lock.json"):
            return
        _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], folder)
        stamp.touch()

    def command(self, port: int, timeout_ms: int, max_interval_ms: int) -> list[str]:
        return ["node", str(HERE / "node" / f"{self.name}.js"), *_flags(port, timeout_ms, max_interval_ms)]


PEERS: tuple[Peer, ...] = (
    JavaPeer(),
    NodePeer("cometd-nodejs-server", "CometD, Node.js", ("echo", "kick", "deliver-kick", "vetoed", "denied"), has_max_interval=True),
    NodePeer("faye", "Faye", ("vetoed", "denied"), has_max_interval=False),
)
"""The servers, in the order of the columns of docs/conformance.md."""

READY = re.compile(r"^ready: (.*), port \d+$", re.MULTILINE)
"""The line that a server prints when it is ready; it names itself and its version."""
