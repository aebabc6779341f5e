"""The ``hub`` command without its imports: one process that has made them forks for each start.

A start of Python and the imports take seconds, a fork milliseconds, and a test run starts some hundred commands. What is forked has
the given arguments, environment, folder and files, and goes the way of the installed command from there on. Programs that start ``hub``
by its name, a shell say, find :attr:`Warm.command`: a script that asks for the fork, passes signals on and ends as the fork does.
``HUB_TEST_COLD=1`` turns this off.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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


_SCRIPT: Final = """\
#!{python} -IS
import json, os, signal, socket, sys

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2
request = json.dumps({{"command": [{command!r}, *sys.argv[1:]], "cwd": os.getcwd(), "environment": dict(os.environ)}}).encode()
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({path!r})
    socket.send_fds(server, [request], [0, 1, 2])
    pid = int(server.recv(20))
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = int(server.recv(20))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class Warm:
    """Starts the warm process at the first use, and has it fork."""

    def __init__(self, command: Path) -> None:
        """``command`` is the path of the installed command."""
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._folder: Path | None = None

    def start(
        self,
        command: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
        module: str | None = None,
    ) -> ForkedProcess:
        """Fork ``hub`` with these arguments; ``command[0]`` is the command's own path, the three behind the environment are file
        descriptors. ``module`` is run in place of the command, as by ``python -m``.
        """
        requests = self._begin()
        request = json.dumps({"command": list(command), "cwd": str(cwd), "environment": dict(environment), "module": module}).encode()
        if len(request) > _LARGEST_REQUEST:
            raise ValueError(f"a request of {len(request):,} bytes; at most {_LARGEST_REQUEST:,}")
        told, telling = os.pipe()
        try:
            socket.send_fds(requests, [request], [stdin, stdout, stderr, telling])
        finally:
            os.close(telling)
        return ForkedProcess(os.fdopen(told, "rb", buffering=0))

    @property
    def command(self) -> Path:
        """A script named ``hub``, alone in its folder, that does what the installed command does, without its imports.

        A fork whose script is killed is killed as well.
        """
        self._begin()
        assert self._folder is not None
        return self._folder / "bin" / "hub"

    def _begin(self) -> socket.socket:
        if self._requests is not None:
            return self._requests
        self._folder = Path(tempfile.mkdtemp(prefix="hub-warm-"))
        path = self._folder / "socket"
        script = self._folder / "bin" / "hub"
        script.parent.mkdir()
        script.write_text(_SCRIPT.format(python=sys.executable, command=str(self._command), path=str(path)))
        script.chmod(0o755)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            listener.listen()
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), str(listener.fileno())]
            root = Path(__file__).parents[2]
            kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
            descriptors = [theirs.fileno(), listener.fileno()]
            self._process = subprocess.Popen(command, cwd=root, env=kept, pass_fds=descriptors, stdin=subprocess.DEVNULL)
        return self._requests

    def close(self) -> None:
        """End the warm process; what it has forked lives on."""
        if self._requests is not None and self._process is not None and self._folder is not None:
            self._requests.close()
            self._process.wait(30)
            self._process = self._requests = None
            shutil.rmtree(self._folder)


def _serve(requests: socket.socket, listener: socket.socket) -> None:
    """Fork for each request, until the other side is gone."""
    from channels.commands import COMMANDS  # what this process is for
    from channels.families import FAMILIES
    from channels.main import cli
    from hub.lazy_commands import load
    from hub.objects.threads import end_threads
    from tests.support.forked_workers import fork_workers

    for line in COMMANDS:
        load(line)
    for family in FAMILIES:
        importlib.import_module(f"channels.{family.name}.build")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_start_once(Path(folder)))
    end_threads()
    if (threads := threading.enumerate()) != [threading.main_thread()]:
        raise RuntimeError(f"expected no threads where processes are forked, got {threads}")
    gc.collect()
    gc.freeze()  # a fork copies each page in which it counts a reference anew: the collector would touch them all
    frozen = gc.get_freeze_count()
    gc.get_freeze_count = lambda: frozen  # it counts them one by one, 13 ms for each hub, which asks whether there are any

    fork_workers(cli)
    _Server(requests, listener, cli).run()


