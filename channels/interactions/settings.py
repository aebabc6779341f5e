"""The settings of the section ``interactions``."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Medium = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


class InteractionsSettings(BaseModel):
    """Open media interactions, and how long interactions are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    media: Medium = Field(default="workitem", description="The medium of interactions of open media services.")
    service_media: dict[str, Medium] = Field(
        default_factory=dict, description='Services of another medium, such as {"mail": "email"}: by the name of the service.'
    )
    keep_days: Annotated[float, Field(gt=0, le=3_650)] = Field(default=30, description="Days that interactions are kept that are over.")
    max_user_data_bytes: int = Field(
        default=32 * 1024, ge=1_024, le=1024 * 1024, description="User data of one interaction, as JSON; more is refused."
    )
