"""The section ``clock`` of the settings."""

from pydantic import BaseModel, ConfigDict, Field


class ClockSettings(BaseModel):
    """When the time of day has leapt, and how long jobs do not believe it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    leap_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Seconds by which the time of day may go further than the monotonic clock between two looks of the jobs that delete "
        "or end what is old; where it has gone further, they go by the monotonic clock.",
    )
    hold_s: float = Field(
        default=86_400.0,
        ge=0,
        le=31_536_000,
        description="Seconds for which they do so; after that the new time of day is the right one. 0: at once.",
    )
