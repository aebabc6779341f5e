"""Parses and checks lines of Asterisk's ``queue_log``.

A line is ``time|call|queue|agent|event|parameters...`` (https://docs.asterisk.org/Operation/Logging/Queue-Logs/). The versions of Asterisk
differ: the time is a number of seconds since 1970, with or without a fraction, or a date as in a database; later versions have more
parameters at the end. Some programs write spaces around the bars, or one more bar at the end.
"""

import re
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

_NOBODY: Final = ("", "NONE")
_SECONDS: Final = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d(?::?\d\d)?)?")
_EVENT: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_MAX_ID: Final = 255


class LineError(ValueError):
    """A line cannot be converted; the text is ``field: expected ..., got ...``."""


class Line(NamedTuple):
    """One line. ``call``, ``queue`` and ``agent`` are empty where the log has NONE."""

    time_ms: int
    call: str
    queue: str
    agent: str
    event: str
    parameters: tuple[str, ...]

    def seconds(self, index: int, what: str) -> int | None:
        """A parameter that is a duration in whole seconds; None if the line does not have it.

        Raises:
            LineError: the parameter is not a number of seconds.
        """
        text = self._parameter(index)
        if text == "":
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise LineError(f"{what}: expected whole seconds, got {text[:60]!r}")
        return int(text)

    def milliseconds(self, index: int, what: str) -> int:
        """A parameter that is a duration in milliseconds; 0 if the line does not have it.

        Raises:
            LineError: the parameter is not a number of milliseconds.
        """
        text = self._parameter(index)
        if text and (not text.isascii() or not text.isdigit() or len(text) > 12):
            raise LineError(f"{what}: expected whole milliseconds, got {text[:60]!r}")
        return int(text or 0)

    def text(self, index: int) -> str:
        """A parameter as text; empty if the line does not have it."""
        return self._parameter(index)

    def _parameter(self, index: int) -> str:
        return self.parameters[index] if -len(self.parameters) <= index < len(self.parameters) else ""


def parse_line(text: str, zone: tzinfo) -> Line:
    """Parse a line; ``zone`` is the time zone of dates that name none.

    Raises:
        LineError: it is not a line of a queue_log.
    """
    fields = [field.strip() for field in text.strip().split("|")]
    if len(fields) < 5:
        raise LineError(f"expected time|call|queue|agent|event, got {text.strip()[:80]!r}")
    time, call, queue, agent, event, *parameters = fields
    if _EVENT.fullmatch(event) is None:
        raise LineError(f"event: expected a word in capitals such as ENTERQUEUE, got {event[:60]!r}")
    for name, value in (("call", call), ("queue", queue), ("agent", agent)):
        if len(value) > _MAX_ID or _CONTROL.search(value):
            raise LineError(f"{name}: expected at most {_MAX_ID} characters without control characters, got {value[:60]!r}")
    while parameters and parameters[-1] == "":
        parameters.pop()
    call, queue, agent = ("" if each in _NOBODY else each for each in (call, queue, agent))
    return Line(_time_ms(time, zone), call, queue, agent, event, tuple(parameters))


def _time_ms(text: str, zone: tzinfo) -> int:
    match = _SECONDS.fullmatch(text)
    if match is not None:
        return int(match[1]) * 1000 + int((match[2] or "")[:3].ljust(3, "0"))
    if _DATE.fullmatch(text) is not None:
        try:
            moment = datetime.fromisoformat(text.replace(",", "."))
        except ValueError:
            moment = None
        if moment is not None:
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
            if moment.timestamp() >= 0:
                return int(moment.timestamp() * 1000)
    raise LineError(f"time: expected seconds since 1970, or a date such as 2026-03-02 09:30:00, got {text[:60]!r}")
