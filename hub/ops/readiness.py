"""Settings of ``/readyz`` (section ``readiness``)."""

from pydantic import BaseModel, ConfigDict, Field


class ReadinessSettings(BaseModel):
    """What `/readyz` says (docs/operations.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strict: bool = Field(
        default=False,
        description="Answer 503 also while parts fail that all nodes share, such as PostgreSQL; else the answer is 200 and `degraded`.",
    )
    look_s: float = Field(
        default=1.0, gt=0, le=3600, description="Seconds between two looks at the databases, by which trouble and recovery are noticed."
    )
    min_free_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=0,
        description="Free space of the disk of `data_dir` below which the hub is not ready: what is accepted must find room.",
    )
