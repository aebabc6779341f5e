"""`hub serve` as a process of its own: real flags, real sockets, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx

from tests.support.warm import Process, Warm

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
LOG_TAIL_CHARACTERS = 8_000

ROOT = Path(__file__).parents[2]
HUB_COMMAND = Path(sys.executable).with_name("hub")


def free_port() -> int:
    """A loopback port that nobody listens on now. The kernel does not hand it out again soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_of_all: dict[str, str] = {}


def set_for_all(settings: Mapping[str, str]) -> None:
    """Have each :func:`clean_environment` begin with these settings from now on: a test run has some, a benchmark has none."""
    _of_all.update(settings)


def clean_environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """This process's environment without a developer's own ``HUB_*`` settings, and with those of :func:`set_for_all`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HUB_")} | _of_all | dict(extra)


_warm: Warm | None = None


def keep_warm(warm: Warm | None) -> None:
    """Have ``hub`` commands forked by ``warm`` from now on; None: started afresh, as they are at first."""
    global _warm
    _warm = warm


def hub_command() -> Path:
    """The ``hub`` command as a program to be started by a test or a shell: without its imports, unless commands are started afresh."""
    return HUB_COMMAND if _warm is None else _warm.command


def start_hub(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    stdin: int,
    stdout: int,
    stderr: int,
    module: str | None = None,
) -> Process:
    """Start the ``hub`` command, or the module that stands in for it, with these arguments, this whole environment, and these file
    descriptors.
    """
    if _warm is not None:
        return _warm.start([str(HUB_COMMAND), *arguments], cwd, environment, stdin, stdout, stderr, module)
    command = [str(HUB_COMMAND)] if module is None else [sys.executable, "-m", module]
    return subprocess.Popen([*command, *arguments], cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)


def run_hub(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a ``hub`` command to its end, within a minute, without an input.

    Raises:
        subprocess.TimeoutExpired: it did not end; it is killed.
    """
    with open(os.devnull, "rb") as nothing, TemporaryFile() as out, TemporaryFile() as errors:
        process = start_hub(arguments, cwd, environment, nothing.fileno(), out.fileno(), errors.fileno())
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([*arguments], code, out.read().decode(), errors.read().decode())


class HubProcess:
    """One hub on a loopback port with a data folder of its own; it can be stopped, killed and started again on both."""

    token = "demo-token"
    api_key = "demo-key"

    def __init__(self, folder: Path, flags: Sequence[str] = ("--demo",), environment: Mapping[str, str] = {}) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.log_path = folder / "hub.log"
        self.flags = tuple(flags)
        self.environment = dict(environment)
        self.port = free_port()
        self.module: str | None = None
        """The module that stands in for the ``hub`` command from the next start on."""
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The base URL. Named localhost: cookie jars of some clients drop the cookies of an address."""
        return f"http://localhost:{self.port}"

    @property
    def ws_url(self) -> str:
        """The base URL of the WebSocket endpoints."""
        return f"ws://localhost:{self.port}"

    @property
    def process(self) -> Process:
        """The running process."""
        if self._process is None:
            raise RuntimeError("the hub was not started")
        return self._process

    @property
    def headers(self) -> dict[str, str]:
        """The demo's administrator, as request headers."""
        return {"Authorization": f"Bearer {self.token}"}

    def log(self) -> str:
        """The end of what the process printed, of every start."""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:] if self.log_path.exists() else ""

    def start(self) -> HubProcess:
        """Start the process and wait until ``/readyz`` answers 200.

        Raises:
            RuntimeError: it ended, or was not ready in time; the text holds its log.
        """
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        # in a folder where no hub.toml lies
        with self.log_path.open("ab") as log, open(os.devnull, "rb") as nothing:
            arguments = ["serve", *where, *self.flags]
            files = nothing.fileno(), log.fileno(), log.fileno()
            environment = clean_environment(self.environment)
            if self.module is not None:
                environment["PYTHONPATH"] = str(ROOT)
            self._process = start_hub(arguments, self.folder, environment, *files, module=self.module)
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until ``/readyz`` answers 200."""
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"hub serve ended with code {self.process.returncode}:\n{self.log()}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.05)
        raise RuntimeError(f"hub serve was not ready within {READY_WITHIN_S:.0f} s:\n{self.log()}")

    def wait_logged(self, text: str) -> None:
        """Wait until the process has printed a text; with several workers it says ``listening`` when all of them serve.

        Raises:
            RuntimeError: it has not in time; the text holds its log.
        """
        until = time.monotonic() + READY_WITHIN_S
        while text not in self.log():
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"hub serve has not said {text}:\n{self.log()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """End the process as a service manager does, by SIGTERM; returns its exit code. One that hangs is killed, and that is an error.

        Raises:
            RuntimeError: it did not end in time.
        """
        process = self.process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise RuntimeError(f"hub serve did not end within {STOP_WITHIN_S:.0f} s of SIGTERM:\n{self.log()}") from None
        return process.wait()

    def kill9(self) -> None:
        """End the process as a power cut does."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> HubProcess:
        """Stop and start again, on the same port and data folder."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End the process if it still runs."""
        if self._process is not None:
            self.stop()

    def command(self, *arguments: str, code: int = 0) -> str:
        """Run another ``hub`` command against this hub and its data folder, with its settings; returns what it printed on stdout.

        Raises:
            AssertionError: it ended with another exit code than ``code``.
        """
        environment = {**self.environment, "HUB_URL": self.url, "HUB_TOKEN": self.token, "HUB_DATA_DIR": str(self.data_dir)}
        done = run_hub(arguments, self.folder, clean_environment(environment))
        assert done.returncode == code, (
            f"hub {' '.join(arguments)} ended with {done.returncode}, expected {code}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """One POST with a JSON body, by the demo's administrator."""
        return httpx.post(f"{self.url}{path}", json=body, headers=self.headers, timeout=20, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One GET, by the demo's administrator."""
        return httpx.get(f"{self.url}{path}", headers=self.headers, timeout=20, **options)

    def feed(self, *events: dict[str, Any]) -> None:
        """Send CloudEvents in.

        Raises:
            AssertionError: one was refused.
        """
        content = "\n".join(json.dumps({"specversion": "1.0", "source": "test", **event}) for event in events)
        headers = {**self.headers, "Content-Type": "application/x-ndjson"}
        reply = httpx.post(f"{self.url}/ingest/v1/events", content=content, headers=headers, timeout=20)
        assert reply.status_code == httpx.codes.OK, reply.text
        assert reply.json()["data"]["accepted"] == len(events), reply.text
