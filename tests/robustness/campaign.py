"""How a campaign is run: a short form in every run of the tests, and one that lasts ``HUB_TEST_MINUTES`` for `make test-long`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings

T = TypeVar("T", bound=Callable[..., object])

DEFAULT_MINUTES = 60.0

_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

SHORT = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=_CHECKS,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
"""The same examples in each run: what every change is checked with must not fail by chance."""

LONG = settings(SHORT, max_examples=500, derandomize=False)
"""One round of a long form; each round draws other examples."""


def seconds() -> float:
    """How long each long form lasts.

    Raises:
        ValueError: ``HUB_TEST_MINUTES`` is no positive number.
    """
    text = os.environ.get("HUB_TEST_MINUTES", str(DEFAULT_MINUTES))
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not 0 < minutes < float("inf"):
        raise ValueError(f"HUB_TEST_MINUTES: expected a number of minutes above 0, got {text!r}")
    return minutes * 60


def long_form(test: T) -> T:
    """Marks the long form of a campaign: `make test-long` alone runs it, and gives it all the time that it takes."""
    marked: T = pytest.mark.long(pytest.mark.timeout(2 * seconds() + 600)(test))
    return marked


def rounds(for_seconds: float) -> Iterator[random.Random]:
    """A source of chance for each round, until the time is over. Its seed is printed: pytest shows it beside a failure."""
    until = time.monotonic() + for_seconds
    while time.monotonic() < until:
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")
        yield random.Random(seed)


def repeat(one_round: Callable[[], object]) -> None:
    """Run a round that draws other examples each time, until the time of a long form is over."""
    until = time.monotonic() + seconds()
    while time.monotonic() < until:
        one_round()
