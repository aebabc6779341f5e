"""An interaction, the key by which it is found, and what can be wrong with a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from channels.interactions.state_machine import State

BY_EVENT: Final = ""
"""``Interaction.service`` of one that an event told of."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One interaction. Times in ms."""

    id: str
    service: str
    """The open media service that it came by; empty for one that events told of."""
    external_id: str | None
    media: str
    subtype: str
    state: State
    parent_id: str | None
    received_at: str | None
    """As it was given."""
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


class UnknownInteractionError(LookupError):
    """There is no interaction of this key."""

    def __init__(self, key: Key) -> None:
        super().__init__(key.value)
        self.key = key


class KnownInteractionError(ValueError):
    """The external id is taken: by the interaction ``id``."""

    def __init__(self, external_id: str, identifier: str) -> None:
        super().__init__(external_id)
        self.external_id = external_id
        self.id = identifier
