"""Answers of ``/livez`` and ``/readyz``."""

from pydantic import BaseModel, Field


class PartHealth(BaseModel):
    """The state of a part."""

    status: str = Field(description="`ok` or `failing`.", examples=["ok"])
    message: str | None = Field(default=None, description="What is wrong.")


class Readiness(BaseModel):
    """The state of the hub and of each of its parts."""

    status: str = Field(
        description="`ok`; `degraded`: parts fail that all nodes share; `failing`: this node lacks something; `draining`.", examples=["ok"]
    )
    parts: dict[str, PartHealth] = Field(default_factory=dict, description="By name of the part.")
