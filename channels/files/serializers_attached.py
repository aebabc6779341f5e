"""How attached files look in the answers of Amazon Connect's calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from channels.files.arns import Arns
from channels.files.models import FileRecord, UploadLink
from hub.core.time_text import time_text

USE_CASE: Final = "ATTACHMENT"


def started(file: FileRecord, link: UploadLink, arns: Arns) -> dict[str, Any]:
    """A file that was announced, with the link for its upload."""
    upload = {"Url": link.url, "UrlExpiry": time_text(link.expires_ms), "HeadersToInclude": dict(link.headers)}
    return {**_lead(file, arns), "UploadUrlMetadata": upload}


def attached_file(file: FileRecord, arns: Arns) -> dict[str, Any]:
    """What is known of a file."""
    found = {
        **_lead(file, arns),
        "FileName": file.name,
        "FileSizeInBytes": file.size,
        "AssociatedResourceArn": file.resource,
        "FileUseCaseType": USE_CASE,
    }
    return {**found, "Tags": dict(file.tags)} if file.tags else found


def with_link(file: FileRecord, arns: Arns, link: tuple[str, int] | None) -> dict[str, Any]:
    """The same with a link for a download, and when it ends; None: it may not be read."""
    found = attached_file(file, arns)
    return found if link is None else {**found, "DownloadUrlMetadata": {"Url": link[0], "UrlExpiry": time_text(link[1])}}


def batch(files: list[FileRecord], missing: list[str], arns: Arns) -> dict[str, Any]:
    """Several files of a resource, and the ids that it does not have."""
    errors = [{"ErrorCode": "404", "ErrorMessage": "no such file of this resource", "FileId": each} for each in missing]
    return {"Files": [attached_file(each, arns) for each in files], "Errors": errors}


def _lead(file: FileRecord, arns: Arns) -> dict[str, Any]:
    lead: dict[str, Any] = {
        "FileArn": arns.file(file.tenant, file.id),
        "FileId": file.id,
        "CreationTime": time_text(file.created_ms),
        "FileStatus": file.status.value,
    }
    # what the participant of a chat has sent was created by nobody who has an ARN
    return lead if file.participant_id is not None else {**lead, "CreatedBy": _created_by(file)}


def _created_by(file: FileRecord) -> Mapping[str, str]:
    found: dict[str, str] = json.loads(file.created_by)
    return found
