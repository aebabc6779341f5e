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
"""The clientId of a session on a node that has ended: its first 12 digits name the node."""

BESIDE_INTERVAL_US = 10_000
BESIDE = 10
EXPECTED_MS = 1.2
"""The approximate CPU time of opening a session, in ms. It decides how long the other sessions are observed, beside fresh sessions and
beside returning ones.
"""

AT_ONCE = 64
"""Sessions that are being opened at the same time: enough to keep the hub busy."""


@contextmanager
def _two_hubs(size: Size) -> Iterator[tuple[Hub, Hub]]:
    """A hub, and another one that is killed, with one Redis."""
    kind = "redis" if why_no_redis("redis") is None else "valkey"
    redis = RedisServer(kind, *persistence("everysec"))
    pin(redis.pid, GENERATOR_CORE)
    shared = {"HUB_REDIS_URL": redis.url, "HUB_SECRET": "of the benchmarks, 32 bytes or so"}
    shared["HUB_LIMITS__MAX_INTERVAL_MS"] = "10000" if size.full else "5000"  # the end of sessions is waited for
    hubs: list[Hub] = []
    try:
        hubs += [Hub(shared), Hub(shared)]
        yield hubs[0], hubs[1]
    finally:
        for hub in hubs:
            hub.close()
        redis.close()


class _Beside:
    """A publisher and a few subscribers in a generator of their own. They measure the latency of messages while other work is going on."""

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

    def until_gone(self, most: int) -> None:
        """Wait until the hub has forgotten the sessions whose clients have gone, so that it has ``most``."""
        while self._hub.sessions() > most:
            self.generator("idle", seconds=0.2)  # its sessions must answer the hub, or the hub forgets them

    def while_(self, seconds: float, generator: Generator, **words: object) -> tuple[Answer, Answer]:
        """Measure the latency for a time while the other generator opens sessions, and then wait until it has opened them."""
        with ThreadPoolExecutor(1) as threads:
            opening = threads.submit(generator, "open", **words)
            run = self.run(seconds)
            while not opening.done():
                self.generator("idle", seconds=0.2)  # its sessions must answer the hub, or the hub forgets them
            return run, opening.result()


def _opener() -> Generator:
    """What opens the sessions. It shares a core with what measures, and runs while that one is idle."""
    generator = Generator()
    generator.give_way()
    return generator


def comeback(size: Size) -> Result:
    """Open fresh sessions, then let as many return. Measures the CPU time of the hub for each, and the latency of others."""
    result = Result("comeback")
    fresh, back, quiet, meanwhile = [], [], [], []
    for _ in range(size.runs):
        with _two_hubs(size) as (hub, dying):
            beside = _Beside(hub)
            opener = _opener()
            try:
                opener("open", group="w", count=max(1, size.many // 100), channel=hub.channel("w"), **hub.subscribers("bayeux-ws"))
                quiet.append(beside.run(size.seconds / 2))
                sessions = hub.sessions()
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
                # these sessions end, so that the hub has as many as before
                opener.close()
                beside.until_gone(sessions)
                opener = _opener()
                beside.while_(0.1, opener, **(words | dying.subscribers("bayeux-ws")))
                dying.process.kill9()
                opener.close()
                opener = _opener()
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
