"""What a worker gets from its parent: its number, its sockets, and what all workers of the hub share."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from pydantic import SecretStr

from hub.ops.settings import Settings
from hub.security.cookies import kept_secret

VARIABLE: Final = "CX_EVENT_HUB_WORKER"
"""The environment variable that carries the seat. It does not begin with ``HUB_``, since it is no setting."""


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """The place of one worker among those of a ``hub serve --workers N``. Its successor has the same one, with the next ``life``."""

    index: int
    """0 to N - 1."""
    count: int
    """N."""
    life: int
    """1 for the first process of this place, 2 for its successor."""
    listener: int
    """File descriptor of the socket that this worker listens on. The parent keeps it open."""
    metrics_listener: int | None
    """File descriptor of the socket of ``metrics_port``, which all workers accept from; None without that setting."""
    line: int
    """File descriptor of the socket to the parent: see :mod:`hub.workers.line`."""
    folder: str
    """Folder of the workers' own Unix sockets, for this user alone."""
    redis_url: str | None = None
    """The Redis that the parent has started; None: the setting ``redis_url`` names one."""

    def environment(self) -> dict[str, str]:
        """The variable for the worker's environment."""
        return {VARIABLE: msgspec.json.encode(self).decode()}

    @property
    def keeps_files(self) -> bool:
        """Whether this worker takes the files of SQLite for the hub, and has the event log where that is one: the first one does."""
        return self.index == 0

    @property
    def run_folder(self) -> Path:
        """The folder of the workers' own Unix sockets."""
        return Path(self.folder)

    def apply(self, settings: Settings) -> Settings:
        """The settings of this worker: those of all, and what its parent has made for them.

        Raises:
            OSError: the data folder cannot be read.
        """
        if self.redis_url is None:
            return settings
        secret = settings.secret or SecretStr(kept_secret(settings.data_dir).decode())
        return settings.model_copy(update={"redis_url": self.redis_url, "secret": secret})

    def sockets(self) -> tuple[socket.socket, socket.socket | None]:
        """The socket to listen on, and the one of ``metrics_port``. Call it once: they are closed with the returned objects."""
        metrics = self.metrics_listener
        return _opened(self.listener), None if metrics is None else _opened(metrics)

    def open_line(self) -> socket.socket:
        """The socket to the parent. Call it once."""
        return _opened(self.line)


_seat: Final = msgspec.json.Decoder(Seat)


def _opened(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # what this process starts must not hold it
    found = socket.socket(fileno=descriptor)
    found.setblocking(False)
    return found


def take_seat(environment: Mapping[str, str] = os.environ) -> Seat | None:
    """The seat of this process; None if it is not a worker. The variable is removed from the process's own environment."""
    text = environment.get(VARIABLE)
    if environment is os.environ:
        os.environ.pop(VARIABLE, None)
    return None if text is None else _seat.decode(text)
