"""A worker: one process of a ``hub serve --workers N``, started by its parent."""

from __future__ import annotations

import faulthandler
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hub.collector import paused_collector
from hub.family import Family
from hub.node import Node
from hub.ops.logging import configure as configure_logging
from hub.ops.settings import Settings
from hub.ops.start_errors import START_ERRORS, sentence
from hub.ops.usable import check_supported
from hub.transports.orders import Orders
from hub.transports.runtime import run
from hub.workers.fixed import fixed_settings
from hub.workers.line import Failed, WorkerLine, say
from hub.workers.seat import Seat

NOT_STARTED: Final = 2
"""Exit code of a worker that has told its parent why it does not start."""


def serve_worker(seat: Seat, read: Callable[[], Settings], families: Sequence[Family]) -> int:
    """Serve until the parent or a signal says to end; returns the exit code. ``read`` reads the settings, and raises as
    :func:`hub.ops.settings.load` does. What prevents the start is told to the parent, not printed.
    """
    faulthandler.enable()  # where a worker hangs is seen when its parent sends SIGABRT
    line = seat.open_line()
    settings: Settings | None = None
    try:
        given = settings = read()
        settings = seat.apply(given)
        check_supported(settings)
        run(_work(settings, families, seat, line, fixed_settings(given)))
    except START_ERRORS as error:
        say(line, Failed(sentence(error, settings)))
        return NOT_STARTED
    return 0


async def _work(settings: Settings, families: Sequence[Family], seat: Seat, line: socket.socket, fixed: Mapping[str, str]) -> None:
    repeats = configure_logging(settings, seat.index)
    orders = Orders(insist=False)
    parent = WorkerLine(line, orders, settings.supervision.beat_s)
    parent.start()
    try:
        with paused_collector():
            node = Node(settings, families, repeats, seat)
        await node.run(lambda port: parent.ready(port, fixed), orders)
    finally:
        await parent.stop()
