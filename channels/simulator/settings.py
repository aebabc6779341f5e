"""The settings of the section ``simulator``: the contact centre that ``--demo`` runs."""

from pydantic import BaseModel, ConfigDict, Field


class SimulatorSettings(BaseModel):
    """How large and how busy the simulated centre is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: int = Field(40, ge=2, le=5000, description="Agents of the simulated centre; about seven of ten are logged in at any hour.")
    seed: int | None = Field(None, description="Seed of the random numbers; without it every start is different.")
    load: float = Field(1.0, gt=0, le=2, description="Share of the agents' time that customers fill; above 1 queues grow without end.")
    zone: str | None = Field(
        None, description="Time zone whose clock the day follows, an IANA name; without it the zone of the statistics."
    )
