"""The settings of the section ``files``."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork, model_validator

from channels.files.file_types import TYPES
from hub.ops.environment import split_list
from hub.outbox.guard import Guard

MAX_FILE_BYTES: Final = 100 * 1024 * 1024

DEFAULT_EXTENSIONS: Final = (
    "csv",
    "doc",
    "docx",
    "heic",
    "jfif",
    "jpeg",
    "jpg",
    "mov",
    "mp4",
    "pdf",
    "png",
    "ppt",
    "pptx",
    "rtf",
    "txt",
    "wav",
    "xls",
    "xlsx",
)
"""The types that Amazon Connect takes. None of them is run by a browser or a desktop."""


def _extensions(value: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(each.strip().lower().removeprefix(".") for each in value)
    for each in found:
        if each not in TYPES:
            raise ValueError(f"expected some of {', '.join(sorted(TYPES))}, got {each!r}")
    return found


def _split(value: object) -> object:
    return split_list(value) if isinstance(value, str) else value


class FilesSettings(BaseModel):
    """Bounds of files around conversations, how they are checked, and how long they are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: int = Field(default=20 * 1024 * 1024, ge=1, le=MAX_FILE_BYTES, description="Bytes of a file.")
    chat_files: int = Field(default=35, ge=1, le=1_000, description="Files of a chat.")
    participant_announced: int = Field(
        default=10, ge=1, le=1_000, description="Files that one participant of a chat has announced and not completed; then 402."
    )
    email_files: int = Field(default=10, ge=1, le=1_000, description="Files of an e-mail: of a resource that an ARN calls `email`.")
    resource_files: int = Field(default=100, ge=1, le=1_000, description="Files of any other resource, such as a case.")
    resource_bytes: int = Field(default=500 * 1024 * 1024, ge=1, description="Bytes of all files of a resource together.")
    tenant_files: int = Field(
        default=100_000,
        ge=1,
        description="Files of a tenant that are kept, without rejected and failed ones, and twice as many tokens of uploads; then 402.",
    )
    tenant_refused: int = Field(
        default=10_000, ge=1, description="Rejected and failed files of a tenant that are kept; beyond that the oldest are forgotten."
    )
    extensions: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_extensions)] = Field(
        default=DEFAULT_EXTENSIONS, min_length=1, description="Ends of the names of files that are taken; the content must be of that type."
    )
    max_tags: int = Field(default=50, ge=0, le=1_000, description="Tags of a file.")
    arn_region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="The region that stands in ARNs.")
    arn_account: str = Field(default="000000000000", pattern=r"^[0-9]{12}$", description="The account that stands in ARNs.")
    scanner_url: str = Field(
        default="",
        max_length=2_000,
        description="URL of a scanner that says of each file whether it may be read; without it the check of the content decides.",
    )
    scanner_networks: Annotated[tuple[IPvAnyNetwork, ...], BeforeValidator(_split)] = Field(
        default=(), description="Networks that are not public and in which the scanner may be, such as 127.0.0.0/8 for one beside the hub."
    )
    scanner_timeout_s: float = Field(default=60.0, gt=0, le=3600, description="Seconds in which the scanner must answer; else `REJECTED`.")
    scanner_attempts: int = Field(default=3, ge=1, le=10, description="How often the scanner is asked; after the last `REJECTED`.")
    scans: int = Field(default=8, ge=1, le=1_000, description="Files that the scanner looks at, at once; one tenant has half of them.")
    check_lease_s: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Seconds after which another hub of the same database looks at the content of a file whose check has not ended: "
        "the hub that looked at it was killed.",
    )
    keep_days: float = Field(default=365, gt=0, le=36_500, description="Days that a file is kept after it was decided.")
    max_chats: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Chats of a tenant that are not over; one more is refused with 429."
    )
    chat_participants: int = Field(default=50, ge=2, le=1_000, description="Participants in a chat at one time.")
    chat_sockets: int = Field(default=5, ge=1, le=100, description="WebSockets of one participant, on each node.")
    chat_calls_per_s: int = Field(
        default=20, ge=0, le=10_000, description="Calls of one participant in a second, messages among them, on each node; 0: any number."
    )
    chat_frames_per_s: int = Field(
        default=10, ge=0, le=10_000, description="Frames that a participant's WebSocket may send in a second; 0: any number."
    )
    chat_items: int = Field(
        default=10_000, ge=10, le=1_000_000, description="Items of a transcript; then no message is taken and nobody let in any more."
    )
    chat_idle_hours: float = Field(default=25, gt=0, le=24 * 366, description="Hours without a word after which a chat ends.")
    keep_chats_days: float = Field(default=365, gt=0, le=36_500, description="Days that a transcript is kept after its chat has ended.")
    keep_refused_days: float = Field(
        default=7,
        gt=0,
        le=36_500,
        description="Days that a rejected or failed file is known; `keep_days` if that is less.",
    )

    @model_validator(mode="after")
    def _reachable(self) -> FilesSettings:
        if self.scanner_url:
            try:
                Guard(self.scanner_networks, setting="files.scanner_networks").check_url(self.scanner_url)
            except ValueError as error:
                raise ValueError(f"scanner_{error}") from None
        return self
