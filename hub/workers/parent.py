"""The parent of the workers: it opens the sockets, starts the workers, and keeps them alive. It serves nothing itself.

SIGTERM and SIGINT drain and end all workers, a second one ends them at once. SIGHUP replaces them one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from hub import __version__
from hub.ops.settings import Settings
from hub.security.cookies import kept_secret
from hub.storage.lock import lock
from hub.storage.private_folder import make_private
from hub.storage.url import DatabaseUrl
from hub.transports.listener import BACKLOG, bind, bind_each
from hub.workers.fixed import fixed_settings
from hub.workers.place import Place
from hub.workers.process import WorkerProcess
from hub.workers.restarts import Restarts
from hub.workers.seat import Seat
from hub.workers.steering import Steering
from hub.workers.valkey import Valkey, bundled_program

CLOSING_S: Final = 5
"""Seconds that a worker may need after its drain to close its connections (:data:`hub.transports.server.SHUTDOWN_SECONDS`)."""

MAX_SOCKET_PATH: Final = 107
"""Bytes of the path of a Unix socket (unix(7))."""

_LONGEST_NAME: Final = 32
"""Bytes of the longest name of a socket in the run folder."""

_log: Final = structlog.get_logger("hub")


def own_command() -> list[str]:
    """The command line of this process, to start it again: with the program and the packages that are installed then."""
    module = sys.modules["__main__"].__spec__
    if module is not None and module.origin == sys.argv[0]:  # python -m
        return [sys.executable, "-m", module.name.removesuffix(".__main__"), *sys.argv[1:]]
    return [sys.executable, *sys.argv]


class Parent:
    """Runs the workers of one hub. Make it once, in a running event loop."""

    def __init__(self, settings: Settings, command: Sequence[str], on_ready: Callable[[int], object] = lambda _: None) -> None:
        """``command`` starts a worker, which finds its seat (:class:`hub.workers.seat.Seat`) in its environment; ``on_ready`` gets the port
        when all serve.
        """
        self._settings = settings
        self._supervision = settings.supervision
        self._command = tuple(command)
        self._on_ready = on_ready
        self._stopping = asyncio.Event()
        self._replace = asyncio.Event()
        self._places: list[Place] = []
        self._steering = Steering(())
        self._valkey: Valkey | None = None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            GaveUpError: a worker, or Valkey, does not stay alive.
            InUseError: other workers run on the same data folder.
            OSError: the data folder cannot be written.
            StartError: the port cannot be bound, or the first worker has said why it cannot start.
        """
        settings = self._settings
        _log.info("starting", version=__version__, data_dir=str(settings.data_dir), workers=settings.workers)
        make_private(settings.data_dir)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, lock(settings.data_dir / "workers"))
            if settings.secret is None:
                kept_secret(settings.data_dir)  # made here, so that the workers need not agree on one
            folder = stack.enter_context(_run_folder(settings.data_dir))
            sockets = [stack.enter_context(each) for each in bind_each(settings.host, settings.port, settings.workers)]
            metrics = None if settings.metrics_port is None else stack.enter_context(bind(settings.host, settings.metrics_port))
            stack.enter_context(self._signals())
            await self._serve(sockets, metrics, folder)

    async def _serve(self, sockets: Sequence[socket.socket], metrics: socket.socket | None, folder: Path) -> None:
        program = bundled_program()
        if self._settings.redis_url is None and program is not None:
            self._valkey = Valkey(program, self._supervision, self._settings.data_dir, folder)
        fixed = dict(fixed_settings(self._settings))
        self._steering = Steering(sockets)
        self._places = [self._place(index, sockets, metrics, folder, fixed) for index in range(len(sockets))]
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(self._work(sockets))
                tasks.create_task(self._until_stopped(running))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            if self._valkey is not None:
                await self._valkey.stop()

    def _place(
        self, index: int, sockets: Sequence[socket.socket], metrics: socket.socket | None, folder: Path, fixed: dict[str, str]
    ) -> Place:
        supervision = self._supervision

        def start(life: int) -> WorkerProcess:
            seat = Seat(
                index=index,
                count=len(sockets),
                life=life,
                listener=sockets[index].fileno(),
                metrics_listener=None if metrics is None else metrics.fileno(),
                line=-1,
                folder=str(folder),
                redis_url=None if self._valkey is None else self._valkey.url,
            )
            return WorkerProcess(self._command, seat, supervision)

        restarts = Restarts(supervision.restart_min_s, supervision.restart_max_s, supervision.max_deaths, supervision.deaths_within_s)
        # on SQLite the first worker takes the files for itself: its successor can only start after it
        overlaps = index > 0 or not DatabaseUrl.parse(self._settings.database).is_sqlite
        drain_s = self._settings.drain_seconds + CLOSING_S + supervision.kill_after_s
        serving = partial(self._steering.serves, index)
        return Place(index, start, restarts, drain_s, fixed, overlaps=overlaps, serving=serving)

    async def _work(self, sockets: Sequence[socket.socket]) -> None:
        """Start everything and keep it alive; ends by an error, or when it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._valkey is not None:
                await self._valkey.start()
                tasks.create_task(self._valkey.keep())
            # the first one alone: it brings the database up to date, and what is wrong is said once
            await self._places[0].fill()
            if self._steering.works:  # they listen in their order, and connections are led to the first one until the others serve
                for each in sockets[1:]:
                    each.listen(BACKLOG)
            await asyncio.gather(*(place.fill() for place in self._places[1:]))
            if self._stopping.is_set():
                return
            self._on_ready(sockets[0].getsockname()[1])
            for place in self._places:
                tasks.create_task(place.keep())
            while True:
                await self._replace.wait()
                self._replace.clear()
                await self._replace_all()

    async def _replace_all(self) -> None:
        _log.info("replacing", workers=len(self._places))
        # those first that can stay if the new settings or the new code are of no use
        for place in sorted(self._places, key=lambda place: not place.overlaps):
            if not await place.replace():
                return
        _log.info("replaced", workers=len(self._places))

    async def _until_stopped(self, running: asyncio.Task[None]) -> None:
        """Wait for a signal, or for the error of ``running``; then end the workers, before Valkey ends."""
        try:
            await self._stopping.wait()
        finally:
            for place in self._places:
                place.stopping = True
            await asyncio.gather(*(place.end() for place in self._places))
        running.cancel()

    def _stop(self) -> None:
        if self._stopping.is_set():
            _log.warning("second_signal", effect="quits at once")
            for place in self._places:
                place.quit()
            return
        _log.info("draining", seconds=self._settings.drain_seconds)
        self._stopping.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._replace.set}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception of a group, of groups in it too. The others came of it, or at the same moment."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextlib.contextmanager
def _run_folder(data_dir: Path) -> Iterator[Path]:
    """A folder for Unix sockets, which only this user may enter: in the data folder, or where the temporary files are if the path of a
    socket would be too long there.
    """
    folder = data_dir.absolute() / "run"
    if len(os.fsencode(folder)) + _LONGEST_NAME > MAX_SOCKET_PATH:
        folder = Path(tempfile.mkdtemp(prefix="hub-"))
    else:
        shutil.rmtree(folder, ignore_errors=True)  # of a parent that was killed: the lock of the data folder says that it is gone
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
