"""The conditions of a request for a file, and the part that it asks for (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from starlette.types import Scope

from hub.objects.store import Span
from hub.objects.transfer import Download, read_range
from hub.security.origin import header


def fails(scope: Scope, file: Download) -> bool:
    """Whether ``If-Match`` or, without it, ``If-Unmodified-Since`` asks for another version of a file (section 13.2.2). A date that is
    none is not looked at (section 13.1.4).
    """
    tags = _tags(scope, b"if-match")
    if tags:
        return "*" not in tags and f'"{file.etag}"' not in tags
    given = header(scope, b"if-unmodified-since")
    if given is None:
        return False
    try:
        until = parsedate_to_datetime(given)
        # a date without a zone is one of UTC (section 5.6.7 of RFC 9110), and not of where the hub happens to run
        until_s = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return False
    return file.modified_ms // 1000 > until_s


def is_known(scope: Scope, file: Download) -> bool:
    """Whether ``If-None-Match`` has the tag of a file, weak or not, or ``*`` (section 13.1.2)."""
    return any(each.removeprefix("W/") in (f'"{file.etag}"', "*") for each in _tags(scope, b"if-none-match"))


def span_of(scope: Scope, file: Download) -> Span | None:
    """The part of a file that is asked for; None: all of it. Methods other than GET have no parts (section 14.2), and none is given of
    another version than ``If-Range`` names.

    Raises:
        Unsatisfiable: no byte of the file is in it.
    """
    condition = header(scope, b"if-range")
    if scope["method"] != "GET" or (condition is not None and condition != f'"{file.etag}"'):
        return None
    return read_range(header(scope, b"range"), file.size)


def _tags(scope: Scope, name: bytes) -> list[str]:
    given = b",".join(value for each, value in scope["headers"] if each == name).decode("latin-1")
    return [tag for each in given.split(",") if (tag := each.strip())]
