"""What `hub doctor` says of the Redis of several hubs, of the nodes that live, and of the owners of tenants."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from hub.cluster.leased_ownership import PREFIX
from hub.cluster.link.hello import fingerprint
from hub.cluster.ports import NodeRecord
from hub.cluster.registry import registry_keys
from hub.doctor.checks import nodes, redis_servers
from hub.doctor.inspection import Finding, Inspection, Level
from hub.families import migrations_of
from hub.ops.settings import Settings
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import HubProcess, clean_environment, run_hub
from tests.support.redis_server import RedisServer, persistence

__all__ = ["postgres"]

SECRET = "at least sixteen characters"
LIVES_MS = 60_000


def inspection(folder: Path, url: str | None, **settings: Any) -> Inspection:
    known = Settings(data_dir=folder, redis_url=url, redis_prefix=folder.name[-60:], secret=SECRET, **settings)
    return Inspection(known, time.time_ns() // 1_000_000, migrations_of(()))


def say(server: RedisServer, folder: Path, **record: Any) -> None:
    """Have a node live in the registry, for a minute."""
    secret = fingerprint(SECRET.encode())
    node = NodeRecord(**{"incarnation": "a" * 12, "version": "1", "machine": "host", "secret": secret, "redis": "1", **record})
    records, expiries = registry_keys(folder.name[-60:])
    server.ask("HSET", records, node.incarnation, msgspec.json.encode(node))
    server.ask("ZADD", expiries, time.time_ns() // 1_000_000 + LIVES_MS, node.incarnation)


def wrong(found: list[Finding]) -> list[tuple[Level, str]]:
    return [(finding.level, finding.message) for finding in found if finding.level is not Level.OK]


# -- Redis ----------------------------------------------------------------------------------------------------------------


def test_without_redis_nothing_is_said(tmp_path: Path) -> None:
    assert list(redis_servers(inspection(tmp_path, None))) == []
    assert list(nodes(inspection(tmp_path, None))) == []


def test_a_redis_that_does_not_answer(tmp_path: Path) -> None:
    (found,) = redis_servers(inspection(tmp_path, "redis://user:geheim@127.0.0.1:1"))
    assert found.level is Level.PROBLEM
    assert found.message.startswith("127.0.0.1:1: no connection to Redis")
    assert "correct redis_url" in found.advice
    (sentinels,) = redis_servers(inspection(tmp_path, "redis+sentinel://127.0.0.1:1/main"))
    assert "no Sentinel names a master" in sentinels.message
    (cluster,) = redis_servers(inspection(tmp_path, "redis+cluster://127.0.0.1:1"))
    assert cluster.message == "no server of the Redis Cluster answers"
    assert list(nodes(inspection(tmp_path, "redis://127.0.0.1:1"))) == []  # the other check says it


@pytest.mark.parametrize(
    ("keeps", "level", "message"),
    [
        ("always", Level.OK, "it keeps what it acknowledges (appendfsync always)"),
        ("everysec", Level.OK, "it keeps its data, and may lose the last seconds"),
        ("none", Level.WARNING, "it keeps nothing: what log channels hold is lost with it (appendonly no)"),
    ],
)
def test_what_a_redis_keeps(redis_process: Callable[..., RedisServer], tmp_path: Path, keeps: str, level: Level, message: str) -> None:
    server = redis_process("redis", *persistence(keeps))
    answers, kept = redis_servers(inspection(tmp_path, server.url))
    assert (answers.level, "answers, and evicts nothing" in answers.message) == (Level.OK, True)
    assert (kept.level, message in kept.message) == (level, True)
    durable = list(redis_servers(inspection(tmp_path, server.url, redis_durable="yes")))[-1]
    assert durable.level is (Level.OK if keeps == "always" else Level.PROBLEM)


def test_a_redis_that_the_hub_would_refuse(redis_process: Callable[..., RedisServer], tmp_path: Path) -> None:
    server = redis_process("redis", "--maxmemory-policy", "allkeys-lru")
    refused, _ = redis_servers(inspection(tmp_path, server.url))
    assert refused.level is Level.PROBLEM
    assert "expected a Redis that evicts nothing, got maxmemory-policy allkeys-lru: set it to noeviction" in refused.message
    twice = list(redis_servers(inspection(tmp_path, f"{server.url},unix:///{server.path}")))
    assert "are one server" in twice[-1].message


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_servers_that_are_found(shared_redis: Callable[[str], RedisServer], tmp_path: Path, kind: str) -> None:
    found = list(redis_servers(inspection(tmp_path, shared_redis(kind).url)))
    assert [finding.level for finding in found] == [Level.OK, Level.WARNING]  # it keeps nothing


# -- nodes ----------------------------------------------------------------------------------------------------------------


def test_no_node_lives(shared_redis: Callable[[str], RedisServer], tmp_path: Path) -> None:
    (found,) = nodes(inspection(tmp_path, shared_redis("redis").url))
    assert (found.level, found.message) == (Level.OK, f"no node of redis_prefix {tmp_path.name[-60:]} lives now")


def test_a_node_that_cannot_be_reached(shared_redis: Callable[[str], RedisServer], tmp_path: Path) -> None:
    server = shared_redis("redis")
    say(server, tmp_path, link="ws://127.0.0.1:1")
    (found,) = nodes(inspection(tmp_path, server.url))
    assert found.level is Level.PROBLEM
    assert found.message.startswith("node aaaaaaaaaaaa on host, version 1, role all, is not reached from here at ws://127.0.0.1:1: ")
    say(server, tmp_path, link="unix:/run/elsewhere.sock")
    assert "it is a Unix socket of another machine" in next(iter(nodes(inspection(tmp_path, server.url)))).message
    say(server, tmp_path, link="")
    (found,) = nodes(inspection(tmp_path, server.url))
    assert (found.level, "takes no links" in found.message) == (Level.WARNING, True)


def test_settings_that_do_not_fit_the_nodes(shared_redis: Callable[[str], RedisServer], tmp_path: Path) -> None:
    server = shared_redis("redis")
    say(server, tmp_path, secret="another", redis="2 aaaa", version="0.9")
    say(server, tmp_path, incarnation="b" * 12, secret="another", clock_ms=1)
    found = wrong(list(nodes(inspection(tmp_path, server.url))))
    problems = [message for level, message in found if level is Level.PROBLEM]
    assert [problem.split(":")[1].strip() for problem in problems] == ["secret", "redis_url"]
    warnings = [message for level, message in found if level is Level.WARNING]
    assert any("the clock of node bbbbbbbbbbbb on host" in message for message in warnings)
    assert "versions 0.9, 1 run side by side" in warnings


def test_a_node_that_ended_is_none(shared_redis: Callable[[str], RedisServer], tmp_path: Path) -> None:
    server = shared_redis("redis")
    say(server, tmp_path, ended=True)
    records, expiries = registry_keys(tmp_path.name[-60:])
    server.ask("HSET", records, "b" * 12, "{}")
    server.ask("ZADD", expiries, 1, "b" * 12)  # silent for long, and nobody has removed it
    (found,) = nodes(inspection(tmp_path, server.url))
    assert "lives now" in found.message


def test_a_hub_that_runs_is_reached(
    hub_process: Callable[..., HubProcess], shared_redis: Callable[[str], RedisServer], tmp_path: Path
) -> None:
    server = shared_redis("redis")
    environment = {
        "HUB_REDIS_URL": server.url,
        "HUB_REDIS_PREFIX": tmp_path.name[-60:],
        "HUB_SECRET": SECRET,
        "HUB_LINK_LISTEN": f"unix:{server.folder}/{tmp_path.name[-40:]}",
        "HUB_DRAIN_SECONDS": "0",
    }
    hub = hub_process("--open", environment=environment)
    done = run_hub(["doctor", "--data-dir", str(hub.folder / "hub-data"), "--json"], hub.folder, clean_environment(environment))
    assert "Traceback" not in done.stderr
    found = [finding for finding in json.loads(done.stdout) if finding["subject"] == "nodes"]
    assert [(finding["level"], "is reached from here at unix:" in finding["message"]) for finding in found] == [("ok", True)], done.stdout
    listed = {finding["level"] for finding in json.loads(done.stdout) if finding["subject"] == "Redis"}
    assert listed == {"ok", "warning"}  # this one keeps nothing


# -- owners ---------------------------------------------------------------------------------------------------------------


def test_owners_of_tenants(shared_redis: Callable[[str], RedisServer], postgres: Postgres, tmp_path: Path) -> None:
    server = shared_redis("redis")
    name = asyncio.run(postgres.migrated(migrations_of(())))
    with psycopg.connect(host=str(postgres.socket_dir), user="postgres", dbname=name, autocommit=True) as connection:
        ((hub,),) = connection.execute("SELECT id FROM hub_identity").fetchall()
        for tenant, owner, until in (("one", "a" * 12, "1 hour"), ("two", "b" * 12, "1 hour"), ("three", "a" * 12, "-1 hour")):
            connection.execute(
                "INSERT INTO leases (name, owner, fence, until) VALUES (%s, %s, 1, clock_timestamp() + %s::interval)",
                (PREFIX + tenant, owner, until),
            )
    say(server, tmp_path, link="unix:/run/elsewhere.sock", hub=hub)
    found = [finding for finding in nodes(inspection(tmp_path, server.url, database_url=postgres.url(name))) if finding.subject == "owners"]
    assert [(finding.level, finding.message.partition(" (")[0]) for finding in found if finding.level is not Level.OK] == [
        (Level.WARNING, "tenant three has no owner since 3600 s"),
        (Level.WARNING, "tenant two is owned by bbbbbbbbbbbb, which is not among the nodes that live"),
    ]
    assert found[-1].message == "1 of 3 tenants have an owner that lives"
