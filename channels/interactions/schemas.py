"""The bodies of requests, which :mod:`.parsing` checks, and those of answers, as ``/openapi.json`` describes them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, Field

from channels.events import Id
from channels.interactions.state_machine import State
from hub.http.schemas import Status

NO_NUL: Final = r"^[^\x00]*$"
"""PostgreSQL's texts cannot hold a NUL."""

_Reason = Annotated[str, msgspec.Meta(max_length=255, pattern=NO_NUL)]
_Description = Annotated[str, msgspec.Meta(max_length=4_000, pattern=NO_NUL)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Create(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """``createInteractionRequest``."""

    external_id: Id | None = None
    parent_interaction_id: Id | None = None
    received_at: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    user_data: dict[_Name, Any] = {}


class Stop(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """``stopInteractionRequest``."""

    reason_system_name: _Reason = ""
    reason_description: _Description = ""


class Change(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """``changePropertiesRequest``."""

    changed_properties: dict[_Name, Any] = {}
    added_properties: dict[_Name, Any] = {}
    deleted_properties: list[_Name] = []


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


def body_schema(shape: type[msgspec.Struct], *, required: bool) -> dict[str, Any]:
    """The schema of a body whose ``data`` is of this shape; ``required``: ``data`` must be there."""
    (_,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    (inner,) = definitions.values()
    return {
        "type": "object",
        "properties": {"data": inner, "operationId": {"type": "string", "description": "Taken, and not used."}},
        "additionalProperties": False,
        **({"required": ["data"]} if required else {}),
    }
