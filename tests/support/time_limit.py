"""How long a test may take."""

from __future__ import annotations

import pytest


def time_limit(item: pytest.Item) -> float:
    """The seconds after which pytest-timeout fails the test: by its mark, the command line, or the configuration; 0: never."""
    mark = item.get_closest_marker("timeout")
    if mark is not None:
        return float(mark.args[0])
    option = item.config.getoption("timeout")
    return float(item.config.getini("timeout") or 0) if option is None else float(option)
