"""Settings of ``hub serve --workers N`` (section ``supervision``)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=3600)]


class SupervisionSettings(BaseModel):
    """How the parent of several workers watches them, and the Valkey that it starts where no Redis is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    restart_min_s: Seconds = Field(default=0.2, description="The pause before a process that died is started again.")
    restart_max_s: Seconds = Field(default=5, description="The longest such pause: each is twice the one before.")
    max_deaths: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="So many deaths of one worker before it was ready, within `deaths_within_s`, end the whole hub with exit code 1.",
    )
    deaths_within_s: Seconds = Field(
        default=60, description="The time in which `max_deaths` are counted. A worker that lived so long is well."
    )
    beat_s: Seconds = Field(default=1, description="Each worker shows its parent so often that its event loop runs.")
    quiet_s: Seconds = Field(
        default=5, description="A worker that shows nothing for so long gets no new connections until it shows something again."
    )
    silent_s: Seconds = Field(
        default=30, description="A worker that shows nothing for so long writes where it hangs to its log (SIGABRT), and is started again."
    )
    first_beat_s: Seconds = Field(default=120, description="The same for a worker that has not shown anything yet: it loads its code.")
    kill_after_s: Seconds = Field(default=10, description="After SIGABRT, or after its time to drain, a worker has so long before SIGKILL.")
    settle_s: Seconds = Field(
        default=1, description="A worker that is replaced serves the connections that it has accepted for so long at least."
    )
    metrics_s: Seconds = Field(default=1, description="A worker whose metrics do not come in this time is told as silent in `/metrics`.")
    appendfsync: Literal["always", "everysec", "no"] = Field(
        default="always",
        description="When the Valkey that comes with the hub writes messages of log channels to the disk: `always` before they are "
        "acknowledged, as a hub with one worker does, `everysec` within a second.",
    )
