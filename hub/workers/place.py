"""The place of one worker: the process that has it now, and its successors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from hub.transports.listener import StartError
from hub.transports.orders import Order
from hub.workers.fixed import changed
from hub.workers.line import Ready
from hub.workers.process import WorkerProcess
from hub.workers.restarts import Restarts

_log: Final = structlog.get_logger(__name__)


ACCEPT_S: Final = 0.2
"""Seconds for which a worker that is to leave its place, and gets no new connections, accepts those that wait at its socket already."""


class GaveUpError(Exception):
    """A process does not stay alive; the text says why."""


class Place:
    """Keeps one worker alive. The socket that it listens on stays open meanwhile: connections that it has taken wait for the successor."""

    __slots__ = (
        "_drain_s",
        "_fixed",
        "_leaving",
        "_life",
        "_restarts",
        "_retiring",
        "_serving",
        "_start",
        "_starting",
        "index",
        "overlaps",
        "stopping",
        "worker",
    )

    def __init__(
        self,
        index: int,
        start: Callable[[int], WorkerProcess],
        restarts: Restarts,
        drain_s: float,
        fixed: Mapping[str, str] | None = None,
        *,
        overlaps: bool = True,
        serving: Callable[[bool], object] = lambda _: None,
    ) -> None:
        """``start`` starts a process for this place, given its life: 1, 2 and so on. ``drain_s``: seconds in which a worker must have ended
        after it was told to. ``fixed``: what :func:`hub.workers.fixed.fixed_settings` says in this process. ``overlaps``: a successor
        starts while the old worker still serves; without that, the old worker ends first. ``serving`` is told whether the place has a
        worker that serves, so that no connections are led to one that does not.
        """
        self.index = index
        self._start = start
        self._restarts = restarts
        self._drain_s = drain_s
        self.overlaps = overlaps
        self._serving = serving
        self._retiring = False
        """Whether the worker is told to end before its successor starts."""
        self._fixed = fixed or {}
        self._life = 0
        self._starting = asyncio.Lock()
        """Held while a successor is started, so that there is never more than one."""
        self.worker: WorkerProcess | None = None
        """The worker that has the place, be it dead."""
        self._leaving: set[WorkerProcess] = set()
        """Workers that drain, and one that starts: they are ended with the hub."""
        self.stopping = False

    async def fill(self) -> Ready | None:
        """Start the first worker; None: :meth:`end` was called meanwhile. A worker that says why it cannot start is not started again.

        Raises:
            GaveUpError: it dies too often before it is ready.
            StartError: the worker has said why it cannot start.
        """
        async with self._starting:
            while not self.stopping:
                worker = self.worker = self._launch()
                ready = await worker.started
                if ready is not None:
                    self._tell()
                    return ready
                await asyncio.wait([worker.child.ended])
                if worker.reason is not None:
                    raise StartError(worker.reason)
                await self._after_death(worker)
            return None

    async def keep(self) -> None:
        """Start a successor whenever the worker dies; returns when :meth:`end` was called.

        Raises:
            GaveUpError: it dies too often before it is ready.
        """
        while not self.stopping:
            worker = self.worker
            assert worker is not None  # fill comes first
            await asyncio.wait([worker.child.ended])
            self._tell()
            async with self._starting:
                if self.stopping or self.worker is not worker:
                    continue
                if not await self._after_death(worker):
                    return
                self.worker = self._launch()
                if await self.worker.started is not None:
                    self._tell()
                    _log.info("worker_restarted", worker=self.index, pid=self.worker.child.pid)

    async def replace(self) -> bool:
        """Start a successor with the code and the settings of now; when it serves, the old worker drains and ends. False: the successor did
        not start, and the old worker stays.
        """
        async with self._starting:
            old = self.worker
            if self.stopping or old is None or old.child.ended.done():
                return not self.stopping  # a dead worker's successor is a new one anyway
            if not self.overlaps:
                return await self._succeed(old)
            new = self._launch()
            self._leaving.add(new)
            ready = await new.started
            self._leaving.discard(new)
            if ready is None:
                if not self.stopping:
                    _log.error("worker_not_replaced", worker=self.index, why=new.death(), effect="the old worker goes on")
                return False
            self.worker = new
            self._tell()
            self._leaving.add(old)
        if different := changed(self._fixed, ready.fixed):
            _log.warning("restart_needed", settings=different, why="only a new hub applies a change of these settings")
        _log.info("worker_replaced", worker=self.index, pid=new.child.pid, old=old.child.pid)
        await old.end(Order.REPLACE, self._drain_s)
        self._leaving.discard(old)
        return True

    async def _succeed(self, old: WorkerProcess) -> bool:
        """Start a successor when the old worker has ended. False: there is none yet; :meth:`keep` starts another one."""
        self._retiring = True
        try:
            self._tell()
            await asyncio.sleep(ACCEPT_S)
            await old.end(Order.REPLACE, self._drain_s)
            if self.stopping:
                return False
            self.worker = self._launch()
            started = await self.worker.started is not None
        finally:
            self._retiring = False
            self._tell()
        return started

    def _tell(self) -> None:
        """Tell whether there is a worker that serves."""
        worker = self.worker
        serves = worker is not None and worker.is_ready and not worker.quiet and not worker.child.ended.done()
        self._serving(serves and not self._retiring)

    def quit(self) -> None:
        """Have every process of this place end at once."""
        for each in self._all():
            each.order(Order.QUIT)

    async def end(self) -> None:
        """Drain and end every process of this place, and start no other."""
        self.stopping = True
        await asyncio.gather(*(each.end(Order.STOP, self._drain_s) for each in self._all()))

    def _all(self) -> set[WorkerProcess]:
        return self._leaving | ({self.worker} if self.worker is not None else set())

    def _launch(self) -> WorkerProcess:
        self._life += 1
        worker = self._start(self._life)
        worker.on_quiet = self._tell
        return worker

    async def _after_death(self, worker: WorkerProcess) -> bool:
        """Wait as long as a successor has to wait; False: there shall be none, since the hub stops.

        Raises:
            GaveUpError: it died too often.
        """
        await asyncio.wait([worker.child.ended])
        if self.stopping:
            return False
        loop = asyncio.get_running_loop()
        pause_s = self._restarts.died(loop.time(), worker.child.began, ready=worker.is_ready)
        if pause_s is None:
            raise GaveUpError(f"worker {self.index} died too often before it was ready; at last: {worker.death()}")
        _log.error("worker_died", worker=self.index, pid=worker.child.pid, why=worker.death(), again_s=pause_s)
        await asyncio.sleep(pause_s)
        return not self.stopping
