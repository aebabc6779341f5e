"""What the simulator counts."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What the simulator counts; ``/metrics`` reads them."""

    events: int = 0
    """Events that the simulated centre made."""
    refused: int = 0
    """Events of the simulated centre that ingest refused."""
    retries: int = 0
    """Batches that were offered again because the event log could not be written."""
