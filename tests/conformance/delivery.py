"""Who hears what: publishes, then one more message that everybody hears, so that silence is seen without waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from tests.conformance.clients import Client, Message


async def heard(subscriber: Client, publisher: Client, names: Sequence[str], end: str) -> list[Message]:
    """Publish to each of ``names`` its own name, then to ``end``, which ``subscriber`` must hear; returns what it heard before that."""
    for name in names:
        await publisher.publish(name, name)
    return await heard_until_end(subscriber, publisher, end)


async def heard_until_end(subscriber: Client, publisher: Client, end: str) -> list[Message]:
    """Publish to ``end``, which ``subscriber`` must hear; returns all that it heard before that."""
    reply = await publisher.publish(end, "end")
    assert reply.get("successful") is True, f"publish to {end}: {reply}"
    return (await subscriber.receive_until(lambda event: event["channel"] == end))[:-1]


async def succeeded(*replies: Coroutine[Any, Any, Message]) -> None:
    """Await replies one after the other, each of which must be a success."""
    waiting = deque(replies)
    try:
        while waiting:
            reply = await waiting.popleft()
            assert reply.get("successful") is True, f"expected success, got {reply}"
    finally:
        for left in waiting:
            left.close()
