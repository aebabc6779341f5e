"""An interaction, the key by which it is found, and what caused a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from channels.interactions.state_machine import State

BY_EVENT: Final = ""
"""``Interaction.service`` of an interaction that began with an ingested event."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One interaction. Times are milliseconds since 1970 UTC."""

    id: str
    service: str
    """The open media service; :data:`BY_EVENT` for an interaction without one."""
    external_id: str | None
    media: str
    subtype: str
    state: State
    parent_id: str | None
    received_at: str | None
    """RFC 3339, as it was given."""
    user_data: dict[str, Any]
    created_ms: int
    stopped_ms: int | None = None
    reason_name: str = ""
    reason_text: str = ""


class Key(NamedTuple):
    """The key of an interaction: its id, or its external id."""

    value: str
    external: bool = False

    @property
    def column(self) -> str:
        """The column to search."""
        return "external_id" if self.external else "id"


class Cause(NamedTuple):
    """What caused the start or the end of an interaction."""

    origin: str
    """``OutboxEvent.origin`` of the event that follows."""
    base_url: str
    """The URL by which readers of the event reach the hub, without a slash at its end."""
    trace_id: str = ""
    """``X-B3-TraceId`` of the call; empty for none."""
