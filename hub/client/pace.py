"""Sends events when they are due. Events that are due together are sent in one batch: at most 1,000, collected for at most 20 ms."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hub.client.producer import Outcome, Producer

BATCH_S: Final = 0.02
BATCH_EVENTS: Final = 1_000


class Due(NamedTuple):
    """An event and when to send it."""

    at_s: float
    """Seconds after the first event."""
    payload: bytes
    """The encoded CloudEvent."""
    simulated_ms: int = 0
    """The event's own time in milliseconds since 1970, for the progress line."""
    label: str = ""
    """The event's name in error texts, such as a line of a file."""


@dataclass(slots=True)
class Progress:
    """Counts of the events that were sent so far."""

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """The reasons for which events were refused, each with a count; the first ten name their event."""
    simulated_ms: int = 0

    def add(self, batch: list[Due], outcome: Outcome) -> None:
        """Count a batch."""
        self.sent += len(batch)
        self.accepted += outcome.accepted
        self.duplicates += outcome.duplicates
        self.simulated_ms = batch[-1].simulated_ms
        for index, why in outcome.refused:
            self.refuse(why, batch[index].label)
        if outcome.unreported:
            self.refused += outcome.unreported
            self.reasons["more of the same request, of which the hub did not tell"] += outcome.unreported

    def refuse(self, why: str, label: str = "") -> None:
        """Count an event that this program or the hub refused."""
        self.refused += 1
        self.reasons[f"{label}: {why}" if label and len(self.reasons) < 10 else why] += 1


async def send_paced(
    events: AsyncIterator[Due],
    producer: Producer,
    progress: Progress,
    *,
    stop: asyncio.Event,
    on_batch: Callable[[], None],
    batch_bytes: int = 4 * 1024 * 1024,
) -> None:
    """Send every event when it is due, until there are no more or ``stop`` is set. No event is sent before its time. A request has at most
    :data:`BATCH_EVENTS` events, and no more events are added when it has ``batch_bytes`` bytes.

    Raises:
        ProducerError: the hub could not be reached, or refuses whole requests.
    """
    loop = asyncio.get_running_loop()
    start: float | None = None
    batch: list[Due] = []
    size = 0
    stopped = asyncio.ensure_future(stop.wait())
    coming: asyncio.Future[Due] | None = None

    async def flush() -> None:
        nonlocal batch, size
        if batch:
            progress.add(batch, await producer.send([due.payload for due in batch]))
            on_batch()
            batch, size = [], 0

    try:
        while not stop.is_set():
            coming = asyncio.ensure_future(anext(events))
            # a slow source, such as a pipe, must not delay the events that it gave already
            await asyncio.wait({coming, stopped}, timeout=BATCH_S, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                await flush()
                await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                break
            try:
                due = coming.result()
            except StopAsyncIteration:
                break
            if start is None:
                start = loop.time() - due.at_s
            if start + due.at_s > loop.time():
                # events that are due are sent now; events that become due within the next BATCH_S seconds form the next batch
                await flush()
                await asyncio.wait({stopped}, timeout=max(start + due.at_s - loop.time(), BATCH_S))
                if stop.is_set():
                    break
            batch.append(due)
            size += len(due.payload)
            if len(batch) >= BATCH_EVENTS or size >= batch_bytes:
                await flush()
        await flush()
    finally:
        for future in (stopped, coming):
            if future is not None and not future.done():
                future.cancel()
