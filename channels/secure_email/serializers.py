"""Mails and attachments as the calls answer them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from channels.secure_email.models import Attachment, MailWithAttachments


def mail_entry(found: MailWithAttachments, base: str) -> dict[str, Any]:
    """A mail; what it does not have, or was not asked for, is left out."""
    mail = found.mail
    members: dict[str, Any] = {
        "secureMailId": mail.id,
        "selfUri": f"{base}/{mail.id}",
        "direction": mail.direction,
        "status": mail.status,
        "address": mail.address,
        "securebox": mail.securebox or None,
        "from": mail.sender,
        "fromName": mail.sender_name,
        "to": mail.recipient,
        "toName": mail.recipient_name,
        "subject": mail.subject,
        "inReplyTo": mail.in_reply_to,
        "interactionId": mail.interaction_id,
        "createdAt": mail.created_ms,
        "readAt": mail.read_ms,
        "deletedAt": mail.deleted_ms,
        "text": mail.text,
        "html": mail.html,
        "attachments": _attachments(found.attachments, f"{base}/{mail.id}/attachments"),
    }
    return {name: value for name, value in members.items() if value is not None}


def _attachments(found: Sequence[Attachment], base: str) -> list[dict[str, Any]]:
    shown = []
    for each in found:
        entry: dict[str, Any] = {
            "number": each.number,
            "filename": each.filename,
            "contentType": each.content_type,
            "size": each.size,
            "selfUri": f"{base}/{each.number}",
        }
        if each.content is not None:
            entry["content"] = base64.b64encode(each.content).decode("ascii")
        shown.append(entry)
    return shown
