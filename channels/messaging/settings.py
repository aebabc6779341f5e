"""The settings of the section ``messaging``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

MAX_MEDIA_BYTES: Final = 15 * 1024 * 1024
"""The REST application reads no body beyond 16 MiB, and a form has its own lines around the file."""

DEFAULT_TYPES: Final = (
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "video/mp4",
    "audio/mpeg",
    "audio/mp4",
    "audio/ogg",
    "audio/amr",
    "audio/wav",
    "application/pdf",
    "text/plain",
    "text/csv",
    "text/vcard",
    "text/calendar",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
)
"""Types of files that people send one another. None of them is run by a browser or a desktop."""


class MessagingSettings(BaseModel):
    """Third-party messaging: bounds of messages and media, and how long they are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(
        default=1024 * 1024, ge=1024, le=15 * 1024 * 1024, description="Bytes of a request with messages; more is refused with 413."
    )
    max_channels: int = Field(default=1_000, ge=1, le=100_000, description="Channels of a tenant; one more is refused with 400.")
    max_messages: int = Field(default=100, ge=1, le=1_000, description="Messages of one request; more is refused with 413.")
    max_depth: int = Field(default=32, ge=4, le=64, description="Nesting of arrays and objects in a message.")
    event_bytes: int = Field(
        default=32 * 1024,
        ge=0,
        le=1024 * 1024,
        description="Messages up to this many bytes are part of their events on the hub; larger ones are fetched by REST.",
    )
    keep_messages_days: Annotated[float, Field(gt=0, le=36_500)] = Field(default=90, description="Days that messages are kept.")
    keep_media_days: Annotated[float, Field(gt=0, le=36_500)] = Field(default=30, description="Days that media are kept.")
    media_dir: Path | None = Field(
        default=None,
        description="Folder of the media; without it `media` in `data_dir`. Hubs that share a database need one that they share.",
    )
    max_media_bytes: int = Field(
        default=10 * 1024 * 1024, ge=1024, le=MAX_MEDIA_BYTES, description="Bytes of a file; more is refused with 413."
    )
    spool_channel_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of bodies of one channel's requests that are under way: they lie in files until their signature is checked; "
        "more is refused with 429.",
    )
    spool_bytes: int = Field(
        default=1024 * 1024 * 1024, ge=1024 * 1024, description="The same of all channels together; more is refused with 503."
    )
    spool_min_bytes_per_s: int = Field(
        default=16 * 1024,
        ge=0,
        description="Bytes a second, after the first two, below which a body that is not whole gives way where the others need its room.",
    )
    media_types: tuple[str, ...] = Field(
        default=DEFAULT_TYPES, min_length=1, description="Types of files that are taken, by content; `image/*` for all of a kind."
    )
    media_link_hours: Annotated[float, Field(gt=0, le=24 * 366)] = Field(
        default=24 * 7, description="Hours that the links to media in outgoing messages are good for: longer than `outbox.retry_s` in all."
    )
