"""The settings of the section ``secure_email``."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hub.core.limits import MAX_BODY_BYTES
from hub.ops.environment import split_list

ALLOWED_TYPES = (
    "application/msword",
    "application/pdf",
    "application/rtf",
    "application/vnd.ms-excel",
    "application/vnd.ms-outlook",
    "application/vnd.ms-powerpoint",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/webp",
    "text/calendar",
    "text/csv",
    "text/plain",
    "text/vcard",
)
"""Pictures, texts and office documents without macros. No archives: nobody looks into them; no pages: they run scripts."""


_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")


def _types(value: object) -> object:
    split = split_list(value) if isinstance(value, str) else value
    if not isinstance(split, list | tuple) or not all(isinstance(item, str) for item in split):
        return split
    types = tuple(item.strip().lower() for item in split)
    for item in types:
        if _TYPE.fullmatch(item) is None:
            raise ValueError(f"expected types such as application/pdf or image/*, got {item}")
    return types


class SecureEmailSettings(BaseModel):
    """Bounds of secure e-mail, and how long it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(
        MAX_BODY_BYTES,
        ge=1024,
        le=MAX_BODY_BYTES,
        description="bytes of one request, attachments in base64 included; more is refused with 413",
    )
    max_text_bytes: int = Field(
        1024 * 1024, ge=1024, le=MAX_BODY_BYTES, description="bytes of the text, and of the HTML, of a secure e-mail"
    )
    max_user_data_bytes: int = Field(64 * 1024, ge=2, le=MAX_BODY_BYTES, description="bytes of the userdata of a secure e-mail, as JSON")
    max_attachments: int = Field(10, ge=0, le=100, description="attachments of a secure e-mail")
    max_attachment_bytes: int = Field(5 * 1024 * 1024, ge=1, le=MAX_BODY_BYTES, description="bytes of one attachment, base64 undone")
    allowed_types: Annotated[tuple[str, ...], BeforeValidator(_types)] = Field(
        ALLOWED_TYPES,
        description="types of files that may be attached, `image/*` for all pictures; what a file is, its content says; "
        "in the environment separated by commas",
    )
    keep_deleted_days: int = Field(
        365, ge=1, le=36_500, description="days that a secure e-mail is kept after it was deleted; one that is purged is gone at once"
    )
