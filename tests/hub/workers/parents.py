"""A parent with small workers as a process of its own, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.hub_process import clean_environment, free_port, start_hub
from tests.support.warm import Process

ROOT = Path(__file__).parents[3]
WITHIN_S = 150.0
QUICK: Mapping[str, Any] = {"restart_min_s": 0.02, "restart_max_s": 0.1, "beat_s": 0.1, "kill_after_s": 10}

_LISTENS = "00010000"
"""Flags in ``/proc/net/unix``: ``__SO_ACCEPTCON``."""

T = TypeVar("T")


def until(look: Callable[[], T], what: str) -> T:
    """Look again and again until there is something, and return it.

    Raises:
        AssertionError: there is nothing for a long time.
    """
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {WITHIN_S:.0f} s for {what}")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with contextlib.closing(socket.socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def children(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split() if alive(int(child))] if found.exists() else []


def listening(pid: int) -> dict[str, Path]:
    """The Unix sockets that a process listens on: their paths, by the names of their files."""
    inodes = {_file(each) for each in Path(f"/proc/{pid}/fd").iterdir()} if alive(pid) else set()
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    paths = [Path(row[7]) for row in rows if len(row) > 7 and row[3] == _LISTENS and f"socket:[{row[6]}]" in inodes]
    return {path.name: path for path in paths}


def _file(descriptor: Path) -> str:
    try:
        return descriptor.readlink().name
    except FileNotFoundError:  # closed meanwhile
        return ""


class SmallHub:
    """A parent of two small workers, in a folder of its own."""

    def __init__(self, folder: Path, *, redis_url: str | None = "redis://nowhere", port: int = 0, **more: Any) -> None:
        """Without a ``redis_url`` it starts Valkey. ``more``: settings; ``supervision`` is added to short times."""
        self.folder = folder
        self.port = port or free_port()
        more["supervision"] = {**QUICK, **more.get("supervision", {})}
        self.settings = {"redis_url": redis_url, "secret": "sixteen characters at least", **more}
        self.out = folder / "out"
        self.environment: dict[str, str] = {}
        self.process: Process | None = None

    def new_code(self, **code: Any) -> None:
        """What workers that start from now on do."""
        (self.folder / "code.json").write_text(json.dumps(code))

    def launch(self) -> SmallHub:
        """Start the parent."""
        arguments = [str(self.port), "2", json.dumps(self.settings)]
        environment = clean_environment({"PYTHONPATH": str(ROOT), **self.environment})
        with self.out.open("ab") as out, open(os.devnull, "rb") as nothing:
            files = nothing.fileno(), out.fileno(), out.fileno()
            self.process = start_hub(arguments, self.folder, environment, *files, module="tests.hub.workers.small_parent")
        return self

    def start(self) -> SmallHub:
        """Start the parent, and wait until all workers serve."""
        ready = self.said().count("ready")
        self.launch()
        until(lambda: self.said().count("ready") > ready or self.parent.poll() is not None, "the workers")
        assert self.parent.poll() is None, self.said()
        return self

    @property
    def parent(self) -> Process:
        assert self.process is not None
        return self.process

    def said(self) -> str:
        """Everything that it and its workers have printed."""
        return self.out.read_text(errors="replace") if self.out.exists() else ""

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The records of its log with this event."""
        lines = (line for line in self.said().splitlines() if line.startswith("{"))
        return [record for record in map(json.loads, lines) if record.get("event") == event]

    def get(self, path: str = "/") -> dict[str, Any]:
        """What the worker answers whom a new connection reaches."""
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=WITHIN_S).json()
        return found

    def workers(self) -> dict[int, dict[str, Any]]:
        """Each worker's answer, by its place; asks until both have answered."""
        found: dict[int, dict[str, Any]] = {}
        until(lambda: found.update({(answer := self.get())["worker"]: answer}) or len(found) == 2, "an answer of each worker")
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send the parent a signal."""
        self.parent.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the parent; returns its exit code."""
        return self.parent.wait(WITHIN_S)

    def close(self) -> None:
        """End it if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


async def burst(port: int, count: int) -> list[dict[str, Any]]:
    """Connect ``count`` times at once, then ask on each connection; returns the answers."""

    async def ask() -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return found

    return await asyncio.gather(*(ask() for _ in range(count)))


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a process a signal."""
    os.kill(pid, number)
