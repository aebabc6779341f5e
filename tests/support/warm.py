"""The ``hub`` command without its imports: one process that has made them forks for each start.

A start of Python and the imports take seconds, a fork milliseconds, and a test run starts some hundred commands. What is forked has
the given arguments, environment, folder and files, and goes the way of the installed command from there on. ``HUB_TEST_COLD=1`` turns
this off.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NoReturn, Protocol

_LARGEST_REQUEST: Final = 1 << 17
_DESCRIPTORS: Final = 4
"""Of a request: standard input, output, error, and the pipe on which the process' id and its end are told."""


class Process(Protocol):
    """What tests need of a process: :class:`subprocess.Popen` has it too."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class ForkedProcess:
    """A process that the warm one has forked; its exit code comes by a pipe, for its parent is another."""

    def __init__(self, told: IO[bytes]) -> None:
        self.returncode: int | None = None
        self._told = told
        self.pid = int(self._line())

    def _line(self) -> bytes:
        line = self._told.readline()
        if not line:
            raise RuntimeError("the warm process ended: what it printed is above")
        return line

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        code = self._ended_within(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("hub", timeout)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended_within(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            with self._told:
                self.returncode = int(self._line())
        return self.returncode


class Warm:
    """Starts the warm process at the first use, and has it fork."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: int, stdout: int, stderr: int
    ) -> ForkedProcess:
        """Fork ``hub`` with these arguments; ``command[0]`` is the command's own path, the last three are file descriptors."""
        if self._requests is None:
            self._requests = self._begin(environment)
        request = json.dumps({"command": list(command), "cwd": str(cwd), "environment": dict(environment)}).encode()
        if len(request) > _LARGEST_REQUEST:
            raise ValueError(f"a request of {len(request):,} bytes; at most {_LARGEST_REQUEST:,}")
        told, telling = os.pipe()
        try:
            socket.send_fds(self._requests, [request], [stdin, stdout, stderr, telling])
        finally:
            os.close(telling)
        return ForkedProcess(os.fdopen(told, "rb", buffering=0))

    def _begin(self, environment: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            root = Path(__file__).parents[2]
            kept = {name: value for name, value in environment.items() if not name.startswith("HUB_")}
            self._process = subprocess.Popen(command, cwd=root, env=kept, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        return ours

    def close(self) -> None:
        """End the warm process; what it has forked lives on."""
        if self._requests is not None and self._process is not None:
            self._requests.close()
            self._process.wait(30)
            self._process = self._requests = None


def _serve(requests: socket.socket) -> None:
    """Fork for each request, until the other side is gone."""
    from channels.commands import COMMANDS  # what this process is for
    from channels.families import FAMILIES
    from channels.main import cli
    from hub.lazy_commands import load

    for line in COMMANDS:
        load(line)
    for family in FAMILIES:
        importlib.import_module(f"channels.{family.name}.build")

    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not requests:
                pidfd, (pid, telling) = key.fd, key.data
                selector.unregister(pidfd)
                os.close(pidfd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                _tell(telling, code)
                os.close(telling)
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, _DESCRIPTORS)
            if not request:
                return
            told = descriptors[-1]
            pid = os.fork()
            if pid == 0:
                for other in selector.get_map().values():
                    if other.data is not None:
                        os.close(other.fd)
                        os.close(other.data[1])
                selector.close()
                requests.close()
                os.close(told)
                _become(json.loads(request), descriptors[:3])
                sys.exit(cli())
            for each in descriptors[:3]:
                os.close(each)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, told))
            _tell(told, pid)


def _tell(pipe: int, number: int) -> None:
    try:
        os.write(pipe, b"%d\n" % number)
    except BrokenPipeError:
        pass  # who started it does not want to know any more


def _become(request: dict[str, object], descriptors: Sequence[int]) -> None:
    """Take the place of a process that was started afresh."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    command, environment = request["command"], request["environment"]
    assert isinstance(command, list)
    assert isinstance(environment, dict)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = command
    sys.path.pop(0)  # the folder that -m has put there


def _main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        _serve(requests)
    sys.exit()


if __name__ == "__main__":
    _main()
