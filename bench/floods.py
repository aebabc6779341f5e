"""Honest long-polling clients beside others that keep the hub busy: half-sent heads, handshakes without a credential, guessed passwords,
and requests for tokens; all at once, and each kind by itself.

The figure is the hub's: the process that floods shares a core with the one that measures, and runs only while that one is idle.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench.flooding import SLOW_HEADS, kinds
from bench.generator import Answer, Generator, pinned
from bench.machine import median, whole_cpu_us
from bench.result import Result, Row, Size, goal
from bench.servers import GENERATOR_CORE, Hub

RATE = 100
"""Requests of each kind in a second."""

INTERVAL_US = 50_000
HONEST_SHARE = 10
"""A tenth of ``size.clients`` is honest: how long a message is under way is measured, not how many the hub can deliver."""

LIMITS = {
    "HUB_SIMULATOR__AGENTS": "2",
    # as they are by default: it is they that are tried
    "HUB_LIMITS__MAX_UNIDENTIFIED": "1000",
    "HUB_LIMITS__MAX_UNIDENTIFIED_PER_ADDRESS": "200",
}


@contextmanager
def flooded(port: int, kind: str | None = None) -> Iterator[Answer]:
    """A flood of one kind, or of all; what it was answered is known behind the block."""
    chosen = [] if kind is None else [kind]
    command = [*pinned(GENERATOR_CORE), sys.executable, "-m", "bench.flooding", str(port), str(RATE), *chosen]
    answered: Answer = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield answered
        finally:
            out, _ = process.communicate("")
    answered.update(json.loads(out))


def floods(size: Size) -> Result:
    """The latency of honest clients, quiet and beside a flood, alternating on one hub."""
    result = Result("floods")
    runs: dict[str, list[Answer]] = {what: [] for what in ("quiet", "all", SLOW_HEADS, *kinds(0))}
    clients = max(5, size.clients // HONEST_SHARE)
    hub = Hub(LIMITS, flags=("--demo",))
    generator = Generator()
    with tempfile.NamedTemporaryFile("w", suffix=".headers") as headers:
        headers.write(f"Authorization: Bearer {hub.process.token}\n" * clients)  # a line for each session
        headers.flush()
        honest = {"headers": headers.name}
        try:
            generator("open", group="s", count=clients, channel=hub.channel("0"), **(hub.subscribers("bayeux-polling") | honest))
            generator("open", group="p", count=1, **(hub.publishers() | honest))

            def run(seconds: float) -> Answer:
                before = whole_cpu_us(hub.pid)
                words = {"channel": hub.channel("0"), "size": 200, "batch": 1, "interval_us": INTERVAL_US, "each": clients}
                found = generator("rate", from_="p", to="s", seconds=seconds, **words)
                return found | {"busy": (whole_cpu_us(hub.pid) - before) / 1e6 / seconds}

            run(size.seconds)
            for _ in range(size.runs):
                for what, found in runs.items():
                    if what == "quiet":
                        found.append(run(size.seconds))
                        continue
                    with flooded(hub.port, None if what == "all" else what) as answered:
                        generator("idle", seconds=min(2.0, size.seconds))  # until the flood has begun
                        found.append(run(size.seconds if what == "all" else size.seconds / 2))
                    found[-1]["flood"] = answered
        finally:
            generator.close()
            hub.close()

    def ratio(kind: str) -> float:
        return median(flood["p99_ms"] / calm["p99_ms"] for flood, calm in zip(runs[kind], runs["quiet"], strict=True))

    def of(kind: str, figure: str) -> float:
        return median(each[figure] for each in runs[kind])

    what = f"{clients:,} polling clients, {1_000_000 // INTERVAL_US} messages/s"
    flood = f"the same, beside {RATE} handshakes, {RATE} sign-ins, {RATE} token requests a second, and 200 half-sent heads"
    result.rows += [
        Row(f"{what}, quiet", "p99", of("quiet", "p99_ms"), "ms"),
        goal(Row(flood, "p99", of("all", "p99_ms"), "ms"), size, f"at most 2 x quiet: {ratio('all'):.2f}", ratio("all") <= 2),
        Row(flood, "p50", of("all", "p50_ms"), "ms"),
        Row(f"{what}, quiet", "share of a core, with the threads of passwords", of("quiet", "busy"), ""),
        Row(flood, "share of a core, with the threads of passwords", of("all", "busy"), ""),
    ]
    result.rows += [Row(f"the same, beside {kind} alone", "p99 against quiet", ratio(kind), "x") for kind in (SLOW_HEADS, *kinds(0))]
    result.detail = dict(runs)
    return result
