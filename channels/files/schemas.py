"""The bodies of answers about files, as ``/openapi.json`` describes them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from channels.files.state_machine import FileStatus
from hub.http.schemas import Status


class LinkEntry(BaseModel):
    """A link by which the file can be read; it needs no other credential."""

    url: str
    expiresAt: int = Field(description="When it ends, in milliseconds since 1970.")


class FileEntry(BaseModel):
    """A file. Times in milliseconds since 1970."""

    id: str = Field(examples=["333b9107-6529-404b-be97-cb2437fdafdd"])
    arn: str
    name: str = Field(examples=["invoice.pdf"])
    contentType: str = Field(examples=["application/pdf"])
    size: int = Field(description="Bytes.")
    associatedResourceArn: str = Field(description="What it belongs to.")
    createdBy: dict[str, str] = Field(description="Who sent it: `participantId`, `ConnectUserArn` or `AWSIdentityArn`.")
    createdAt: int
    status: FileStatus = Field(description="Only an `APPROVED` file can be read.")
    interactionId: str | None = None
    reason: str | None = Field(default=None, description="Why it was rejected, or failed.")
    tags: dict[str, str] | None = None
    uploadedAt: int | None = None
    decidedAt: int | None = None
    sha256: str | None = None
    link: LinkEntry | None = Field(default=None, description="In the answer for one file, when it is approved.")


class FileAnswer(BaseModel):
    """Envelope of a file."""

    status: Status
    data: FileEntry


class FileList(BaseModel):
    """A page of files, the newest first."""

    files: list[FileEntry]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class FilesAnswer(BaseModel):
    """Envelope of a page of files."""

    status: Status
    data: FileList


class Limits(BaseModel):
    """What may be attached."""

    maxBytes: int = Field(description="Bytes of a file.")
    extensions: list[str] = Field(description="Ends of names.", examples=[["pdf", "png"]])
    chatFiles: int = Field(description="Files of a chat, or another interaction.")
    emailFiles: int = Field(description="Files of an e-mail.")
    resourceFiles: int = Field(description="Files of another resource.")
    resourceBytes: int = Field(description="Bytes of all files of an interaction or resource.")
    maxTags: int = Field(description="Tags of a file.")
    scanned: bool = Field(description="Whether a scanner decides, so that approval takes a while.")


class LimitsAnswer(BaseModel):
    """Envelope of the limits."""

    status: Status
    data: Limits


class DeletedEntry(BaseModel):
    """What was deleted."""

    id: str


class DeletedAnswer(BaseModel):
    """Envelope of a deletion."""

    status: Status
    data: DeletedEntry


UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "The tenant has no such file."}}
UNAVAILABLE: Final[dict[int | str, dict[str, Any]]] = {503: {"description": "The database or the store of files cannot be used now."}}