async def _start_once(folder: Path) -> None:
    """Start a hub and stop it, so that its forks find what is imported, compiled and cached at the first start: half of its CPU."""
    from channels.families import FAMILIES
    from hub.node import Node
    from hub.ops.logging import configure
    from hub.ops.settings import load

    settings = load(FAMILIES, config=None, flags={"data_dir": folder, "log_level": "error"})
    configure(settings)
    node = Node(settings, FAMILIES)
    async with node.rest.router.lifespan_context(node.rest):
        pass


class _Server:
    """Answers :class:`Warm` on one socket, and its scripts on a connection each: the process' id, and its exit code when it ends."""

    def __init__(self, requests: socket.socket, listener: socket.socket, cli: Callable[[], object]) -> None:
        self._requests = requests
        self._listener = listener
        self._cli = cli
        self._selector = selectors.DefaultSelector()
        self._telling: set[int] = set()
        """Where the ends of running processes are told."""

    def run(self) -> None:
        """Serve until :class:`Warm` is closed."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    key.data()
                    continue
                request, descriptors, _, _ = socket.recv_fds(self._requests, _LARGEST_REQUEST, _DESCRIPTORS)
                if not request:
                    return
                self._start(request, descriptors[:3], descriptors[3])

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        telling = connection.detach()
        self._telling.add(telling)
        self._selector.register(telling, selectors.EVENT_READ, partial(self._take, telling))

    def _take(self, telling: int) -> None:
        """Read the request of a script."""
        self._selector.unregister(telling)
        with socket.socket(fileno=os.dup(telling)) as connection:
            request, descriptors, _, _ = socket.recv_fds(connection, _LARGEST_REQUEST, 3)
        if not request:
            self._forget(telling)
            return
        pidfd = self._start(request, descriptors, telling)
        self._selector.register(telling, selectors.EVENT_READ, partial(self._script_has_gone, telling, pidfd))

    def _script_has_gone(self, telling: int, pidfd: int) -> None:
        self._selector.unregister(telling)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _start(self, request: bytes, descriptors: list[int], telling: int) -> int:
        """Fork. Returns a descriptor of the process; in the process itself this does not return."""
        pid = os.fork()
        if pid == 0:
            sockets = self._requests.fileno(), self._listener.fileno()
            for other in {telling, *self._telling, *(key.fd for key in self._selector.get_map().values())}.difference(sockets):
                os.close(other)
            self._selector.close()
            self._requests.close()
            self._listener.close()
            wanted = json.loads(request)
            _become(wanted, descriptors)
            if wanted.get("module"):
                runpy.run_module(wanted["module"], run_name="__main__")
                sys.exit()
            sys.exit(self._cli())
        for each in descriptors:
            os.close(each)
        self._telling.add(telling)
        pidfd = os.pidfd_open(pid)
        self._selector.register(pidfd, selectors.EVENT_READ, partial(self._ended, pid, pidfd, telling))
        _tell(telling, pid)
        return pidfd

    def _ended(self, pid: int, pidfd: int, telling: int) -> None:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _tell(telling, code)
        if telling in self._selector.get_map():
            self._selector.unregister(telling)
        self._forget(telling)

    def _forget(self, telling: int) -> None:
        self._telling.discard(telling)
        os.close(telling)


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
    sys.modules["__main__"].__package__ = None  # else click takes the program for one that -m started, and names it so
    sys.path.pop(0)  # the folder that -m has put there


def _main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as requests, socket.socket(fileno=int(sys.argv[2])) as listener:
        _serve(requests, listener)
    sys.exit()


if __name__ == "__main__":
    _main()
