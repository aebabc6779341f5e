"""The bodies of the Participant service, with the names and bounds of Amazon's API (docs/protocol/participants.md#calls). Members that are
not known are not looked at: newer clients send more.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from channels.events import parse_time
from channels.files.participants.models import EVENTS, TEXT_TYPES
from channels.files.participants.service_items import MAX_CONTENT_BYTES

MAX_RESULTS: Final = 10
"""Items of a page, if nothing else or 0 is asked for."""

_ClientToken = Annotated[str, Field(max_length=500)]
_Needed = Annotated[str, Field(min_length=1, max_length=500)]
_Id = Annotated[str, Field(min_length=1, max_length=256)]
_Content = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT_BYTES)]


def _one_of(*known: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return value

    return AfterValidator(check)


def _time(value: str) -> str:
    try:
        parse_time(value)
    except ValueError as error:
        raise ValueError(f"expected {error}") from None
    return value


class Body(BaseModel):
    """A body of a call."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class CreateConnection(Body):
    """``CreateParticipantConnection``."""

    Type: Annotated[list[str], Field(min_length=1)] | None = Field(None, description="`WEBSOCKET`, `CONNECTION_CREDENTIALS` or both.")
    ConnectParticipant: bool | None = None


class StartUpload(Body):
    """``StartAttachmentUpload``."""

    AttachmentName: _Id
    AttachmentSizeInBytes: Annotated[int, Field(ge=1)]
    ContentType: Annotated[str, Field(min_length=1, max_length=255)]
    ClientToken: _Needed


class CompleteUpload(Body):
    """``CompleteAttachmentUpload``."""

    AttachmentIds: Annotated[list[_Id], Field(min_length=1, max_length=1)]
    ClientToken: _Needed


class GetAttachment(Body):
    """``GetAttachment``."""

    AttachmentId: _Id
    UrlExpiryInSeconds: Annotated[int, Field(ge=5, le=300)] = 300
    UrlContentDisposition: Literal["INLINE", "ATTACHMENT"] = "ATTACHMENT"


class SendMessage(Body):
    """``SendMessage``."""

    ContentType: Annotated[str, Field(min_length=1, max_length=100), _one_of(*TEXT_TYPES)]
    Content: _Content
    ClientToken: _ClientToken | None = None


class SendEvent(Body):
    """``SendEvent``."""

    ContentType: Annotated[str, Field(min_length=1, max_length=100), _one_of(*EVENTS)]
    Content: _Content | None = None
    ClientToken: _ClientToken | None = None


class Position(Body):
    """Where a page of a transcript begins."""

    Id: _Id | None = None
    AbsoluteTime: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_time)] | None = None
    MostRecent: Annotated[int, Field(ge=0, le=100)] | None = None


class GetTranscript(Body):
    """``GetTranscript``."""

    ContactId: _Id | None = None
    MaxResults: Annotated[int, Field(ge=0, le=100)] = MAX_RESULTS
    NextToken: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    ScanDirection: Literal["FORWARD", "BACKWARD"] | None = None
    SortOrder: Literal["DESCENDING", "ASCENDING"] = "DESCENDING"
    StartPosition: Position = Position()


class Disconnect(Body):
    """``DisconnectParticipant``."""

    ClientToken: _ClientToken | None = None


class WebsocketDetails(BaseModel):
    """Where a participant's WebSocket is opened."""

    Url: str = Field(max_length=2000)
    ConnectionExpiry: str


class Credentials(BaseModel):
    """What all other calls carry as ``X-Amz-Bearer``."""

    ConnectionToken: str = Field(max_length=1000)
    Expiry: str


class ConnectionDetails(BaseModel):
    """Answer of ``CreateParticipantConnection``."""

    Websocket: WebsocketDetails | None = None
    ConnectionCredentials: Credentials | None = None


class UploadDetails(BaseModel):
    """How the bytes of a file are sent."""

    Url: str
    UrlExpiry: str
    HeadersToInclude: dict[str, str]


class StartedUpload(BaseModel):
    """Answer of ``StartAttachmentUpload``."""

    AttachmentId: str
    UploadMetadata: UploadDetails


class AttachmentLink(BaseModel):
    """Answer of ``GetAttachment``."""

    Url: str
    UrlExpiry: str
    AttachmentSizeInBytes: int


class SentAnswer(BaseModel):
    """Answer of ``SendMessage`` and ``SendEvent``."""

    Id: str
    AbsoluteTime: str


class TranscriptPage(BaseModel):
    """Answer of ``GetTranscript``."""

    InitialContactId: str
    Transcript: list[dict[str, Any]]
    NextToken: str | None = None


class Empty(BaseModel):
    """An answer without members."""
