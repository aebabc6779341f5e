"""The answers of media storage, as ``/openapi.json`` has them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ObjectKey(BaseModel):
    """A file, or a folder."""

    kind: Literal["objectKey"]
    key: str = Field(description="The path; that of a folder ends with a slash.")
    keyName: str
    size: str = Field(description="Of a file, such as `5370.0 KB`; of a folder empty.")
    lastModifiedTime: str = ""
    keyType: Literal["file", "directory"]
    childObjectKeys: list[ObjectKey] = Field(description="With `keyType=directory`, the folders in this one.")


class LinkedKey(BaseModel):
    """A file with its links."""

    key: str
    keyHash: str = Field(description="MD5 of the key's UTF-8 bytes.")
    keyName: str
    size: str = Field(description="Empty before the first upload.")
    lastModifiedTime: str = Field(description="Empty before the first upload.")


class UploadKey(LinkedKey):
    """A file with links for its upload."""

    signedUploadUrl: str
    nativeSignedUploadUrl: str


class DownloadKey(LinkedKey):
    """A file with links for its download."""

    signedDownloadUrl: str
    nativeSignedDownloadUrl: str


class ObjectKeys2(BaseModel):
    """A listing of version 2."""

    kind: Literal["objectKeys"]
    continuationToken: str = Field("", description="Shows the next page; not there on the last one.")
    objectKeys: list[ObjectKey]


class ObjectKeys3(BaseModel):
    """A listing of version 3."""

    kind: Literal["objectKeys"]
    nextToken: str = Field("", description="Shows the next page: base64 of the key at which it starts. Not there on the last one.")
    totalItems: int = Field(0, description="How many items all pages have together; not there if they are more than 10,000.")
    objectKeys: list[ObjectKey]


class LinkedKey2(UploadKey, DownloadKey):
    """What version 2 answers where a link was asked for. Links that were not asked for are empty."""

    keyType: Literal["file"]


class Deleted(BaseModel):
    """What version 3 answers when a file was deleted."""

    key: str
    keyHash: str
    status: str


class MediaFault(BaseModel):
    """What is wrong with one part of a request."""

    scope: str
    reason: str
    message: str


class MediaFaults(BaseModel):
    """The kind of an error and each of its faults."""

    code: str
    message: str
    errors: list[MediaFault]


class MediaError(BaseModel):
    """An error."""

    error: MediaFaults


ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No credential, or one that is not good. There is no body."},
    **{
        status: {"description": text, "model": MediaError}
        for status, text in (
            (400, "A parameter is wrong."),
            (403, "The credential may not use this folder, or the API key is unknown."),
            (404, "There is no such file, folder or organisation."),
        )
    },
}
