"""Times as texts."""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(at_ms: int) -> str:
    """A time as RFC 3339 has it, in UTC with milliseconds: ``2026-11-29T13:02:02.471Z``. ``at_ms``: in milliseconds since 1970 UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
