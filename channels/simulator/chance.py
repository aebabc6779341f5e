"""Random numbers with a seed, in the distributions that the model uses."""

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """One generator of random numbers. Python keeps what a seed yields stable for these calls, so a seed names a whole day."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- a simulation wants reproducible chance, not secrets

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self._random.random() < probability

    def share(self) -> float:
        """Uniform from 0 up to 1."""
        return self._random.random()

    def between(self, low: float, high: float) -> float:
        """Uniform between two bounds."""
        return self._random.uniform(low, high)

    def exponential(self, mean: float) -> float:
        """The time to the next of events that know nothing of one another; patience."""
        return self._random.expovariate(1 / mean)

    def log_normal(self, mean: float, sigma: float) -> float:
        """How long people take for something: log-normal with this mean, ``sigma`` being the deviation of the logarithm."""
        return self._random.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)

    def choice(self, options: Sequence[T]) -> T:
        """One of them, each as likely as the others."""
        return self._random.choice(options)

    def weighted(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """One of them, by weight."""
        return self._random.choices(options, weights)[0]

    def number(self, low: int, high: int) -> int:
        """A whole number from ``low`` up to but not ``high``."""
        return self._random.randrange(low, high)
