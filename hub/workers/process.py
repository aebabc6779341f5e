"""One worker process, as its parent sees it: its start, its beats, its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from hub.transports.orders import Order
from hub.workers.child import Child, how
from hub.workers.line import Failed, Message, ParentLine, Ready, pair
from hub.workers.seat import Seat
from hub.workers.settings import SupervisionSettings

_log: Final = structlog.get_logger(__name__)


class WorkerProcess:
    """A worker that was started. It is a fresh interpreter, so it runs the code and reads the settings that are there now."""

    __slots__ = ("_heard", "_line", "_loop", "_supervision", "_watch", "child", "on_quiet", "quiet", "reason", "seat", "started")

    def __init__(self, command: Sequence[str], seat: Seat, supervision: SupervisionSettings) -> None:
        """``seat`` but for its line, which is made here.

        Raises:
            OSError: there is no such program.
        """
        ours, theirs = pair()
        with theirs:
            self.seat = seat = msgspec.structs.replace(seat, line=theirs.fileno())
            metrics = () if seat.metrics_listener is None else (seat.metrics_listener,)
            try:
                self.child = Child(command, os.environ | seat.environment(), keep=(seat.listener, *metrics, theirs.fileno()))
            except OSError:
                ours.close()
                raise
        self._loop = asyncio.get_running_loop()
        self._supervision = supervision
        self.reason: str | None = None
        """What the worker said why it cannot start."""
        self.started: asyncio.Future[Ready | None] = self._loop.create_future()
        """Done when the worker serves, or with None when it has ended before."""
        self._heard: float | None = None
        """When the worker last said something, in seconds of the loop's clock."""
        self.quiet = False
        """Whether it has shown nothing for ``quiet_s``, though it served: its event loop stands still."""
        self.on_quiet: Callable[[], object] = lambda: None
        """Called when :attr:`quiet` has changed."""
        self._line = ParentLine(ours, self._hear)
        self._watch = self._loop.call_later(supervision.beat_s, self._look)
        self.child.ended.add_done_callback(self._ended)

    @property
    def is_ready(self) -> bool:
        """Whether it was ready, be it ended now or not."""
        return self.started.done() and self.started.result() is not None

    def order(self, order: Order) -> None:
        """Tell the worker to end. One that is not ready is ended by a signal: it reads no orders while it loads its code."""
        self._line.order(order)
        if not self.started.done():
            self.child.kill(signal.SIGTERM)

    def death(self) -> str:
        """Why it has ended, in words."""
        return self.reason or f"worker {self.seat.index} {how(self.child.ended.result())}"

    async def end(self, order: Order, within_s: float) -> None:
        """Tell the worker to end, and wait; after ``within_s`` seconds it is killed."""
        self.order(order)
        if await self.child.end_within(within_s) is None:
            _log.error("worker_killed", worker=self.seat.index, pid=self.child.pid, why=f"it had not ended after {within_s:g} s")
            self.child.kill(signal.SIGKILL)
            await self.child.end_within(within_s)

    def _hear(self, message: Message) -> None:
        self._heard = self._loop.time()
        self._set_quiet(False, 0.0)
        match message:
            case Ready() if not self.started.done():
                self.started.set_result(message)
            case Failed(reason):
                self.reason = reason

    def _look(self) -> None:
        """Look whether it still beats. What it has said by now was heard before: the loop reads sockets before it fires timers."""
        supervision = self._supervision
        silent_s = self._loop.time() - (self.child.began if self._heard is None else self._heard)
        self._set_quiet(self.is_ready and silent_s > supervision.quiet_s, silent_s)
        if silent_s <= (supervision.first_beat_s if self._heard is None else supervision.silent_s):
            self._watch = self._loop.call_later(supervision.beat_s, self._look)
            return
        _log.error("worker_hangs", worker=self.seat.index, pid=self.child.pid, silent_s=round(silent_s, 1))
        self.child.kill(signal.SIGABRT)  # the worker writes the stack of each thread to its log
        self._watch = self._loop.call_later(supervision.kill_after_s, self.child.kill, signal.SIGKILL)

    def _set_quiet(self, quiet: bool, silent_s: float) -> None:
        if quiet == self.quiet:
            return
        self.quiet = quiet
        effect = "it gets no new connections until it does" if quiet else "it gets new connections again"
        say = _log.warning if quiet else _log.info
        say("worker_quiet" if quiet else "worker_shows_again", worker=self.seat.index, silent_s=round(silent_s, 1), effect=effect)
        self.on_quiet()

    def _ended(self, _ended: asyncio.Future[int]) -> None:
        self._watch.cancel()
        self._line.close()
        if not self.started.done():
            self.started.set_result(None)
