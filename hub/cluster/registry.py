"""Who lives: each node says twice a second in Redis that it does, and hears who else did (:class:`hub.cluster.ports.Nodes`).

A node that ends without a word is forgotten four seconds after its last one, by Redis's clock. What one node knows stands while Redis is
away, and a while after that, until the others can have spoken: nobody is taken for dead because Redis was (docs/scaling.md#who-lives).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import structlog

from hub.background import BackgroundTask
from hub.cluster.checks import MisfitError, clock_problem, folder_problem, list_problem, misfits
from hub.cluster.folders import folder_id
from hub.cluster.ports import UNKNOWN_HUB, NodeRecord
from hub.core.metric import CounterFamily
from hub.core.ports import Clock
from hub.redis.commands import Commands, RedisRefusedError, RedisUnavailableError
from hub.redis.scripts import Scripts
from hub.redis.server import ServerInfo

_log = structlog.get_logger(__name__)

_MAX_LEFT: Final = 1000
"""Nodes that live no more, and that are remembered so that nobody looks for them when their clients come."""

_MAX_WARNED: Final = 1000
"""Problems of other nodes that are remembered, so that each is logged once."""

_record: Final = msgspec.json.Decoder(NodeRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryTuning:
    """Times of the registry."""

    beat_s: float = 0.5
    """Seconds between two words of a node."""
    suspect_s: float = 0.25
    """The same while a link to a node is broken that still counts as alive."""
    lapse_s: float = 4.0
    """Seconds after its last word at which a node is forgotten."""
    look_s: float = 0.05
    """Seconds between two looks for nodes of which clients speak and that nobody knows: a client can name any."""
    clock_s: float = 60.0
    """Seconds that the clocks of nodes may be apart."""
    look_at_clock_s: float = 10.0
    """Seconds between two comparisons with Redis's clock."""


@dataclass(slots=True)
class RegistryCounters:
    """What the registry counts."""

    METRICS: ClassVar = (CounterFamily("left", "Nodes that live no more, by how they ended.", "how", {"said": "said", "lapsed": "lapsed"}),)

    beats: int = 0
    """Times that this node said in Redis that it lives."""
    beats_failed: int = 0
    """Times that this node could not say that it lives, since Redis did not answer."""
    said: int = 0
    """Nodes that ended in order."""
    lapsed: int = 0
    """Nodes that ended without a word."""
    looks: int = 0
    """Times that this node looked out of turn for a node of which a client spoke."""


def machine_name() -> str:
    """The name of the machine that this process runs on."""
    return socket.gethostname()


def registry_keys(prefix: str) -> tuple[bytes, bytes]:
    """The keys of the registry: records by incarnation, and their expiries."""
    return f"{prefix}:{{nodes}}:r".encode(), f"{prefix}:{{nodes}}:t".encode()


class _Seen:
    """A node, and when its record changed last."""

    __slots__ = ("at", "record")

    def __init__(self, record: NodeRecord, at: float) -> None:
        self.record = record
        self.at = at


