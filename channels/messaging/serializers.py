"""Channels, messages and media as answers, events and webhooks have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from channels.messaging.media_links import SCHEME
from channels.messaging.models import Channel, Direction, MediaResource, Message, Recipient
from channels.messaging.schemas import Outbound, OutboundEmail, OutboundText, OutParty, OutTextPart, Party
from channels.messaging.service_channels import Managed


def channel_entry(managed: Managed) -> dict[str, Any]:
    channel, endpoint = managed
    entry: dict[str, Any] = {"id": channel.id, "type": channel.type}
    if channel.sender_id is not None:
        entry["sender"] = {"id": channel.sender_id, **({"name": channel.sender_name} if channel.sender_name is not None else {})}
    if endpoint.url:
        entry["webhook"] = {"url": endpoint.url, "enabled": endpoint.enabled, "disabledReason": endpoint.disabled_reason}
        if endpoint.failing_since_ms is not None:
            entry["webhook"]["failingSince"] = endpoint.failing_since_ms
    return entry | {
        "throttle": endpoint.policy.throttle.value,
        "endpoint": channel.endpoint,
        "createdAt": channel.created_ms,
        "oldSecretsUntil": [each.until_ms for each in endpoint.secrets if each.until_ms is not None],
    }


def message_entry(channel: str, message: Message, *, content: bool) -> dict[str, Any]:
    """A message as events and REST show it; with ``content`` also its text, as its sender wrote it."""
    shown: dict[str, Any] = {
        "id": str(message.id),
        "channelId": channel,
        "direction": message.direction.value,
        "type": message.type,
        "state": message.state.value,
        "from": message.sender,
        "recipients": [
            {
                "id": each.id,
                **({"name": each.name} if each.name is not None else {}),
                "state": each.status.state.value,
                **({"reasons": each.reasons} if each.reasons else {}),
            }
            for each in message.recipients
        ],
        "createdAt": message.created_ms,
        "changedAt": message.changed_ms,
    }
    if message.own_id is not None or message.direction is Direction.OUTBOUND:
        shown["messageId"] = message.message_id
    if message.receiver_id is not None:
        shown["receiverMessageId"] = message.receiver_id
    if message.error:
        shown["error"] = message.error
    if content:
        shown["message"] = orjson.Fragment(message.body)
    return shown


def media_entry(resource: MediaResource) -> dict[str, str | int]:
    """A media resource as answers have it (docs/protocol/messaging.md#media)."""
    return {
        "mediaId": resource.id,
        "url": f"{SCHEME}{resource.id}",
        "filename": resource.filename,
        "mimetype": resource.mimetype,
        "length": resource.length,
    }


def webhook_body(channel: Channel, message: Message, content: Outbound, media: Mapping[str, tuple[str, MediaResource]]) -> dict[str, Any]:
    """What is posted to the third party (docs/protocol/messaging.md#outgoing-messages)."""
    to = [party(each) for each in message.recipients]
    way = {
        "id": channel.id,
        "type": channel.type,
        "from": message.sender,
        "to": to if isinstance(content, OutboundEmail) else to[0],
        "messageId": message.message_id,
    }
    made: dict[str, Any] = {"channel": way}
    if isinstance(content, OutboundEmail):
        if content.context is not None:
            made["context"] = {"replyTo": party(content.context.replyTo)}
        return made | {
            "type": content.type,
            "subject": content.subject,
            "content": [{"type": part.type, "text": part.text} for part in content.content],
        }
    made["type"] = content.type
    if isinstance(content, OutboundText):
        return made | {"text": content.text}
    parts: list[dict[str, Any]] = []
    for part in content.content:
        if isinstance(part, OutTextPart):
            parts.append({"type": part.type, "text": part.text})
        elif part.url in media:
            link, resource = media[part.url]
            described = {"filename": resource.filename, "mimetype": resource.mimetype, "length": resource.length}
            parts.append({"type": part.type, "url": link, **described})
        else:
            parts.append({"type": part.type, "url": part.url})
    return made | {"content": parts}


def party(party: Party | OutParty | Recipient) -> dict[str, Any]:
    """A sender or recipient as it is stored: id and name."""
    return {"id": party.id, **({"name": party.name} if party.name is not None else {})}
