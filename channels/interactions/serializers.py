"""What is said of an interaction that started or finished: the same to webhooks and on the hub (docs/protocol/interactions.md#entities)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import orjson

from channels.interactions.models import Interaction

STARTED: Final = "interaction.started"
FINISHED: Final = "interaction.finished"

EVENTS: Final = {STARTED: "STARTED", FINISHED: "FINISHED"}
"""Types of the outbox, and what the webhook calls them."""


SUBTYPES: Final = frozenset(
    {"InboundNew", "Outbound", "SMS", "WhatsApp", "FacebookPublic", "FacebookPrivate", "TwitterPublic", "TwitterPrivate"}
)
"""The subtypes that the Genesys webhook can have (docs/webhooks.md): receivers that validate refuse a body with another one."""


PATH: Final = "/nexus/v3/interactions"


class InteractionSerializer:
    """Builds them. ``base_url``, without a slash at its end, is where who is told finds the hub (:class:`hub.security.hosts.Hosts`)."""

    __slots__ = ("_base_url",)

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def self_uri(self, identifier: str) -> str:
        """Where an interaction answers."""
        return f"{self._base_url}{PATH}/{quote(identifier, safe='')}"

    def body(self, event_type: str, interaction: Interaction, operation_id: str) -> bytes:
        """The body of the webhook, exactly that of the description (docs/protocol/interactions.md#entities)."""
        return orjson.dumps({"operationId": operation_id, "data": {"entities": [self.entity(event_type, interaction)]}})

    def entity(self, event_type: str, interaction: Interaction) -> dict[str, Any]:
        """One of the webhook's ``entities``, which is what the channels of the hub carry. A subtype that is not among :data:`SUBTYPES` is
        left out: REST shows it.
        """
        known = {"interactionSubtype": interaction.subtype} if interaction.subtype in SUBTYPES else {}
        return {
            "event": EVENTS[event_type],
            "entity": {
                "id": interaction.id,
                "mediaType": interaction.media,
                **known,
                "selfUri": self.self_uri(interaction.id),
            },
        }

    def whole(self, interaction: Interaction) -> dict[str, Any]:
        """All that is known of an interaction, as REST shows it."""
        shown: dict[str, Any] = {
            "id": interaction.id,
            "mediaType": interaction.media,
            "interactionSubtype": interaction.subtype,
            "state": interaction.state.value,
            "userData": interaction.user_data,
            "createdAt": interaction.created_ms,
            "selfUri": self.self_uri(interaction.id),
        }
        optional = {
            "openMediaService": interaction.service or None,
            "externalId": interaction.external_id,
            "parentInteractionId": interaction.parent_id,
            "receivedAt": interaction.received_at,
            "stoppedAt": interaction.stopped_ms,
            "reasonSystemName": interaction.reason_name or None,
            "reasonDescription": interaction.reason_text or None,
        }
        shown.update({name: value for name, value in optional.items() if value is not None})
        return shown
