"""Checks of the Redis that connects several hubs: that it answers, that the hub can use it, what it keeps, and its clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from hub.doctor.inspection import Finding, Inspection, Level
from hub.ops.settings import split_urls
from hub.redis.commands import RedisRefusedError, RedisUnavailableError, ServerCommands
from hub.redis.server import ServerInfo, UnusableRedisError
from hub.redis.urls import open_servers

CLOCK_SLACK_S: Final = 5.0
"""Seconds by which the clocks of Redis and of this machine may differ without a finding."""

_START_IT: Final = "start it, or correct redis_url (HUB_REDIS_URL); without it events stay on their node and log channels refuse"


class _Seen(NamedTuple):
    """One server."""

    name: str
    sharded: bool
    fixed: bool
    info: ServerInfo | None
    """None if it does not answer."""
    ahead_s: float
    """Seconds that the clock of this machine is ahead of its clock."""
    trouble: str


def examine(inspection: Inspection) -> Iterable[Finding]:
    """Check each server of ``redis_url``. There must be one."""
    assert inspection.settings.redis_url is not None
    try:
        servers = asyncio.run(_look(split_urls(inspection.settings.redis_url)))
    except UnusableRedisError as error:
        yield from (Finding(Level.PROBLEM, "Redis", problem) for problem in error.problems)
        return
    except ValueError as error:
        yield Finding(Level.PROBLEM, "Redis", f"redis_url: {error}", "correct redis_url (HUB_REDIS_URL)")
        return
    if not servers:
        yield Finding(Level.PROBLEM, "Redis", "no server of the Redis Cluster answers", _START_IT)
    runs: dict[str, str] = {}
    for server in servers:
        yield from _of_server(server, inspection)
        run = "" if server.info is None else server.info.run
        if run and run in runs:
            message = f"{server.name} and {runs[run]} are one server (its run_id is {run})"
            yield Finding(Level.PROBLEM, "Redis", message, "name each server once in redis_url: the hub does not start otherwise")
        runs[run] = server.name


def _of_server(server: _Seen, inspection: Inspection) -> Iterator[Finding]:
    info = server.info
    if info is None:
        yield Finding(Level.PROBLEM, "Redis", f"{server.name}: {server.trouble}", _START_IT)
        return
    problems = info.problems(sharded=server.sharded)
    yield from (Finding(Level.PROBLEM, "Redis", f"{server.name}: {problem}") for problem in problems)
    version = f"{'Valkey' if info.is_valkey else 'Redis'} {'.'.join(map(str, info.version))}"
    if not problems:
        policy = "evicts nothing" if info.policy else "does not tell what it evicts (maxmemory-policy must be noeviction)"
        yield Finding(Level.OK, "Redis", f"{server.name}: {version} answers, and {policy}")
    yield _of_persistence(server, info, inspection.settings.redis_durable)
    allowed_s = inspection.settings.cluster.clock_s
    if abs(server.ahead_s) > CLOCK_SLACK_S:
        which = "ahead of" if server.ahead_s > 0 else "behind"
        message = f"{server.name}: the clock of this machine is {abs(server.ahead_s):.0f} s {which} that of Redis"
        advice = f"keep both right with NTP; above {allowed_s:.0f} s (cluster.clock_s) the hub does not start"
        yield Finding(Level.PROBLEM if abs(server.ahead_s) > allowed_s else Level.WARNING, "clock", message, advice)


def _of_persistence(server: _Seen, info: ServerInfo, durable: str) -> Finding:
    promises = "what each promises: docs/scaling.md#what-is-promised"
    if durable == "yes" and not info.durable:
        message = f"{server.name}: redis_durable is yes, and it does not write what it acknowledges to its disk first"
        return Finding(Level.PROBLEM, "Redis", message, f"appendonly yes and appendfsync always, or redis_durable auto; {promises}")
    if not info.aof:
        message = f"{server.name}: it keeps nothing: what log channels hold is lost with it (appendonly no)"
        return Finding(Level.WARNING, "Redis", message, f"appendonly yes, with appendfsync always or everysec; {promises}")
    if info.durable and server.fixed:
        return Finding(Level.OK, "Redis", f"{server.name}: it keeps what it acknowledges (appendfsync always)")
    why = "a replica is promoted with what it has" if not server.fixed else "appendfsync is not always, or not told"
    return Finding(Level.OK, "Redis", f"{server.name}: it keeps its data, and may lose the last seconds ({why}); {promises}")


async def _look(urls: list[str]) -> list[_Seen]:
    servers = open_servers(urls)
    try:
        await servers.refresh()
        return list(await asyncio.gather(*(_look_at(server) for server in servers.all())))
    finally:
        await servers.close()


async def _look_at(server: ServerCommands) -> _Seen:
    endpoint = server.endpoint
    try:
        name = str(await endpoint.address(2.0))
    except (RedisError, OSError) as error:
        return _Seen("Sentinels", endpoint.sharded, endpoint.fixed, None, 0.0, str(error))
    try:
        info = await server.look()
        before = time.time()
        seconds, microseconds = await server.call("TIME")
        ahead_s = (before + time.time()) / 2 - (int(seconds) + int(microseconds) / 1_000_000)
    except (RedisUnavailableError, RedisRefusedError) as error:
        return _Seen(name, endpoint.sharded, endpoint.fixed, None, 0.0, str(error))
    return _Seen(name, endpoint.sharded, endpoint.fixed, info, ahead_s, "")
