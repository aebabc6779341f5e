"""How a part of the hub says what it counts and measures, without a metrics library. :mod:`hub.ops.metrics` shows it on ``/metrics``.

A part counts in a dataclass of integers. The docstring below a field is its HELP text, so each field has one::

    @dataclass(slots=True)
    class Counters:
        METRICS: ClassVar = (CounterFamily("events", "Events that were offered.", "outcome", {"taken": "taken", "late": "late"}),)

        taken: int = 0
        \"\"\"Events that were taken.\"\"\"
        late: int = 0
        \"\"\"Events that were refused because they came late.\"\"\"
        retries: int = 0
        \"\"\"Times that a write was tried again.\"\"\"

Registered as ``metrics.counters("ingest", counters)`` these are ``hub_ingest_events_total{outcome="taken"}``, ``...{outcome="late"}`` and
``hub_ingest_retries_total``.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, in seconds, for what happens within a process."""


class CounterFamily(NamedTuple):
    """One counter that several fields of a dataclass belong to, each under its own label value; or one field under another name."""

    name: str
    """Without ``hub_``, the part and ``_total``."""
    help: str
    label: str
    """Empty when ``fields`` has one field, whose counter bears no label."""
    fields: Mapping[str, str]
    """Field to label value."""


class Histogram:
    """Counts observations by buckets. Observing takes less than a microsecond."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS) -> None:
        """``bounds``: the upper bounds of the buckets, rising; one more bucket takes what is larger."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bucket alone, not cumulative."""
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count ``value``, ``times`` times. One below 0, which a clock that was set back gives, counts as 0."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)


class Gauge(NamedTuple):
    """A value that rises and falls, read at each scrape: ``hub_<name>``."""

    name: str
    help: str
    read: Callable[[], float]


class Count(NamedTuple):
    """A number that only rises, read at each scrape: ``hub_<name>_total``."""

    name: str
    help: str
    read: Callable[[], int]


class Latency(NamedTuple):
    """A histogram, or several by the values of one label: ``hub_<name>``."""

    name: str
    help: str
    source: Histogram | Mapping[str, Histogram]
    label: str = ""
    """Empty where there is one histogram."""
