"""Settings of the nodes of a hub and the links between them (section ``cluster``, and those that begin with ``link_``), and of the
ownership of tenants (section ``ownership``).
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.cluster.link.address import parse_listen, parse_url

MIB = 1024 * 1024


def check_listen(value: str) -> str:
    """A validator of ``link_listen``."""
    parse_listen(value)
    return value


def check_url(value: str) -> str:
    """A validator of ``link_url``."""
    return parse_url(value).url


class ClusterSettings(BaseModel):
    """The nodes of a hub and the links between them (docs/scaling.md#nodes-and-links)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beat_s: float = Field(default=0.5, gt=0, le=60, description="Seconds between two words of a node, in Redis, that it lives.")
    lapse_s: float = Field(
        default=4.0,
        gt=0,
        le=600,
        description="Seconds after its last word at which a node is taken for dead, where it did not say that it stops. At least four "
        "times `beat_s`.",
    )
    clock_s: float = Field(
        default=60, gt=0, le=86_400, description="Seconds that the clocks of nodes may be apart, and from the clock of Redis."
    )
    ping_s: float = Field(default=1.0, gt=0, le=60, description="Seconds after which a silent link is asked whether it lives.")
    dead_s: float = Field(default=3.0, gt=0, le=600, description="Seconds of silence after which a link is broken. More than `ping_s`.")
    dial_s: float = Field(
        default=3.0, gt=0, le=60, description="Seconds within which a link must be made, with the proof that both nodes know the secret."
    )
    confirm_s: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Seconds that the owner of a session waits for the word that a relayed answer was written; then its messages are "
        "queued again.",
    )
    patience_s: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Seconds that a relayed request may take beyond `limits.timeout_ms`; then it is answered 503.",
    )
    ask_s: float = Field(
        default=1.0, gt=0, le=60, description="Seconds that another node may take to say whether a browser's cookie is of a session there."
    )
    max_calls: int = Field(
        default=65_536,
        ge=1,
        le=10_000_000,
        description="Calls that one node has open to another at a time. A request of a client that another node holds is one.",
    )
    call_window_bytes: int = Field(
        default=MIB, ge=1024, le=1024 * MIB, description="Bytes of one call that may be unread, in each direction; then the sender waits."
    )
    link_window_bytes: int = Field(
        default=64 * MIB, ge=4096, le=4096 * MIB, description="Bytes of all calls of a link that may be unread, in each direction."
    )
    max_strangers: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Connections to `link_listen` that have not shown yet that they know the secret. One more ends the oldest.",
    )


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

    balance_s: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds between two looks at whether this node owns more tenants than others. If it does, it hands over one that "
        "nobody watches. 0: never.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.renew_s < self.give_up_s < self.term_s:
            raise ValueError(
                f"expected renew_s < give_up_s < term_s, got {self.renew_s:g}, {self.give_up_s:g} and {self.term_s:g}: "
                "an owner stops before its lease ends"
            )
        return self
