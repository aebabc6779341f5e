"""Ten thousand sessions come back to a hub after the one that they were on has died, while the hub serves others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.generator import Answer, Generator
from bench.machine import cpu_us, median, pin
from bench.result import Result, Row, Size, goal
from bench.servers import GENERATOR_CORE, Hub
from tests.support.redis_server import RedisServer, persistence, why_no_redis

DEAD = "dead0000dead" + "0" * 48
"""The clientId of a session of a node that lives no more: 12 digits say which one it was."""

BESIDE_INTERVAL_US = 10_000
BESIDE = 10
EXPECTED_MS = 1.2
"""About what a session costs: for so long the others are watched, beside fresh sessions and beside those that come back."""

AT_ONCE = 64
"""Sessions that are being set up at any time: enough that the hub has always something to do."""


@contextmanager
def _two_hubs() -> Iterator[tuple[Hub, Hub]]:
    """A hub, and the one that dies, over one Redis."""
    kind = "redis" if why_no_redis("redis") is None else "valkey"
    redis = RedisServer(kind, *persistence("everysec"))
    pin(redis.pid, GENERATOR_CORE)
    shared = {"HUB_REDIS_URL": redis.url, "HUB_SECRET": "of the benchmarks, 32 bytes or so"}
    hubs: list[Hub] = []
    try:
        hubs += [Hub(shared), Hub(shared)]
        yield hubs[0], hubs[1]
    finally:
        for hub in hubs:
            hub.close()
        redis.close()


class _Beside:
    """A publisher and its few subscribers, in a generator of their own: how long their messages take while something else goes on."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.generator = Generator()
        self.generator("open", group="few", count=BESIDE, channel=hub.channel("few"), **hub.subscribers("bayeux-ws"))
        self.generator("open", group="q", count=1, **hub.publishers())

    def run(self, seconds: float) -> Answer:
        return self.generator(
            "rate",
            from_="q",
            to="few",
            channel=self._hub.channel("few"),
            size=200,
            batch=1,
            interval_us=BESIDE_INTERVAL_US,
            seconds=seconds,
            each=BESIDE,
        )

    def while_(self, seconds: float, generator: Generator, **words: object) -> tuple[Answer, Answer]:
        """The same for so long while the other generator opens sessions, and then idle until it has opened them."""
        with ThreadPoolExecutor(1) as threads:
            opening = threads.submit(generator, "open", **words)
            run = self.run(seconds)
            while not opening.done():
                self.generator("idle", seconds=0.2)  # its sessions answer what comes, else the hub forgets them
            return run, opening.result()


def comeback(size: Size) -> Result:
    """Fresh sessions, then as many that come back; CPU of the hub for each, and the latency of others meanwhile."""
    result = Result("comeback")
    fresh, back, quiet, meanwhile = [], [], [], []
    for _ in range(size.runs):
        with _two_hubs() as (hub, dying):
            beside = _Beside(hub)
            opener = Generator()
            try:
                opener("open", group="w", count=max(1, size.many // 100), channel=hub.channel("w"), **hub.subscribers("bayeux-ws"))
                quiet.append(beside.run(size.seconds / 2))
                before = cpu_us(hub.pid)
                words = {
                    "group": "s",
                    "count": size.many,
                    "channel": hub.channel("s"),
                    "concurrency": AT_ONCE,
                    **hub.subscribers("bayeux-ws"),
                }
                beside.while_(size.many * EXPECTED_MS / 1000, opener, **words)
                fresh.append((cpu_us(hub.pid) - before) / 1000 / size.many)
                # they go, and the hub has what it had before
                opener.close()
                beside.run(min(size.seconds, 2.0))
                opener = Generator()
                beside.while_(0.1, opener, **(words | dying.subscribers("bayeux-ws")))
                dying.process.kill9()
                opener.close()
                opener = Generator()
                before = cpu_us(hub.pid)
                run, opened = beside.while_(size.many * EXPECTED_MS / 1000, opener, stale=DEAD, **words)
                back.append((cpu_us(hub.pid) - before) / 1000 / size.many)
                meanwhile.append(run | {"opened": opened})
            finally:
                opener.close()
                beside.generator.close()
    ratio = median(again / first for first, again in zip(fresh, back, strict=True))
    p99_quiet, p99 = median(run["p99_ms"] for run in quiet), median(run["p99_ms"] for run in meanwhile)
    what = f"{size.many:,} sessions that come back after their hub died"
    cpu = Row(what, "server CPU a session", median(back), "ms", None)
    result.rows += [
        Row(f"{size.many:,} fresh sessions", "server CPU a session", median(fresh), "ms"),
        goal(cpu, size, f"at most 1.3 x a fresh one's: {ratio:.2f}", ratio <= 1.3),
        Row(what, "sessions/s", median(size.many / run["opened"]["seconds"] for run in meanwhile), ""),
        Row(f"{BESIDE} others, {1_000_000 // BESIDE_INTERVAL_US} messages/s, quiet", "p99", p99_quiet, "ms"),
        goal(
            Row("the others, while those come back", "p99", p99, "ms"),
            size,
            f"at most 3 x quiet: {p99 / p99_quiet:.2f}",
            p99 <= 3 * p99_quiet,
        ),
        Row("the others, while those come back", "p50", median(run["p50_ms"] for run in meanwhile), "ms"),
    ]
    result.detail = {"quiet": quiet, "meanwhile": meanwhile, "fresh": fresh, "back": back}
    return result
