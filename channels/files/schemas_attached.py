"""Bodies and answers of the calls for attached files, as Amazon Connect has them and /openapi.json shows them.

Amazon's clients check that fields are there and not too short. What they do not check, most of all what is too long, is checked here and by
:mod:`channels.files.checks`.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_BODY_BYTES: Final = 512 * 1024
"""Bytes of a body: a hundred ids, or fifty tags, of which each character is written as an escape."""

MAX_IDS: Final = 100
MAX_ID: Final = 256
MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256
MAX_TOKEN: Final = 500
MAX_INSTANCE: Final = 100

_TAG_KINDS: Final = frozenset("LZN")
"""Letters, blanks and numbers of all alphabets, by the first letter of their category."""
_TAG_MARKS: Final = frozenset("_.:/=+-@")


def _tag_key(key: str) -> str:
    if key.startswith("aws:") or any(each not in _TAG_MARKS and unicodedata.category(each)[0] not in _TAG_KINDS for each in key):
        raise ValueError("expected letters, digits, blanks and _.:/=+-@, and no aws: at the beginning")
    return key


def _tag_value(value: str) -> str:
    if any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("expected Unicode text, without halves of characters")
    return value


def _token(token: str) -> str | None:
    return token or None


TagKey = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_TAG_KEY), AfterValidator(_tag_key)]
TagValue = Annotated[str, StringConstraints(strict=True, max_length=MAX_TAG_VALUE), AfterValidator(_tag_value)]
Text = Annotated[str, StringConstraints(strict=True)]
FileIdText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID)]
Number = Annotated[int, Field(strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")
    """Newer clients may send more, as they may to Amazon."""


class Creator(_Body):
    """Who attaches a file: a union, of which clients may set the first."""

    ConnectUserArn: Text | None = Field(None, description="The ARN of an agent.")
    AWSIdentityArn: Text | None = Field(None, description="The ARN of the caller; clients must not send it.")


class StartUpload(_Body):
    """A file to attach."""

    ClientToken: Annotated[str, StringConstraints(strict=True, max_length=MAX_TOKEN), AfterValidator(_token)] | None = Field(
        None, description="The same token within 24 hours means the same file."
    )
    FileName: Text = Field(description="1 to 256 characters, without control characters and folders.", examples=["report.pdf"])
    FileSizeInBytes: Number = Field(description="1 to `files.max_bytes`.", examples=[5])
    UrlExpiryInSeconds: Number | None = Field(None, description="5 to 300; 300 by default.")
    FileUseCaseType: Text = Field(description="`ATTACHMENT`, the only one that clients may upload.", examples=["ATTACHMENT"])
    CreatedBy: Creator | None = None
    Tags: Annotated[dict[TagKey, TagValue], Field(min_length=1)] | None = Field(None, description="At most `files.max_tags`.")


class BatchGet(_Body):
    """The files that are asked for."""

    FileIds: Annotated[list[FileIdText], Field(min_length=1, max_length=MAX_IDS)]


class CreatedByInfo(BaseModel):
    """Who attached a file."""

    ConnectUserArn: str | None = None
    AWSIdentityArn: str | None = None


class UploadUrl(BaseModel):
    """A link for an upload."""

    Url: str
    UrlExpiry: str = Field(examples=["2026-11-29T13:07:02.471Z"])
    HeadersToInclude: dict[str, str] = Field(examples=[{"Content-Type": "text/plain", "Content-Length": "5"}])


class DownloadUrl(BaseModel):
    """A link for a download."""

    Url: str
    UrlExpiry: str


class Started(BaseModel):
    """A file that was announced."""

    FileArn: str
    FileId: str
    CreationTime: str
    FileStatus: str
    CreatedBy: CreatedByInfo
    UploadUrlMetadata: UploadUrl


class AttachedFile(BaseModel):
    """What is known of a file."""

    FileArn: str
    FileId: str
    CreationTime: str
    FileStatus: str = Field(description="`PROCESSING`, `APPROVED`, `REJECTED` or `FAILED`.")
    FileName: str
    FileSizeInBytes: int
    AssociatedResourceArn: str
    FileUseCaseType: str
    CreatedBy: CreatedByInfo | None = None
    Tags: dict[str, str] | None = None


class Got(AttachedFile):
    """The same, with a link while it is approved."""

    DownloadUrlMetadata: DownloadUrl | None = None


class BatchError(BaseModel):
    """A file that the resource does not have."""

    ErrorCode: str
    ErrorMessage: str
    FileId: str


class Batch(BaseModel):
    """Those that the resource has, and those that it has not."""

    Files: list[AttachedFile]
    Errors: list[BatchError]


class Nothing(BaseModel):
    """An empty object."""


class Refused(BaseModel):
    """An error. The header `x-amzn-errortype` has the type, too."""

    type: str = Field(alias="__type", examples=["ResourceNotFoundException"])
    Message: str
    Reason: dict[str, str] | None = None


ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "`InvalidRequestException`: a field is wrong.", "model": Refused},
    401: {"description": "`MissingAuthenticationTokenException`, `UnrecognizedClientException`.", "model": Refused},
    403: {"description": "`AccessDeniedException`; `InvalidSignatureException` and the like.", "model": Refused},
    404: {"description": "`ResourceNotFoundException`: the resource has no such file, or the instance is another one.", "model": Refused},
    413: {"description": "`InvalidRequestException`: the body is too large.", "model": Refused},
    429: {"description": "`ThrottlingException`.", "model": Refused},
    500: {"description": "`InternalServiceException`.", "model": Refused},
    503: {"description": "`InternalServiceException`: try again.", "model": Refused},
}
STARTED_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    402: {"description": "`ServiceQuotaExceededException`: the resource or the tenant has too much.", "model": Refused},
    409: {"description": "`ResourceConflictException`: the token was used for a file with other fields.", "model": Refused},
}
