"""Two workers beside one hub: what each can deliver while a core is left for each process.

A machine with few cores runs generator, workers and Valkey on the same ones, so the rate is reckoned from CPU time: what a hub delivers in
a second of its CPU, and what two workers deliver until the busier one has used a second of its own.

With one message in flight each delivery is a frame. With more, what comes while a round of writing is under way leaves in the next
one. Half as many clients make a round half as long, so fewer messages share a frame and the same deliveries take more of them, as long as a
worker has time for that. So there is a third run, in which each process of a hub has a share of a core only: none has time to spare, the
generator has, and the rate is what the clock says.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.generator import Answer, Generator
from bench.machine import children, cpu_us, median, pin
from bench.result import Result, Row, Size, goal
from bench.servers import SERVER_CORE, UNLIMITED, Hub
from bench.shares import shares
from tests.hub.storage.backends import running_postgres
from tests.support.hub_process import HubProcess

WORKERS = 2
SHARE = 0.1
"""The share of a core that each process of a hub has in the run without time to spare."""
PUBLISHERS = 32
"""Of either hub, in turns: so many that the kernel spreads them over both workers."""


class _Workers:
    """A hub with workers, on PostgreSQL and the bundled Valkey."""

    def __init__(self, folder: Path, database_url: str) -> None:
        flags = ("--open", "--workers", str(WORKERS), "--database-url", database_url)
        self._process = HubProcess(folder, flags, {"HUB_LOG_LEVEL": "info", "HUB_LOG_FORMAT": "json", **UNLIMITED})
        self._process.start()
        self._process.wait_logged('"listening"')
        self.port = self._process.port
        self.pid = self._process.process.pid
        started = [pid for pid in children(self.pid) if pid != self.pid]
        named = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in started}
        (self.valkey,) = (pid for pid in started if b"valkey" in named[pid])
        self.workers = [pid for pid in started if pid != self.valkey]
        for number, pid in enumerate(self.workers):
            pin(pid, (SERVER_CORE + number) % (os.cpu_count() or 1))

    def close(self) -> None:
        self._process.close()


@contextmanager
def _two() -> Iterator[_Workers]:
    with running_postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        made = _Workers(Path(folder), postgres.url("postgres"))
        try:
            yield made
        finally:
            made.close()


def _run(generator: Generator, group: str, pids: list[int], size: Size, messages: int, window: int) -> Answer:
    """Publish to the subscribers of a group; the answer has the CPU microseconds of each process, in their order."""
    before = [cpu_us(pid) for pid in pids]
    answer = generator(
        "rounds", from_=f"{group}p", to=f"{group}s", channel="/bench/0", size=200, messages=messages, window=window, each=size.clients
    )
    answer["cpu_us_each"] = [cpu_us(pid) - was for pid, was in zip(pids, before, strict=True)]
    return answer


def workers(size: Size) -> Result:
    """The fan-out of one channel by one hub and by two workers, in turns."""
    result = Result("workers")
    messages = max(5, size.deliveries // size.clients)
    generator, one = Generator(), Hub()
    try:
        with _two() as two:
            for group, port in (("o", one.port), ("t", two.port)):
                generator("open", group=f"{group}s", count=size.clients, channel="/bench/0", proto="bayeux-ws", port=port, path="/cometd")
                generator("open", group=f"{group}p", count=PUBLISHERS, proto="bayeux-ws", port=port, path="/cometd", per=0)
            for window in (1, 20):
                _rows(result, generator, one, two, size, messages * min(window, 5), window)
            _rows_of_shares(result, generator, one, two, size, messages)
    finally:
        generator.close()
        one.close()
    return result


def _rows(result: Result, generator: Generator, one: Hub, two: _Workers, size: Size, messages: int, window: int) -> None:
    pids = [*two.workers, two.valkey]
    _run(generator, "o", [one.pid], size, messages // 4 + 1, window)
    _run(generator, "t", pids, size, messages // 4 + 1, window)
    runs = [
        (_run(generator, "o", [one.pid], size, messages, window), _run(generator, "t", pids, size, messages, window))
        for _ in range(size.runs)
    ]
    result.detail[f"window {window}"] = runs
    alone = [answer["deliveries"] / answer["cpu_us_each"][0] * 1e6 for answer, _ in runs]
    together = [answer["deliveries"] / max(answer["cpu_us_each"][:-1]) * 1e6 for _, answer in runs]
    share = [answer["cpu_us_each"][-1] / sum(answer["cpu_us_each"][:-1]) for _, answer in runs]
    ratio = median(t / o for t, o in zip(together, alone, strict=True))
    frames_alone = [answer["frames"] / answer["cpu_us_each"][0] * 1e6 for answer, _ in runs]
    frames_together = [answer["frames"] / max(answer["cpu_us_each"][:-1]) * 1e6 for _, answer in runs]
    frames = median(t / o for t, o in zip(frames_together, frames_alone, strict=True))
    what = f"{size.clients:,} subscribers, {window} in flight"
    row = Row(what, f"deliveries/s of {WORKERS} workers, a core each", median(together), "")
    result.rows += [
        Row(what, "deliveries/s of one hub, a core", median(alone), ""),
        goal(row, size, f"at least {0.85 * WORKERS:g} x one's: {ratio:.2f}", ratio >= 0.85 * WORKERS),
        Row(what, "frames/s of one hub, a core", median(frames_alone), ""),
        Row(what, f"frames/s of {WORKERS} workers, a core each: {frames:.2f} x one's", median(frames_together), ""),
        Row(what, "Valkey's CPU beside that of the workers", 100 * median(share), "%"),
    ]


def _rows_of_shares(result: Result, generator: Generator, one: Hub, two: _Workers, size: Size, messages: int) -> None:
    """The same with 20 messages in flight, while each process has :data:`SHARE` of a core."""
    what = f"{size.clients:,} subscribers, 20 in flight, {SHARE:g} of a core each"

    def rate(group: str, pids: list[int]) -> float | None:
        with shares(pids, SHARE) as limited:
            answer = _run(generator, group, pids, size, messages, 20) if limited else None
        return None if answer is None else answer["deliveries"] / answer["seconds"]

    runs = [(rate("o", [one.pid]), rate("t", two.workers)) for _ in range(size.runs)]
    found = [(alone, together) for alone, together in runs if alone is not None and together is not None]
    if not found:
        result.rows.append(Row(what, "not measured: no right to make a cgroup with a share of the CPU", 0, ""))
        return
    result.detail["shares"] = found
    ratio = median(together / alone for alone, together in found)
    row = Row(what, f"deliveries/s of {WORKERS} workers", median(together for _, together in found), "")
    result.rows += [
        Row(what, "deliveries/s of one hub", median(alone for alone, _ in found), ""),
        goal(row, size, f"at least {0.85 * WORKERS:g} x one's: {ratio:.2f}", ratio >= 0.85 * WORKERS),
    ]
