"""How an item of a transcript looks: in answers, on the channel of the transcript, and on WebSockets, everywhere alike
(docs/protocol/participants.md#items).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from channels.events import format_time
from channels.files.participants.models import AttachmentStatus, Item, Kind
from hub.core.channels import to_segment
from hub.core.json_text import ascii_json

INTERACTIONS: Final = "/nexus/v3/interactions"

TYPING_CHANNELS: Final = "/nexus/v3/typing"
"""Below it each chat has a channel on which it is told who is typing."""


def transcript_channel(contact: str) -> str:
    """The channel of the hub on which the items of a chat are published."""
    return f"{INTERACTIONS}/{to_segment(contact)}/transcript"


def typing_channel(contact: str) -> str:
    """The channel of the hub on which it is published that somebody is typing."""
    return f"{TYPING_CHANNELS}/{to_segment(contact)}"


def item_entry(item: Item, contact: str) -> dict[str, Any]:
    """An item; members without a value are left out."""
    entry: dict[str, Any] = {
        "AbsoluteTime": format_time(item.at_ms),
        "ContentType": item.content_type,
        "Id": item.id,
        "Type": item.kind.value,
        "ContactId": contact,
        "InitialContactId": contact,
    }
    if item.content is not None:
        entry["Content"] = item.content
    if item.kind is Kind.RECEIPT:
        entry["MessageMetadata"] = item.detail
        return entry
    if item.participant is not None:
        entry |= {"ParticipantId": item.participant, "DisplayName": item.display_name}
    entry["ParticipantRole"] = item.role
    if item.kind is Kind.ATTACHMENT:
        entry["Attachments"] = [item.detail]
    return entry


def item_text(item: Item, contact: str) -> bytes:
    """An item as JSON text of ASCII characters."""
    return ascii_json(item_entry(item, contact))


def is_of(data: bytes, participant: str) -> bool:
    """Whether an item, as JSON text, is of a participant: what it said, attached or read, and that it came or left."""
    if participant.encode() not in data:  # nearly always
        return False
    item: dict[str, Any] = orjson.loads(data)
    receipts = item.get("MessageMetadata", {}).get("Receipts", [])
    return participant in (item.get("ParticipantId"), *(each["RecipientParticipantId"] for each in receipts))


def without_person(data: bytes) -> bytes:
    """An item of a participant who was erased, as JSON text: with nothing that tells of the person."""
    item: dict[str, Any] = orjson.loads(data)
    item.pop("Content", None)
    if "DisplayName" in item:
        item["DisplayName"] = ""
    if "Attachments" in item:
        item["Attachments"] = [erased_attachment(each["AttachmentId"]) for each in item["Attachments"]]
    if "MessageMetadata" in item:
        said = item["MessageMetadata"]
        item["MessageMetadata"] = erased_receipt(said["MessageId"], said["Receipts"][0]["RecipientParticipantId"])
    return ascii_json(item)


def erased_attachment(identifier: str) -> dict[str, Any]:
    """A file of an item whose sender was erased."""
    return attachment_entry(identifier, "", "application/octet-stream", AttachmentStatus.REJECTED)


def erased_receipt(message: str, participant: str) -> dict[str, Any]:
    """What an item says of a message that was received by somebody who was erased."""
    return {"MessageId": message, "Receipts": [{"RecipientParticipantId": participant}]}


def attachment_entry(identifier: str, name: str, content_type: str, status: AttachmentStatus) -> dict[str, Any]:
    """A file of an item."""
    return {"AttachmentId": identifier, "AttachmentName": name, "ContentType": content_type, "Status": status.value}
