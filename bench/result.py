"""The results of a benchmark: figures with their goals and with the figures measured beside them, and the size of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """One figure."""

    what: str
    figure: str
    value: float
    unit: str
    beside: float | None = None
    """The same figure for the limit of the kernel."""
    goal: str = ""
    met: bool | None = None


@dataclass
class Result:
    """The result of one scenario."""

    name: str
    rows: list[Row] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """The size of a run. The goals are those of the full size."""

    clients: int = 1_000
    many: int = 10_000
    runs: int = 5
    seconds: float = 10.0
    deliveries: int = 200_000
    """The number of deliveries in one run."""

    @property
    def full(self) -> bool:
        """Whether the goals apply."""
        return self.clients >= 1_000 and self.many >= 10_000


TINY = Size(clients=20, many=150, runs=1, seconds=0.3, deliveries=1_000)


def goal(row: Row, size: Size, text: str, met: bool) -> Row:
    if size.full:
        row.goal, row.met = text, met
    return row
