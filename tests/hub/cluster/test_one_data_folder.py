"""Two hubs on one data folder: refused where the folder has what one process alone may write, harmless where it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hub.cluster.processes import NodeProcess, add_tenant, cloud_event, known_calls, wait_until
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import HubProcess
from tests.support.redis_server import RedisServer

__all__ = ["postgres"]

pytestmark = pytest.mark.timeout(600)


def test_without_a_redis_the_second_one_is_refused_and_told_who_has_the_folder(tmp_path: Path, postgres: Postgres) -> None:
    """PostgreSQL alone does not make several nodes: the event log is in the folder."""
    flags = ("--database-url", postgres.url(asyncio.run(postgres.create())))
    first = HubProcess(tmp_path, flags).start()
    try:
        (tmp_path / "second").mkdir()
        second = HubProcess(tmp_path / "second", flags)
        second.data_dir = first.data_dir
        with pytest.raises(RuntimeError, match=r"ended with code 2") as refused:
            second.start()
        assert f"events.db is in use by process {first.process.pid}: one data folder serves one hub" in str(refused.value)
    finally:
        first.close()


def test_nodes_of_one_hub_may_have_one_folder(tmp_path: Path, postgres: Postgres, redis_process: Callable[..., RedisServer]) -> None:
    """With Redis and PostgreSQL nothing that a node alone may write is in the folder."""
    database, redis = postgres.url(asyncio.run(postgres.create())), redis_process("redis")
    nodes = [NodeProcess(tmp_path / name, database, redis.url) for name in ("one", "two")]
    nodes[1].data_dir = nodes[0].data_dir
    try:
        for node in nodes:
            node.start()
        token = add_tenant(tmp_path, database, "acme")
        for number, node in enumerate(nodes, 1):
            node.token = token
            data = {"interactionId": f"call-{number}", "agentId": "ana"}
            node.feed(
                cloud_event(f"{number}-1", "cx.interaction.established", **data, callType="inbound"),
                cloud_event(f"{number}-2", "cx.interaction.released", **data),
            )
        wait_until(lambda: {known_calls(node) for node in nodes} == {2})
        # the first one dies: the other one goes on, and its successor finds nothing that keeps it out
        nodes[0].kill9()
        wait_until(lambda: known_calls(nodes[1]) == 2)
        nodes[0].start()
        wait_until(lambda: known_calls(nodes[0]) == 2)
    finally:
        for node in nodes:
            node.close()
    assert [path.name for path in nodes[0].data_dir.iterdir() if path.name not in ("objects", "media")] == []
