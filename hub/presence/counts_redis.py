"""The numbers of sessions of all nodes over Redis (:class:`hub.presence.counts.SessionCounts`, docs/scaling.md#presence).

Each node has a hash for each tenant: pattern to number of its sessions. A total is the sum over the nodes that live. When a node has died,
one of the others takes its hash away, and tells of the sessions as having left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import structlog

from hub.background import BackgroundTask
from hub.cluster.ports import Nodes
from hub.presence.counts import Left, Own
from hub.redis.commands import RedisRefusedError, RedisUnavailableError
from hub.redis.shared import SharedRedis

KEEP_S: Final = 20.0
"""Seconds between two messages to Redis that the numbers of this node hold."""

KEPT_MS: Final = 70_000
"""Milliseconds for which such a message holds: two of them may be lost."""

PAUSE_S: Final = 1.0
"""Seconds for which Redis is not asked after it did not answer."""

_TIMEOUT_S: Final = 0.5
_PIECE: Final = 500

_log = structlog.get_logger(__name__)


class RedisCounts:
    """The numbers of this node, and the sums over all nodes that live. While Redis does not answer, the sums are this node's alone."""

    __slots__ = ("_asked_after", "_keep", "_keep_s", "_left", "_nodes", "_noted", "_redis", "_tasks", "_tenants", "unavailable")

    def __init__(self, redis: SharedRedis, nodes: Nodes, tenants: Callable[[], Iterable[str]], *, keep_s: float = KEEP_S) -> None:
        """``tenants`` returns those that subscribed to anything on this node. ``keep_s``: seconds between two messages that the numbers
        hold.
        """
        self._tenants = tenants
        self._redis = redis
        self._nodes = nodes
        self._keep_s = keep_s
        # by tenant, then by pattern: what Redis has of this node, as far as it knows
        self._noted: dict[str, dict[str, int]] = {}
        self._asked_after = 0.0
        self._left: Left | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keep = BackgroundTask("hub.presence.counts")
        self.unavailable = 0
        """Times that Redis did not answer."""
        nodes.on_left.append(self._node_left)

    async def start(self) -> None:
        """Begin to repeat that the numbers hold."""
        self._keep.start(self._keep_forever())

    async def stop(self) -> None:
        """Take the numbers of this node away."""
        await self._keep.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for tenant in list(self._noted):
            await self._ask(tenant, "DEL", self._key(tenant, self._redis.node))
        self._noted.clear()

    def watch(self, left: Left) -> None:
        """See :meth:`SessionCounts.watch`."""
        self._left = left

    async def totals(self, tenant: str, own: Sequence[Own]) -> list[int]:
        """See :meth:`SessionCounts.totals`."""
        noted = self._noted.setdefault(tenant, {})
        for each in own:
            if each.sessions:
                noted[each.pattern] = each.sessions
            else:
                noted.pop(each.pattern, None)
        if not noted:
            del self._noted[tenant]
        answer = await self._count(tenant, own)
        return [each.sessions for each in own] if answer is None else answer

    async def _count(self, tenant: str, own: Sequence[Own]) -> list[int] | None:
        others = [node for node in self._nodes.live() if node != self._redis.node]
        keys = [self._key(tenant, node) for node in (self._redis.node, *others)]
        arguments = [str(part) for each in own for part in each]
        script = self._redis.scripts.presence_count
        totals: list[int] | None = await self._run(tenant, script, keys, KEPT_MS, *arguments)
        return totals

    # -- holding on ----------------------------------------------------------------------------------------------------

    async def _keep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._keep_s)
            await self.keep()

    async def keep(self) -> None:
        """Tell Redis that the numbers of this node hold; tell it all of them where it has lost them."""
        for tenant, noted in list(self._noted.items()):
            key = self._key(tenant, self._redis.node)
            length = await self._ask(tenant, "HLEN", key)
            if length is None:
                return
            if length == len(noted):
                await self._ask(tenant, "PEXPIRE", key, KEPT_MS)
                continue
            await self._ask(tenant, "DEL", key)
            numbers = [Own(pattern, sessions) for pattern, sessions in noted.items()]
            for start in range(0, len(numbers), _PIECE):
                await self._count(tenant, numbers[start : start + _PIECE])

    # -- nodes that die ------------------------------------------------------------------------------------------------

    def _node_left(self, node: str) -> None:
        """Tell of the sessions of a node that died, to tenants that have sessions here: nobody else would hear of it here."""
        task = asyncio.get_running_loop().create_task(self._take_away(node), name="hub.presence.counts")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_away(self, node: str) -> None:
        for tenant in list(self._tenants()):
            key = self._key(tenant, node)
            while taken := await self._run(tenant, self._redis.scripts.presence_take, [key], _PIECE):
                for pattern, sessions in zip(taken[::2], taken[1::2], strict=True):
                    if self._left is not None:
                        self._left(tenant, pattern.decode(), int(sessions))

    # -- Redis ---------------------------------------------------------------------------------------------------------

    def _key(self, tenant: str, node: str) -> bytes:
        return self._redis.names.of(tenant).presence(node)

    async def _run(self, tenant: str, script: Any, keys: list[bytes], *arguments: str | int) -> Any:
        """What a script answers; None if Redis does not answer, or did not within the last second."""
        if asyncio.get_running_loop().time() < self._asked_after:
            return None
        try:
            return await self._redis.commands(tenant).run(script, keys, lambda _: arguments, timeout_s=_TIMEOUT_S)
        except (RedisUnavailableError, RedisRefusedError) as error:
            self._failed(error)
            return None

    async def _ask(self, tenant: str, *command: bytes | str | int) -> Any:
        try:
            return await self._redis.commands(tenant).call(*command)
        except (RedisUnavailableError, RedisRefusedError) as error:
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        self.unavailable += 1
        self._asked_after = asyncio.get_running_loop().time() + PAUSE_S
        _log.warning("sessions_not_counted", reason=str(error))
