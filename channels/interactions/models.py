"""What /openapi.json says of interactions."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from pydantic import BaseModel, Field

from channels.interactions.life import State
from hub.security.api import Status


class InteractionEntry(BaseModel):
    """An interaction. Times in milliseconds since 1970."""

    id: str
    mediaType: str = Field(examples=["workitem"])
    interactionSubtype: str = Field(examples=["InboundNew"])
    state: State
    userData: dict[str, Any]
    createdAt: int
    selfUri: str
    openMediaService: str | None = Field(default=None, description="Missing for one that events told of.")
    externalId: str | None = None
    parentInteractionId: str | None = None
    receivedAt: str | None = Field(default=None, description="As it was given.")
    stoppedAt: int | None = None
    reasonSystemName: str | None = None
    reasonDescription: str | None = None


class InteractionAnswer(BaseModel):
    """Envelope of an interaction."""

    status: Status
    data: InteractionEntry


class Interactions(BaseModel):
    """A page of interactions, the newest first."""

    interactions: list[InteractionEntry]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class InteractionsAnswer(BaseModel):
    """Envelope of a page of interactions."""

    status: Status
    data: Interactions


ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "The tenant has no such interaction."},
    413: {"description": "The body is larger than a request may be."},
    503: {"description": "The database cannot be used now; nothing was changed."},
}


def body_of(shape: type[msgspec.Struct], *, required: bool) -> dict[str, Any]:
    """The request body for ``/openapi.json``: the route reads and checks it itself, so FastAPI does not know of it."""
    (_,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    (inner,) = definitions.values()
    schema = {
        "type": "object",
        "properties": {"data": inner, "operationId": {"type": "string", "description": "Taken, and not used."}},
        "additionalProperties": False,
        **({"required": ["data"]} if required else {}),
    }
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