class Registry:
    """This node's view of all nodes. It is a :class:`hub.family.Service`: from :meth:`start` on it sees the others, and from :meth:`join`
    to :meth:`leave` they see it.
    """

    def __init__(
        self,
        commands: Commands,
        prefix: str,
        me: NodeRecord,
        clock: Clock,
        *,
        hub_id: Callable[[], Awaitable[str]] | None = None,
        beside: Sequence[Commands] = (),
        scripts: Scripts | None = None,
        tuning: RegistryTuning | None = None,
    ) -> None:
        """``commands``: to the Redis that has the keys of the registry (:func:`registry_keys`); ``hub_id``: reads the id of the database
        (:attr:`NodeRecord.hub`); ``beside``: to the other Redis of a list that share the tenants.
        """
        self.on_changed: list[Callable[[], object]] = []
        """See :attr:`hub.cluster.ports.Nodes.on_changed`."""
        self.on_left: list[Callable[[str], object]] = []
        """See :attr:`hub.cluster.ports.Nodes.on_left`."""
        self.counters = RegistryCounters()
        self.vouch: Callable[[str], bool] = lambda _: False
        """Whether a node is known to live by other means: by a link to it."""
        self.clock_offset_s: float | None = None
        """Seconds that this node's clock is ahead of Redis's, when last compared; None: not yet."""
        self._commands = commands
        self._prefix = prefix
        self._keys = registry_keys(prefix)
        self._me = me
        self._clock = clock
        self._hub_id = hub_id
        self._beside = tuple(beside)
        self._found_beside: list[NodeRecord] = []
        """Nodes that live, as the other Redis of the list tell. Those of them that have another list have their registry there."""
        self._folders: dict[str, Path | None] = {}
        self._scripts = scripts or Scripts()
        self._tuning = tuning or RegistryTuning()
        self._seen: dict[str, _Seen] = {}
        self._view: dict[str, NodeRecord] = {me.incarnation: me}
        self._suspects: set[str] = set()
        self._left: dict[str, None] = {}
        self._look: asyncio.Task[None] | None = None
        """The next look out of turn; who asks before it has begun waits for it."""
        self._looks: set[asyncio.Task[None]] = set()
        self._looked_at = -math.inf
        self._joined = False
        self._beat_at: float | None = None
        """When the last answer came, by the monotonic clock."""
        self._trusted_at = clock.monotonic()
        """Since when answers have come without a gap."""
        self._run = ""
        self._compared_at: float | None = None
        self._warned: set[str] = set()
        self._beating = asyncio.Lock()
        self._soon = asyncio.Event()
        self._task = BackgroundTask("hub.cluster.registry")

    # -- what others ask ----------------------------------------------------------------------------------------------

    @property
    def me(self) -> NodeRecord:
        """See :attr:`hub.cluster.ports.Nodes.me`."""
        return self._me

    def live(self) -> Mapping[str, NodeRecord]:
        """See :meth:`hub.cluster.ports.Nodes.live`."""
        return self._view

    def find(self, incarnation: str) -> NodeRecord | None:
        """See :meth:`hub.cluster.ports.Nodes.find`."""
        return self._view.get(incarnation)

    @property
    def lag_s(self) -> float:
        """Seconds since Redis last answered."""
        return self._clock.monotonic() - (self._trusted_at if self._beat_at is None else self._beat_at)

    async def trouble(self) -> str | None:
        """What is wrong with this node beside the others; None if nothing is. It can go on like this."""
        if self.lag_s > self._tuning.lapse_s:
            return f"for {self.lag_s:.0f} s Redis has not told which nodes live"
        found = misfits(self._me, self._others(), self._prefix)
        if found:
            return found[0]
        return folder_problem(self._me, self._others()) or clock_problem(self.clock_offset_s, self._tuning.clock_s)

    def share(self, setting: str, folder: Path | None) -> None:
        """Compare a folder, which this node must have in common with the others, with theirs; None: the setting that names it has no value.
        Call it before :meth:`start`.
        """
        self._folders[setting] = folder

    def clock_is_right(self) -> bool:
        """Whether this node's clock is that of Redis, as far as it is known."""
        return clock_problem(self.clock_offset_s, self._tuning.clock_s) is None

    async def look_for(self, incarnation: str) -> NodeRecord | None:
        """See :meth:`hub.cluster.ports.Nodes.look_for`. All who ask in the same moment wait for one look, and looks have
        :attr:`RegistryTuning.look_s` between them.
        """
        if incarnation not in self._view and incarnation not in self._left and self.lag_s < 2 * self._tuning.beat_s:
            if self._look is None:
                # without the context of the request that asks first: others wait for it, too
                self._look = asyncio.get_running_loop().create_task(self._look_soon(), name="hub.cluster.look", context=Context())
                self._looks.add(self._look)
                self._look.add_done_callback(self._looks.discard)
            await asyncio.shield(self._look)
        return self.find(incarnation)

    async def _look_soon(self) -> None:
        wait_s = self._looked_at + self._tuning.look_s - self._clock.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._look = None  # who asks from now on needs another one: what is read next may be older than their question
        self._looked_at = self._clock.monotonic()
        self.counters.looks += 1
        await self._beat_or_log(self._tuning.beat_s / 2)

    def suspect(self, node: str) -> None:
        """The link to a node broke: ask soon whether it lives."""
        if node in self._view:
            self._suspects.add(node)
            self._soon.set()

    # -- as a service -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Look who is there, without being seen, and go on looking.

        Raises:
            MisfitError: this node does not belong to those that are there.
            OSError: a folder that nodes share cannot be used.
        """
        folders = {
            setting: "" if folder is None else await asyncio.to_thread(folder_id, folder) for setting, folder in self._folders.items()
        }
        self._change(folders=folders)
        if self._hub_id is not None:
            self._change(hub=await self._hub_id())
        try:
            await self._beat()
            await self._beat_beside()
            await self._compare_clocks()
        except (RedisUnavailableError, RedisRefusedError) as error:
            _log.warning("registry_not_there_yet", error=str(error))
        else:
            problems = misfits(self._me, self._others(), self._prefix)
            clock = clock_problem(self.clock_offset_s, self._tuning.clock_s, self._offsets())
            if clock is not None:
                problems.append(clock)
            if problems:
                raise MisfitError(problems)
        self._task.start(self._go_on())

    async def look_at_list(self) -> None:
        """Compare what this node's ``redis_url`` names with the others' before anything is written to Redis: a node that goes by another
        list takes their logs for those of tenants that have moved.

        Raises:
            MisfitError: another node that lives has another list.
        """
        if self._hub_id is not None:
            self._change(hub=UNKNOWN_HUB)
        try:
            await self._beat()
            await self._beat_beside()
        except (RedisUnavailableError, RedisRefusedError) as error:
            _log.warning("registry_not_there_yet", error=str(error))
        problem = list_problem(self._me, self._others())
        if problem is not None:
            raise MisfitError([problem])

    async def join(self) -> None:
        """Be seen from now on: this node answers."""
        self._joined = True
        await self._beat_or_log()

    async def drain(self) -> None:
        """Tell the others that this node is about to stop; if Redis does not answer soon, they learn it by the next beat."""
        self._change(draining=True)
        if self._joined:
            await self._beat_or_log(self._tuning.beat_s / 2)

    async def leave(self) -> None:
        """Tell the others that this node has stopped. They stay in its view until :meth:`stop`."""
        if not self._joined:
            return
        self._change(draining=True, ended=True)
        await self._beat_or_log()
        self._joined = False

    async def stop(self) -> None:
        """Look no more."""
        for look in self._looks:
            look.cancel()
        await self._task.stop()

    # -- beats --------------------------------------------------------------------------------------------------------

    async def _go_on(self) -> None:
        while True:
            wait_s = self._tuning.suspect_s if self._suspects else self._tuning.beat_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._soon.wait()
            self._soon.clear()
            await self._beat_or_log()

    async def _beat_or_log(self, timeout_s: float | None = None) -> None:
        try:
            await self._beat(timeout_s)
            at = self._compared_at
            if at is None or self._clock.monotonic() - at >= self._tuning.look_at_clock_s:
                await self._compare_clocks()
            await self._beat_beside(self._tuning.beat_s / 2)
        except (RedisUnavailableError, RedisRefusedError) as error:
            if not self.counters.beats_failed or self.lag_s < 2 * self._tuning.beat_s:
                _log.warning("registry_unavailable", error=str(error))
            self.counters.beats_failed += 1

    async def _beat(self, timeout_s: float | None = None) -> None:
        async with self._beating:
            self._me = msgspec.structs.replace(self._me, clock_ms=self._clock.wall_ms())
            said = self._said()
            asked_of = ""

            def arguments(server: ServerInfo) -> tuple[str, bytes, int]:
                nonlocal asked_of
                asked_of = server.run
                return said

            answer = await self._commands.run(self._scripts.beat, self._keys, arguments, timeout_s=timeout_s)
            self.counters.beats += 1
            self._take(answer, asked_of)

    def _said(self) -> tuple[str, bytes, int]:
        """What a beat says of this node: its incarnation, its record, and for how many milliseconds it stands."""
        name, ttl_ms = (self._me.incarnation, round(self._tuning.lapse_s * 1000)) if self._joined else ("", 0)
        return name, msgspec.json.encode(self._me), ttl_ms

    async def _beat_beside(self, timeout_s: float | None = None) -> None:
        """Say the same to the other Redis of the list, so that nodes with another list find this one, and it finds them. A Redis that does
        not answer is told by ``/readyz`` as ``redis``; ``timeout_s``: seconds, so that it delays no beat.
        """
        if not self._beside:
            return
        said = self._said()
        answers = await asyncio.gather(
            *(commands.run(self._scripts.beat, self._keys, lambda _: said, timeout_s=timeout_s) for commands in self._beside),
            return_exceptions=True,
        )
        found: dict[str, NodeRecord] = {}
        for answer in answers:
            if isinstance(answer, RedisUnavailableError | RedisRefusedError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            found |= self._read(answer)
        found.pop(self._me.incarnation, None)
        self._found_beside = [record for incarnation, record in found.items() if not record.ended and incarnation not in self._seen]
        for record in self._found_beside:
            self._warn_of(record)

    def _read(self, answer: list[bytes]) -> dict[str, NodeRecord]:
        told: dict[str, NodeRecord] = {}
        for name, raw in zip(answer[::2], answer[1::2], strict=True):
            incarnation = name.decode(errors="replace")
            try:
                told[incarnation] = _record.decode(raw)
            except msgspec.MsgspecError as error:
                if self._is_new(incarnation):
                    _log.warning("node_not_understood", node=incarnation, error=str(error))
        return told

    def _take(self, answer: list[bytes], run: str) -> None:
        now = self._clock.monotonic()
        if self._beat_at is None or now - self._beat_at > self._tuning.lapse_s / 2 or run != self._run:
            self._trusted_at = now
        self._beat_at, self._run = now, run
        told = self._read(answer)
        told.pop(self._me.incarnation, None)
        ended = {incarnation for incarnation, record in told.items() if record.ended}
        for incarnation in ended:
            del told[incarnation]
        changed = self._see(told, now)
        left = self._miss(told, ended, now)
        self._suspects &= told.keys()
        self._suspects = {node for node in self._suspects if not self.vouch(node)}
        self._view = {self._me.incarnation: self._me, **{name: seen.record for name, seen in self._seen.items()}}
        for node in left:
            for callback in self.on_left:
                callback(node)
        if changed or left:
            for changed_callback in self.on_changed:
                changed_callback()

    def _see(self, told: Mapping[str, NodeRecord], now: float) -> bool:
        changed = False
        for incarnation, record in told.items():
            seen = self._seen.get(incarnation)
            if seen is None:
                self._seen[incarnation] = _Seen(record, now)
                _log.info("node_joined", node=incarnation, link=record.link, machine=record.machine, version=record.version)
                self._warn_of(record)
                changed = True
            elif record.clock_ms != seen.record.clock_ms:
                changed = changed or _without_clock(record) != _without_clock(seen.record)
                seen.record, seen.at = record, now
                self._warn_of(record)
        return changed

    def _miss(self, told: Mapping[str, NodeRecord], ended: set[str], now: float) -> list[str]:
        """The nodes that live no more. One that did not say that it ends must have been silent for long, in which Redis was there."""
        silence_s = self._tuning.lapse_s - 2 * self._tuning.beat_s
        left = []
        for incarnation, seen in list(self._seen.items()):
            if incarnation not in ended:
                if incarnation in told or self.vouch(incarnation) or now - max(seen.at, self._trusted_at) < silence_s:
                    continue
                self.counters.lapsed += 1
            else:
                self.counters.said += 1
            del self._seen[incarnation]
            left.append(incarnation)
            self._left[incarnation] = None
            if len(self._left) > _MAX_LEFT:
                del self._left[next(iter(self._left))]
            _log.info("node_left", node=incarnation, machine=seen.record.machine, lapsed=incarnation not in ended)
        return left

    def _change(self, **fields: Any) -> None:
        self._me = msgspec.structs.replace(self._me, **fields)
        self._view = {**self._view, self._me.incarnation: self._me}

    # -- how it fits --------------------------------------------------------------------------------------------------

    def _others(self) -> list[NodeRecord]:
        return [*(seen.record for seen in self._seen.values()), *self._found_beside]

    def _offsets(self) -> list[float]:
        """Seconds that this node's clock is ahead of each other's, at most: their words are some time old."""
        return [(self._me.clock_ms - record.clock_ms) / 1000 for record in self._others() if record.clock_ms]

    def _warn_of(self, record: NodeRecord) -> None:
        """Log once what does not fit about another node."""
        problems = misfits(self._me, [record], self._prefix)
        folder = folder_problem(self._me, [record])
        if folder is not None:
            problems.append(folder)
        apart_s = abs(self._clock.wall_ms() - record.clock_ms) / 1000 if record.clock_ms else 0.0
        if apart_s > self._tuning.clock_s:
            problems.append(f"the clock of node {record.incarnation} on {record.machine} is {apart_s:.0f} s from this one's")
        for problem in problems:
            if self._is_new(problem):
                _log.warning("node_does_not_fit", node=record.incarnation, problem=problem)

    def _is_new(self, text: str) -> bool:
        """Whether ``text`` is logged for the first time; not any more once ``_MAX_WARNED`` were."""
        if text in self._warned or len(self._warned) >= _MAX_WARNED:
            return False
        self._warned.add(text)
        return True

    async def _compare_clocks(self) -> None:
        before = self._clock.wall_ms()
        seconds, microseconds = await self._commands.call("TIME")
        after = self._clock.wall_ms()
        self._compared_at = self._clock.monotonic()
        was_right = self.clock_is_right()
        self.clock_offset_s = (before + after) / 2000 - (int(seconds) + int(microseconds) / 1_000_000)
        problem = clock_problem(self.clock_offset_s, self._tuning.clock_s)
        if problem is not None and was_right:
            _log.warning("clock_apart", problem=problem)


def _without_clock(record: NodeRecord) -> NodeRecord:
    return msgspec.structs.replace(record, clock_ms=0)


class Membership:
    """Makes this node seen by the others while all its other services run: a :class:`hub.family.Service` that starts last and stops
    first.
    """

    __slots__ = ("_registry",)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def start(self) -> None:
        """See :meth:`Registry.join`."""
        await self._registry.join()

    async def stop(self) -> None:
        """See :meth:`Registry.leave`."""
        await self._registry.leave()
