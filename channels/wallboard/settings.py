"""The wallboard's settings: the section ``wallboard``."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Thresholds(BaseModel):
    """From where on a figure on the board asks for attention."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service_level_target: Annotated[float, Field(ge=0, le=100)] = Field(
        80, description="Service level, in percent, below which it is shown as a warning; named on the board as the target."
    )
    service_level_alarm: Annotated[float, Field(ge=0, le=100)] = Field(
        60, description="Service level, in percent, below which it is shown as an alarm."
    )
    wait_warning_s: Annotated[int, Field(ge=1)] = Field(60, description="Longest wait, in seconds, from which it is shown as a warning.")
    wait_alarm_s: Annotated[int, Field(ge=1)] = Field(180, description="Longest wait, in seconds, from which it is shown as an alarm.")


class WallboardSettings(BaseModel):
    """What the page at ``/`` shows and when it warns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[str, Field(min_length=1, max_length=80)] = Field("Contact centre", description="The name at the top of the board.")
    page_seconds: Annotated[int, Field(ge=3, le=3600)] = Field(
        10, description="On a wall, how long a page of agents or queues stays when not all fit on the screen."
    )
    thresholds: Thresholds = Field(default_factory=Thresholds, description="From where on a figure asks for attention.")
