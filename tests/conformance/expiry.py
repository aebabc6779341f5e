"""Sessions end when nobody is heard of any more. Whoever asks whether one has ended puts its clock back: so wait, then ask."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.clients import Client, Message

SLACK_S = 0.3
SWEEP_S = 1.0
"""CometD looks for sessions that are over once a second."""
TRIES = 3


def overdue_s(server: Any) -> float:
    """Seconds after its last connect's reply by which a session has ended."""
    return float(server.max_interval_ms / 1000 + (SLACK_S if server.hub else SWEEP_S))


async def expired(server: Any, client: Client) -> Message:
    """Wait until the client's session has ended for want of a connect; returns the reply to its next connect.

    Raises:
        AssertionError: it did not end.
    """
    for _ in range(TRIES):
        await asyncio.sleep(overdue_s(server))
        reply = await client.connect(timeout=0)
        if reply["successful"] is not True:
            return reply
    raise AssertionError(f"the session still answers after {TRIES} times maxInterval: {reply}")
