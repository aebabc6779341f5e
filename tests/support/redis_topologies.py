"""Sentinels and Clusters of real servers, put together by commands, that a test may fail over and move slots in."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from hub.redis.cluster import ClusterServers
from hub.redis.commands import ServerCommands
from hub.redis.endpoint import Access, SentinelEndpoint
from hub.redis.servers import Servers
from tests.support.redis_server import READY_WITHIN_S, RedisServer, free_port, program

MASTER = "mymaster"
SLOTS = 16384


class ThroughGate(Access):
    """Reaches every server by one Unix socket."""

    def at(self, host: str, port: int) -> Any:
        return self.address


def _access(path: Path | None) -> Access:
    return Access("redis://localhost") if path is None else ThroughGate(f"unix://{path}")


class Sentinel:
    """One Sentinel, which watches a master from its start."""

    def __init__(self, kind: str, master_port: int, quorum: int, down_after_ms: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hub-sentinel-"))
        self.port = free_port()
        configuration = self.folder / "sentinel.conf"
        configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nlogfile {self.folder / 'log'}\nsentinel resolve-hostnames no\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master_port} {quorum}\n"
            f"sentinel down-after-milliseconds {MASTER} {down_after_ms}\nsentinel failover-timeout {MASTER} 3000\n"
        )
        self._process = subprocess.Popen(
            [str(program(kind)), str(configuration), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _until(lambda: self.ask("PING"))

    def ask(self, *command: Any) -> Any:
        with redis.Redis(port=self.port, socket_timeout=5) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class WatchedRedis(RedisServer):
    """A master with its Sentinels, and with replicas if there are any."""

    def __init__(self, kind: str = "redis", *options: str, sentinels: int = 1, replicas: int = 0, down_after_ms: int = 500) -> None:
        super().__init__(kind, *options, port=free_port())
        self.replicas = [RedisServer(kind, *options, "--replicaof", f"127.0.0.1 {self.port}", port=free_port()) for _ in range(replicas)]
        self.sentinels = [Sentinel(kind, self.port, sentinels // 2 + 1, down_after_ms) for _ in range(sentinels)]
        for replica in self.replicas:
            _until(lambda replica=replica: replica.info("replication")["master_link_status"] == "up")  # type: ignore[misc]
        if sentinels > 1:
            _until(lambda: all(self._sees_all(sentinel) for sentinel in self.sentinels))

    def _sees_all(self, sentinel: Sentinel) -> bool:
        state = sentinel.ask("SENTINEL", "MASTER", MASTER)
        seen = (int(state[b"num-other-sentinels"]), int(state[b"num-slaves"]))
        return seen == (len(self.sentinels) - 1, len(self.replicas))

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER}"

    def master_port(self) -> int:
        """Where the Sentinels say that the master is."""
        return int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])

    def servers(self, through: Path | None = None, timeout_s: float = 2.0) -> Servers:
        hosts = [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]
        return ServerCommands(SentinelEndpoint(_access(through), hosts, MASTER, _access(None)), timeout_s=timeout_s)

    def close(self) -> None:
        for part in [*self.sentinels, *self.replicas]:
            part.close()
        super().close()


class ClusterServer(RedisServer):
    """One server of a Cluster; alone it has every slot."""

    sharded = True

    def __init__(self, kind: str = "redis", *options: str, alone: bool = True, node_timeout_ms: int = 1000) -> None:
        self.bus_port = free_port()
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port), "--cluster-node-timeout", str(node_timeout_ms)]
        super().__init__(kind, *cluster, *options, port=free_port())
        if alone:
            self.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            _until(lambda: b"cluster_state:ok" in self.ask("CLUSTER", "INFO"))

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.port}"

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID").decode())

    @staticmethod
    def access() -> Access:
        return _access(None)

    def client(self) -> Any:
        return _RawClient(unix_socket_path=str(self.path), socket_timeout=10)

    def servers(self, through: Path | None = None, timeout_s: float = 2.0) -> Servers:
        return ClusterServers(_access(through), [("127.0.0.1", self.port)], timeout_s=timeout_s)


class _RawClient(redis.Redis):
    """Hands out the answers of commands of a Cluster as they come."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for command in ("CLUSTER INFO", "CLUSTER NODES", "CLUSTER SLOTS"):
            self.response_callbacks.pop(command, None)


class RedisCluster:
    """Masters that share the slots evenly, each with a replica if there is to be one."""

    def __init__(self, kind: str = "redis", *options: str, masters: int = 3, replicas: bool = False) -> None:
        self.masters = [ClusterServer(kind, *options, alone=False) for _ in range(masters)]
        self.replicas = [ClusterServer(kind, *options, alone=False) for _ in range(masters if replicas else 0)]
        each = SLOTS // masters
        for number, master in enumerate(self.masters):
            last = SLOTS - 1 if number == masters - 1 else (number + 1) * each - 1
            master.ask("CLUSTER", "ADDSLOTSRANGE", number * each, last)
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        first, *others = self.servers_of_all
        for server in others:
            first.ask("CLUSTER", "MEET", "127.0.0.1", server.port, server.bus_port)
        _until(lambda: all(self._joined(server) for server in self.servers_of_all))
        for master, replica in zip(self.masters, self.replicas, strict=False):
            master_id = master.id
            _until(lambda replica=replica, master_id=master_id: replica.ask("CLUSTER", "REPLICATE", master_id))  # type: ignore[misc]
        for replica in self.replicas:
            _until(lambda replica=replica: replica.info("replication")["master_link_status"] == "up")  # type: ignore[misc]

    @property
    def servers_of_all(self) -> Sequence[ClusterServer]:
        return [*self.masters, *self.replicas]

    def _joined(self, server: ClusterServer) -> bool:
        info = server.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % len(self.servers_of_all) in info

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{master.port}" for master in self.masters)
        return f"redis+cluster://{hosts}"

    def servers(self, through: Path | None = None, timeout_s: float = 2.0) -> ClusterServers:
        assert through is None
        return ClusterServers(_access(None), [("127.0.0.1", master.port) for master in self.masters], timeout_s=timeout_s)

    def owner(self, slot: int) -> ClusterServer:
        """The master that has a slot, as the first server that answers says."""
        (port,) = {int(master[1]) for begin, end, master, *_ in self.masters[0].ask("CLUSTER", "SLOTS") if begin <= slot <= end}
        return next(server for server in self.servers_of_all if server.port == port)

    def move(self, slot: int, target: ClusterServer, pause_s: float = 0) -> None:
        """Move a slot with its keys to another master, as ``redis-cli --cluster reshard`` does; wait between two keys."""
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(pause_s)
        for server in (target, source, *(other for other in self.masters if other not in (target, source))):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def close(self) -> None:
        for server in self.servers_of_all:
            server.close()


def _until(reached: Any) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            if reached():
                return
        except redis.RedisError:
            pass  # not ready yet
        if time.monotonic() > until:
            raise RuntimeError("the servers did not come together")
        time.sleep(0.02)
