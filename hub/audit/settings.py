"""Settings of the audit log (section ``audit``)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AuditSettings(BaseModel):
    """The audit log: who changed or tried what (docs/audit.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention_days: int = Field(default=365, ge=1, le=36_500, description="Days for which the audit log keeps a row.")
    failures_per_minute: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Rows about failed and braked sign-ins that a node writes in a minute for one tenant; more are told by one row with "
        "their number. Everybody who reaches the sign-in page can cause them.",
    )
    grants_per_minute: int = Field(
        default=600,
        ge=1,
        le=100_000,
        description="Rows about sign-ins that succeeded, and tokens that were issued and refreshed, that a node writes in a minute for one "
        "tenant, as many about sign-outs, ends of tokens and answers for devices, and as many about participants of chats; more are told "
        "by one row with their number.",
    )
