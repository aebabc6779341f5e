"""What is said of a file: in events, and in the answers of the hub's own REST API. No event has a link in it: events are kept."""

from __future__ import annotations

import json
from typing import Any

import orjson

from channels.files.arns import Arns
from channels.files.models import FileRecord


def created_by(file: FileRecord) -> dict[str, str]:
    """Who sent a file."""
    if file.participant_id is not None:
        return {"participantId": file.participant_id}
    found: dict[str, str] = json.loads(file.created_by)
    return found


def file_entry(file: FileRecord, arns: Arns) -> dict[str, Any]:
    """What does not change of a file, as events have it."""
    entry = {
        "id": file.id,
        "arn": arns.file(file.tenant, file.id),
        "name": file.name,
        "contentType": file.content_type,
        "size": file.size,
        "associatedResourceArn": file.resource,
        "createdBy": created_by(file),
        "createdAt": file.created_ms,
    }
    if file.interaction_id is not None:
        entry["interactionId"] = file.interaction_id
    return entry


def file_details(file: FileRecord, arns: Arns) -> dict[str, Any]:
    """All that callers of REST may know of a file. Members without a value are left out."""
    optional = {
        "reason": file.reason,
        "tags": dict(file.tags) or None,
        "uploadedAt": file.uploaded_ms,
        "decidedAt": file.decided_ms,
        "sha256": file.sha256,
    }
    return {
        **file_entry(file, arns),
        "status": file.status.value,
        **{name: value for name, value in optional.items() if value is not None},
    }


def event_body(event: str, file: FileRecord, arns: Arns) -> bytes:
    """The body of an event about a file: of webhooks, and on the channels of the hub."""
    body: dict[str, Any] = {"event": event, "file": file_entry(file, arns)}
    if file.reason is not None:
        body["reason"] = file.reason
    return orjson.dumps(body)
