"""What the family counts; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """What is counted; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "ignored",
            "Events that changed nothing, by what they told: a start of what is known already, an end of what is over.",
            "event",
            {"ignored_started": "started", "ignored_finished": "finished"},
        ),
    )

    started: int = 0
    """Interactions that started."""
    finished: int = 0
    """Interactions that finished."""
    updated: int = 0
    """Changes of interactions' data."""
    ignored_started: int = 0
    """Events that start an interaction which is known already."""
    ignored_finished: int = 0
    """Events that finish an interaction which is over already."""
    finished_unknown: int = 0
    """Interactions that were not known before they finished. Their FINISHED is published all the same."""
    user_data_left_out: int = 0
    """Events that start an interaction with more user data than may be kept. The interaction is kept without it."""
    subtypes_left_out: int = 0
    """Starts and ends that were published without their subtype, because receivers would not know it."""
    events_missed: int = 0
    """Events that the log deleted before this family read them."""
    trimmed: int = 0
    """Finished interactions that were deleted for their age."""
