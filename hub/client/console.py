"""Runs commands that last until Ctrl-C, and shows the progress and the summary of commands that send events."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.status import Status

from hub.client.pace import BATCH_EVENTS, Due, Progress, send_paced
from hub.client.producer import Producer, ProducerError
from hub.client.standard_output import sentence
from hub.terminal import Console

REFUSED = 1
"""Exit code: some events were refused."""
FAILED = 2
"""Exit code: the hub could not be reached, or refused whole requests."""


async def _until_stopped(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 0


def run_to_end(work: Coroutine[Any, Any, int]) -> int:
    """Run a command until it ends, and return its exit code. Ctrl-C, SIGTERM, or a reader such as head(1) that closes the pipe end it with
    0; for the closed pipe one sentence is printed on standard error.
    """
    try:
        return asyncio.run(_until_stopped(work))
    except BrokenPipeError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(sentence(error), style="dim", markup=False)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports the closed pipe at its exit
        return 0


class Display:
    """Shows counts and rate on standard error. Without a terminal it prints only the summary."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._status: Status = console.status("connecting")
        self._began = time.monotonic()

    def __enter__(self) -> "Display":
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def update(self) -> None:
        """Show the present figures."""
        progress = self._progress
        parts = [f"{progress.sent:,} events", f"{progress.sent / max(time.monotonic() - self._began, 0.001):,.0f}/s"]
        if progress.simulated_ms:
            parts.append(f"{datetime.fromtimestamp(progress.simulated_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}")
        if progress.refused:
            parts.append(f"[red]{progress.refused:,} refused[/red]")
        self._status.update(" · ".join(parts))

    def summary(self) -> None:
        """Print the totals, and the reasons for which events were refused."""
        progress = self._progress
        took = time.monotonic() - self._began
        self._console.print(
            f"{progress.sent:,} events sent in {took:.1f} s: {progress.accepted:,} accepted, {progress.duplicates:,} repeats, "
            f"{progress.refused:,} refused",
            highlight=False,
        )
        for reason, times in progress.reasons.most_common(20):
            self._console.print(f"  [red]{times:,} x[/red] {escape(reason)}", highlight=False)


def _end(stop: asyncio.Event, producer: Producer) -> None:
    stop.set()
    producer.stop_trying()


async def run(
    events: Callable[[Progress], AsyncIterator[Due]], producer: Producer, *, closing: Callable[[], list[Due]] | None = None
) -> int:
    """Send events until there are no more or Ctrl-C comes; returns the exit code. ``events`` may count in its argument the events that it
    refuses itself. ``closing`` returns the events to send at the end, also after Ctrl-C.
    """
    console = Console(stderr=True, soft_wrap=True)
    progress = Progress()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, stop, producer)
    failed = ""
    try:
        with Display(console, progress) as display:
            async with producer:
                try:
                    await send_paced(events(progress), producer, progress, stop=stop, on_batch=display.update)
                    if closing is not None:
                        last = closing()
                        for at in range(0, len(last), BATCH_EVENTS):
                            batch = last[at : at + BATCH_EVENTS]
                            progress.add(batch, await producer.send([due.payload for due in batch]))
                except ProducerError as error:
                    failed = str(error)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    display.summary()
    if failed:
        console.print(f"[red]error:[/red] {escape(failed)}", highlight=False)
        return FAILED
    return REFUSED if progress.refused else 0
