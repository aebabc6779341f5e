"""Settings of the ownership of tenants (section ``ownership``)."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class OwnershipSettings(BaseModel):
    """Which node keeps the statistics of a tenant: terms of the leases in PostgreSQL (docs/scaling.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    term_s: float = Field(default=10.0, gt=0, le=3600, description="Seconds after which a lease that is not renewed ends.")
    renew_s: float = Field(default=3.0, gt=0, le=3600, description="Seconds between two renewals of a lease.")
    give_up_s: float = Field(
        default=7.0,
        gt=0,
        le=3600,
        description="Seconds of its own clock after which an owner that could not renew stops, before the lease ends: "
        "more than `renew_s`, less than `term_s`.",
    )
    look_s: float = Field(default=1.0, gt=0, le=60, description="Seconds between two looks at who owns which tenant.")
    rank_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Seconds that a node waits before it takes a free tenant, for each node that comes before it: so tenants spread.",
    )
    find_s: float = Field(
        default=3.0, ge=0, le=60, description="Seconds that a request waits for a tenant's owner to appear before it is answered 503."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.renew_s < self.give_up_s < self.term_s:
            raise ValueError(
                f"expected renew_s < give_up_s < term_s, got {self.renew_s:g}, {self.give_up_s:g} and {self.term_s:g}: "
                "an owner stops before its lease ends"
            )
        return self
