"""What a Redis says of itself, and whether the hub can use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

REDIS_VERSION: Final = (7, 0)
VALKEY_VERSION: Final = (7, 2)


class UnusableRedisError(Exception):
    """A Redis that is there, and that the hub cannot use: what was expected, what came, and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class ServerInfo(NamedTuple):
    """From the answers to ``INFO`` and ``CONFIG GET appendfsync``."""

    run: str
    """Drawn anew at each start of the server."""
    role: str = ""
    version: tuple[int, ...] = ()
    is_valkey: bool = False
    policy: str = ""
    """What happens to keys when memory is full."""
    aof: bool = False
    """Whether commands are kept in a file."""
    cluster: bool = False
    loading: bool = False
    """Whether it still reads its files, and says of itself that it keeps none."""
    durable: bool = False
    """Whether what it acknowledged survives its end: it writes each command to its disk before it answers."""

    @classmethod
    def of(cls, answer: bytes, appendfsync: str = "") -> ServerInfo:
        """Read the text that ``INFO`` answers with. What is missing is empty."""
        fields: Mapping[str, str] = dict(line.split(":", 1) for line in answer.decode(errors="replace").splitlines() if ":" in line)
        valkey = fields.get("valkey_version")
        return cls(
            run=fields.get("run_id", ""),
            role=fields.get("role", ""),
            version=_version(valkey or fields.get("redis_version", "")),
            is_valkey=valkey is not None,
            policy=fields.get("maxmemory_policy", ""),
            aof=(aof := fields.get("aof_enabled") == "1"),
            cluster=fields.get("cluster_enabled") == "1",
            loading=fields.get("loading") == "1",
            durable=aof and appendfsync == "always",
        )

    def problems(self, *, sharded: bool = False) -> list[str]:
        """Why the hub cannot use it, each with what to do; empty: it can. ``sharded``: the hub takes it for a master of a Cluster."""
        name, least = ("Valkey", VALKEY_VERSION) if self.is_valkey else ("Redis", REDIS_VERSION)
        found = []
        if self.version < least:
            has, needs = (".".join(map(str, version)) for version in (self.version, least))
            found.append(f"redis_url: expected {name} {needs} or later, got {has}")
        if self.policy not in {"", "noeviction"}:
            found.append(
                "redis_url: expected a Redis that evicts nothing, got maxmemory-policy "
                f"{self.policy}: set it to noeviction, for a log of which a part was evicted would look complete"
            )
        if self.cluster and not sharded:
            found.append("redis_url: expected one server, got a server of a Redis Cluster: name it by redis+cluster://")
        return found


def _version(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.split(".")[:3]:
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
