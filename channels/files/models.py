"""Files as the family keeps them, and what clients ask for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from channels.files.state_machine import FileStatus, State

PREFIX: Final = "files/"
"""The folder of the family in the object store."""

GRACE_MS: Final = 3_600_000
"""Milliseconds after the end of its last link in which a file may still be completed."""

INCOMING: Final = "incoming/files/"
"""The folder of uploads that go to the store itself: their links live on when the upload is complete."""


class Call(StrEnum):
    """Which API a file came by."""

    ATTACHED = "attached"
    PARTICIPANT = "participant"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that a client announces."""

    tenant: str
    call: str
    """A :class:`Call`; tokens of one call say nothing in the other."""
    resource: str
    """What the file belongs to: an ARN, kept and compared as text."""
    interaction_id: str | None
    """The interaction of the hub that it belongs to, if it does."""
    name: str
    size: int
    """Bytes."""
    content_type: str
    """As declared; empty: by the end of the name."""
    created_by: str
    """Who announces it: a JSON object of one ARN, or the id of a participant."""
    tags: Mapping[str, str]
    client_token: str | None
    """The same token within 24 hours means the same file."""
    url_expiry_s: int
    """Seconds that the link for the upload lives."""
    creator: str | None = None
    """The id of the user or agent who sends it, as it is: by this it is found when a person's data are erased. None: nobody whom the hub
    knows. Of a file in a chat it is always the participant.
    """

    def token_digest(self) -> str:
        """What the token is stored as: it is long, and nobody needs it again."""
        return digest([self.tenant, self.call, self.resource, self.client_token])

    def fields_digest(self) -> str:
        """What must be the same where the token is."""
        return digest([self.interaction_id, self.name, self.size, self.content_type, self.created_by, sorted(self.tags.items())])


def digest(values: list[object]) -> str:
    """The SHA-256 of some values, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file."""

    number: int
    """Rises with each file of the hub."""
    id: str
    tenant: str
    call: str
    resource: str
    interaction_id: str | None
    name: str
    size: int
    """Bytes."""
    content_type: str
    state: State
    created_by: str
    tags: Mapping[str, str]
    created_ms: int
    link_ends_ms: int
    """When the last link for its upload ends."""
    uploaded_ms: int | None
    checking_ms: int | None
    """Since when its content is looked at."""
    completed_by: str | None
    """The digest of the call by which it was completed, its token included; None: it had no token."""
    decided_ms: int | None
    reason: str | None
    """Why it was rejected, or failed."""
    md5: str | None
    sha256: str | None
    key: str | None
    """Where its bytes are in the object store; None: they are not there."""

    @property
    def status(self) -> FileStatus:
        """What others are told."""
        return self.state.status

    @property
    def participant_id(self) -> str | None:
        """The participant of a chat who sent it."""
        return self.created_by if self.call == Call.PARTICIPANT else None


def incoming_key(identifier: str) -> str:
    """Where an upload to the store itself goes."""
    return f"{INCOMING}{identifier}"


def objects_of(file: FileRecord) -> list[str]:
    """Every key of the object store at which bytes of a file may be: those of an upload to the store itself stay where they came."""
    return [*([] if file.key is None else [file.key]), incoming_key(file.id)]


class UploadLink(NamedTuple):
    """A link for an upload."""

    url: str
    expires_ms: int
    """In milliseconds since 1970 UTC."""
    headers: Mapping[str, str]
    """What the request must have."""


class FilePage(NamedTuple):
    """Files, the newest first."""

    files: list[FileRecord]
    cursor: int | None
    """``after`` of the next page; None: there is none."""
