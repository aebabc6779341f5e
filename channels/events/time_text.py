"""Parses and formats the times of events: RFC 3339."""

import re
from datetime import UTC, date, datetime

_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_S = 86_400
_YEAR_10000_MS = (date.max.toordinal() + 1 - _EPOCH_DAY) * _DAY_S * 1000
"""RFC 3339 cannot write times from here on: its years have four digits."""


def parse_time(text: str) -> int:
    """Convert an RFC 3339 time to milliseconds since 1970 UTC; digits below a millisecond are cut off. As in ISO 8601, the zone may have no
    colon (``+0000``), and seconds may be missing. A time without a zone is UTC.

    A leap second (``23:59:60`` UTC, RFC 3339 section 5.7) means the second after it, as in POSIX time.

    Raises:
        ValueError: the text is not such a time, or the time is before 1970 or after 9999 UTC; the text says what was expected.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("an RFC 3339 time, like 2026-03-01T09:30:00.250Z")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hour, offset_minute = match.group(7, 8, 9, 10)
    offset_s = 0
    if sign is not None:
        if int(offset_hour) > 23 or int(offset_minute) > 59:
            raise ValueError("a zone between -23:59 and +23:59")
        offset_s = (int(offset_hour) * 3600 + int(offset_minute) * 60) * (-1 if sign == "-" else 1)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("a time of day between 00:00:00 and 23:59:60")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError("a day that is in the calendar") from None
    seconds = days * _DAY_S + hour * 3600 + minute * 60 + second - offset_s
    if second == 60 and seconds % _DAY_S != 0:
        raise ValueError("a leap second only at 23:59:60 UTC")
    milliseconds = seconds * 1000 + int((fraction or "")[:3].ljust(3, "0"))
    if milliseconds < 0:
        raise ValueError("a time not before 1970-01-01T00:00:00Z")
    if milliseconds >= _YEAR_10000_MS:
        # the year in the text has four digits, but in UTC it is 10000
        raise ValueError("a time before the year 10000 UTC")
    return milliseconds


def format_time(time_ms: int) -> str:
    """Format a time by RFC 3339, in UTC with milliseconds: ``2026-03-01T09:30:00.250Z``."""
    seconds, milliseconds = divmod(time_ms, 1000)
    # isoformat: a listing has a thousand times, and strftime takes four times as long
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{milliseconds:03d}Z"
