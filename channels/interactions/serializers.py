"""What is said of an interaction: to webhooks and on the hub's channels when it starts or finishes
(docs/protocol/interactions.md#entities), and in the answers of REST.

``base_url``, without a slash at its end, is the URL by which the reader reaches the hub (:class:`hub.security.hosts.Hosts`).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec
import orjson

from channels.interactions.models import Interaction

STARTED: Final = "interaction.started"
FINISHED: Final = "interaction.finished"

EVENTS: Final = {STARTED: "STARTED", FINISHED: "FINISHED"}
"""Types of outbox events, and what webhooks call them."""

SUBTYPES: Final = frozenset(
    {"InboundNew", "Outbound", "SMS", "WhatsApp", "FacebookPublic", "FacebookPrivate", "TwitterPublic", "TwitterPrivate"}
)
"""The subtypes that the Genesys webhook can have (docs/webhooks.md): receivers that validate refuse a body with another one."""

PATH: Final = "/nexus/v3/interactions"


def self_uri(identifier: str, base_url: str) -> str:
    """The URL of an interaction."""
    return f"{base_url}{PATH}/{quote(identifier, safe='')}"


def webhook_body(event_type: str, interaction: Interaction, operation_id: str, base_url: str) -> bytes:
    """The body of the webhook, with one entity. A subtype that is not among :data:`SUBTYPES` is left out; REST shows it."""
    subtype = {"interactionSubtype": interaction.subtype} if interaction.subtype in SUBTYPES else {}
    entity = {
        "event": EVENTS[event_type],
        "entity": {
            "id": interaction.id,
            "mediaType": interaction.media,
            **subtype,
            "selfUri": self_uri(interaction.id, base_url),
        },
    }
    return orjson.dumps({"operationId": operation_id, "data": {"entities": [entity]}})


class _Data(msgspec.Struct):
    entities: tuple[msgspec.Raw]


class _Body(msgspec.Struct):
    data: _Data


class _Subject(msgspec.Struct):
    interaction_subtype: str | None = msgspec.field(name="interactionSubtype", default=None)


class _Entity(msgspec.Struct):
    entity: _Subject


_body_decoder: Final = msgspec.json.Decoder(_Body)
_entity_decoder: Final = msgspec.json.Decoder(_Entity)


def entity_of(body: bytes) -> bytes:
    """The one entity of a :func:`webhook_body`, as the JSON text that stands there. The channels of the hub carry it as it is."""
    (entity,) = _body_decoder.decode(body).data.entities
    return bytes(entity)


def subtype_of(entity: bytes) -> str | None:
    """The subtype that an entity names, if it names one."""
    return _entity_decoder.decode(entity).entity.interaction_subtype


def interaction_entry(interaction: Interaction, base_url: str) -> dict[str, Any]:
    """All that is known of an interaction, as REST answers it. Members without a value are left out."""
    entry: dict[str, Any] = {
        "id": interaction.id,
        "mediaType": interaction.media,
        "interactionSubtype": interaction.subtype,
        "state": interaction.state.value,
        "userData": interaction.user_data,
        "createdAt": interaction.created_ms,
        "selfUri": self_uri(interaction.id, base_url),
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
    entry.update({name: value for name, value in optional.items() if value is not None})
    return entry
