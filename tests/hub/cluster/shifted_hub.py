"""``hub`` with a time of day that is moved by the seconds in the file ``$AHEAD_FILE``: ``python -m tests.hub.cluster.shifted_hub``."""

from __future__ import annotations

import os
import sys
import time

_time, _time_ns = time.time, time.time_ns


def _ahead() -> int:
    with open(os.environ["AHEAD_FILE"]) as file:
        return int(file.read())


time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + _ahead() * 1_000_000_000

from channels.main import cli  # noqa: E402  # with that time

sys.exit(cli())
