"""Random numbers with a seed, in the distributions that the model uses."""

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """One generator of random numbers. Python keeps the numbers of a seed stable for these calls, so a seed identifies a simulated day."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- a simulation needs reproducible numbers, not secret ones

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
        """Exponential with this mean: the time between independent events, or a caller's patience."""
        return self._random.expovariate(1 / mean)

    def log_normal(self, mean: float, sigma: float) -> float:
        """Log-normal with this mean, for durations of work; ``sigma`` is the standard deviation of the logarithm."""
        return self._random.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options, all with the same probability."""
        return self._random.choice(options)

    def weighted(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """One of the options, with probabilities in proportion to the weights."""
        return self._random.choices(options, weights)[0]

    def number(self, low: int, high: int) -> int:
        """A whole number from ``low`` up to but not ``high``."""
        return self._random.randrange(low, high)
