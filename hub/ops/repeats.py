"""Suppresses repeated errors: the first is logged in full, later ones are counted, and the count is logged from time to time."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import structlog

from hub.background import BackgroundTask

MAX_REMEMBERED: Final = 1000
"""How many different errors are remembered. Above that, the oldest is forgotten, and is logged in full when it occurs again."""

COUNTED: Final = "error_repeated"
"""The log event for errors that were only counted."""

_ERRORS: Final = frozenset({"error", "exception", "critical", "fatal"})
_VOLATILE: Final = frozenset({"event", "exc_info", "logger", "request_id", "trace_id", "fault", "error", "detail"})
"""Fields that may differ between two errors of one kind."""
_MAX_FIELDS: Final = 8
_MAX_TEXT: Final = 100
"""Fields that tell errors apart, and characters of each."""

_log = structlog.get_logger(__name__)


class Kind(NamedTuple):
    """The identity of an error: logger, message, place and type. Its text may differ each time. An error without an exception has its text
    fields (such as a tenant or a database) in ``place``, instead of the place where it was raised.
    """

    logger: str
    event: str
    exception: str
    place: str


@dataclass(slots=True)
class _Seen:
    since: float
    held_back: int = 0


class Repeats:
    """The errors of a process. Every thread that logs may use it."""

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``every_s``: seconds for which an error that was logged is only counted; 0: every error is logged."""
        self.every_s = every_s
        self._clock = clock
        self._seen: dict[Kind, _Seen] = {}

    def passes(self, kind: Kind) -> bool:
        """Whether to log an error; if not, it is counted."""
        if self.every_s <= 0:
            return True
        seen = self._seen.get(kind)
        if seen is not None:
            seen.held_back += 1
            return False
        while len(self._seen) >= MAX_REMEMBERED:
            self._seen.pop(next(iter(self._seen)), None)
        self._seen[kind] = _Seen(self._clock())
        return True

    def counted(self, *, everything: bool = False) -> list[tuple[Kind, int]]:
        """The suppressed errors with their counts: those whose time is over, or all. Errors that did not occur again are forgotten."""
        now = self._clock()
        counts = []
        for kind, seen in list(self._seen.items()):
            if not everything and now - seen.since < self.every_s:
                continue
            if seen.held_back:
                counts.append((kind, seen.held_back))
                self._seen[kind] = _Seen(now)
            else:
                self._seen.pop(kind, None)
        return counts

    # -- as parts of logging ----------------------------------------------------------------------------------------

    def processor(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog, to be placed before those that format a traceback.

        Raises:
            structlog.DropEvent: the error is a repetition.
        """
        error = _error(event.get("exc_info"))
        said = str(event.get("event", ""))
        if error is not None or (level in _ERRORS and said != COUNTED):
            name = str(event.get("logger") or getattr(logger, "name", ""))
            if not self.passes(Kind(name, said, "", _names(event)) if error is None else _kind(name, said, error)):
                raise structlog.DropEvent
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """A filter of the standard library, for the records of other libraries."""
        error = _error(record.exc_info)
        if error is not None:
            return self.passes(_kind(record.name, str(record.msg), error))
        # a record with a dictionary came from structlog, and the processor has counted it
        return isinstance(record.msg, dict) or record.levelno < logging.ERROR or self.passes(Kind(record.name, str(record.msg), "", ""))


class RepeatedErrors:
    """A service that logs the counts while the hub runs."""

    __slots__ = ("_repeats", "_task")

    def __init__(self, repeats: Repeats) -> None:
        self._repeats = repeats
        self._task = BackgroundTask("hub.ops.repeats")

    async def start(self) -> None:
        """Start to log the counts regularly."""
        if self._repeats.every_s > 0:
            self._task.start(self._run())

    async def stop(self) -> None:
        """Log the counts and stop."""
        await self._task.stop()
        self._log_counts(everything=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(self._repeats.every_s, 1.0))
            self._log_counts()

    def _log_counts(self, *, everything: bool = False) -> None:
        for kind, times in self._repeats.counted(everything=everything):
            more = {"exception": kind.exception} if kind.exception else {"of": json.loads(kind.place)} if kind.place else {}
            _log.error(COUNTED, error=kind.event, source=kind.logger, **more, times=times)


def _error(exc_info: Any) -> BaseException | None:
    """The exception of a log record, in any of its forms there."""
    if exc_info is True:
        return sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _names(event: MutableMapping[str, Any]) -> str:
    found = {key: value[:_MAX_TEXT] for key, value in sorted(event.items()) if key not in _VOLATILE and isinstance(value, str)}
    return json.dumps(dict(itertools.islice(found.items(), _MAX_FIELDS))) if found else ""


def _kind(logger: str, event: str, error: BaseException) -> Kind:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = "" if at is None else f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
    cause = error.__cause__
    exception = type(error).__qualname__ if cause is None else f"{type(error).__qualname__} from {type(cause).__qualname__}"
    return Kind(logger, event, exception, place)
