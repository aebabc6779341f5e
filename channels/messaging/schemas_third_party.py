"""The bodies of answers to third parties. ``MediumData`` and ``MediumAnswer`` are names of ``/openapi.json``, of which clients generate
their code, and stay.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from channels.messaging.media_links import SCHEME
from hub.http.schemas import Status


class Ids(BaseModel):
    """The ids of messages that were taken."""

    ids: list[str] = Field(examples=[["1613473893265-0"]])


class IdsAnswer(BaseModel):
    """Envelope of what was taken; `data` is missing where there were receipts alone."""

    status: Status
    data: Ids | None = None


class MediumData(BaseModel):
    """A media resource."""

    mediaId: str = Field(examples=["bb4a9f86-dbbb-4464-a669-650da94fbad6"])
    url: str = Field(description="What stands for it in messages.", examples=[f"{SCHEME}bb4a9f86-dbbb-4464-a669-650da94fbad6"])
    filename: str = Field(examples=["MyImage"])
    mimetype: str = Field(examples=["image/jpeg"])
    length: int = Field(description="Bytes.")


class MediumAnswer(BaseModel):
    """Envelope of a media resource."""

    status: Status
    data: MediumData
