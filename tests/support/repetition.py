"""Repeats tests of faults in `make test-long`: one that is marked ``repeated`` runs there as often as ``HUB_TEST_KILLS`` says."""

from __future__ import annotations

import os
from typing import Final

import pytest

TIMES: Final = int(os.environ.get("HUB_TEST_KILLS", "200"))

_ROUND: Final = "round_of_repetition"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "repeated: a fault at a moment that no test chooses; `make test-long` repeats it")


@pytest.fixture
def round_of_repetition(request: pytest.FixtureRequest) -> int:
    """The number of this round, from 0."""
    number: int = request.param
    return number


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make the rounds, where long tests are asked for; there the mark ``long`` is on them."""
    definition = metafunc.definition
    if definition.get_closest_marker("repeated") is None or definition.get_closest_marker("long") is not None:
        return
    if metafunc.config.getoption("markexpr") == "long":
        metafunc.fixturenames.append(_ROUND)
        rounds = [pytest.param(number, marks=pytest.mark.long) for number in range(TIMES)]
        metafunc.parametrize(_ROUND, rounds, indirect=True, ids=str)
