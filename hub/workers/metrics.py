"""``/metrics`` of several workers: whoever is asked asks the others, and marks each one's series with ``worker="i"``.

Each worker gives its own text at a Unix socket in the folder of the workers. Whoever connects sends one line with the media types that it
wants, as in an ``Accept`` header, and gets the text.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from hub.workers.seat import Seat

UP: Final = "hub_worker_up"
"""The metric that names the workers that did not answer."""

_UP_HELP: Final = "1: the worker's own metrics are in this answer; 0: it did not answer in time."
_MAX_ACCEPT: Final = 4096

_log: Final = structlog.get_logger(__name__)

Render = Callable[[str], tuple[str, bytes]]
"""The content type and the text of this process's own metrics, in the format that an ``Accept`` header prefers."""


class WorkerMetrics:
    """The metrics of all workers of this machine. It is a :class:`hub.family.Service`, which answers the other workers."""

    __slots__ = ("_render", "_seat", "_server", "_timeout_s", "silent")

    def __init__(self, seat: Seat, render: Render, timeout_s: float) -> None:
        """``timeout_s``: how many seconds the others have to answer."""
        self._seat = seat
        self._render = render
        self._timeout_s = timeout_s
        self._server: asyncio.Server | None = None
        self.silent = 0
        """Times that another worker did not answer in time."""

    @property
    def life(self) -> int:
        """How many processes this worker's place has had."""
        return self._seat.life

    async def start(self) -> None:
        """Begin to answer the others, in place of the process that this one succeeds.

        Raises:
            OSError: the socket cannot be made.
        """
        path = self._path(self._seat.index)
        own = path.with_suffix(f".{self._seat.life}")
        self._server = await asyncio.start_unix_server(self._answer, own, limit=_MAX_ACCEPT)
        os.replace(own, path)

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the text of the metrics of all workers. A worker that does not answer in time is named."""
        others = [index for index in range(self._seat.count) if index != self._seat.index]
        answers = await asyncio.gather(*(self._ask(index, accept) for index in others))
        content_type, own = self._render(accept)
        texts = {self._seat.index: own} | dict(zip(others, answers, strict=True))
        return content_type, merge({index: texts[index] for index in sorted(texts)})

    def _path(self, index: int) -> Path:
        return self._seat.run_folder / f"metrics-{index}.sock"

    async def _ask(self, index: int, accept: str) -> bytes | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._path(index))
                try:
                    writer.write(accept[:_MAX_ACCEPT].replace("\n", " ").encode() + b"\n")
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            self.silent += 1
            _log.warning("worker_silent", silent=index, error=type(error).__name__)
            return None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                accept = await reader.readline()
                writer.write(self._render(accept.decode("utf-8", "replace").strip())[1])
                await writer.drain()
        except (OSError, TimeoutError, ValueError) as error:
            _log.debug("metrics_not_given", error=type(error).__name__)
        finally:
            writer.close()


class _Family:
    """What the workers say of one metric."""

    __slots__ = ("comments", "samples")

    def __init__(self) -> None:
        self.comments: list[bytes] = []
        self.samples: list[bytes] = []


def merge(texts: Mapping[int, bytes | None]) -> bytes:
    """One text of those of several workers, by their numbers; None: the worker did not answer. All are in one format: that of Prometheus,
    or OpenMetrics (docs/scaling.md#metrics-of-workers).
    """
    families: dict[bytes, _Family] = {}
    ends = b""
    for index, text in texts.items():
        for name, line in _lines(text or b""):
            if not name:
                ends = line + b"\n"
                continue
            family = families.setdefault(name, _Family())
            if line.startswith(b"#"):
                if line not in family.comments:
                    family.comments.append(line)
            else:
                family.samples.append(_labelled(line, index))
    answered = (f'{UP}{{worker="{index}"}} {float(text is not None)}' for index, text in texts.items())
    up = (f"# HELP {UP} {_UP_HELP}", f"# TYPE {UP} gauge", *answered)
    lines = [line for family in families.values() for line in (*family.comments, *family.samples)]
    return b"\n".join([*lines, *(line.encode() for line in up)]) + b"\n" + ends


def _lines(text: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Each line with the name of the metric that it belongs to; ``# EOF`` belongs to none."""
    name = b""
    for line in text.split(b"\n"):
        if line == b"# EOF":
            yield b"", line
        elif line.startswith(b"# "):
            name = line.split(b" ", 3)[2]
            yield name, line
        elif line:
            yield name, line


def _labelled(sample: bytes, index: int) -> bytes:
    """A sample with the label ``worker``, before its other labels."""
    label = b'worker="%d"' % index
    brace, space = sample.find(b"{"), sample.find(b" ")
    if brace != -1 and brace < space:
        return b"%b{%b,%b" % (sample[:brace], label, sample[brace + 1 :])
    return b"%b{%b}%b" % (sample[:space], label, sample[space:])
