"""The settings of the section ``ingest``."""

from pydantic import BaseModel, ConfigDict, Field


class IngestSettings(BaseModel):
    """Bounds of what comes in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, le=1024 * 1024 * 1024, description="bytes of one request body; more is refused with 413"
    )
    max_events: int = Field(10_000, ge=1, le=1_000_000, description="events of one request; more is refused with 413")
    max_depth: int = Field(64, ge=2, le=512, description="nesting of arrays and objects in one event; deeper is an attack on a parser")
    repeats_s: int = Field(600, ge=1, le=86_400, description="seconds in which a second event of the same source and id counts as a repeat")
    answer_s: float = Field(
        10.0, gt=0, le=600, description="seconds within which the node that owns a tenant must have taken the events that another node got"
    )
    repeats_max: int = Field(
        1_000_000,
        ge=1,
        le=100_000_000,
        description="events of a tenant whose source and id are remembered; over it the oldest are forgotten early",
    )
