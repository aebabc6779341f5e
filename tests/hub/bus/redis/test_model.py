"""Random sequences of publishing, subscribing, broken connections, restarts and trimming, with each step of a subscription by itself. The
messages that a node got, and the answer to a client that returns, are compared with a list of all acknowledged messages.

The scripts run on a real server. Messages from the server to a node wait in a list until the test delivers them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.bus.interface import Envelope
from hub.bus.redis.envelopes import Received
from hub.bus.redis.heard import Heard, Mode
from hub.bus.redis.tuning import Counters, Tuning
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log import Retention
from hub.eventlog.channel_log_redis import NOTHING_KNOWN, Known, RedisChannelLog
from hub.redis.commands import Argument
from hub.redis.header import Header
from hub.redis.names import Names
from hub.redis.server import ServerInfo
from tests.hub.bus.redis.cluster import Journal
from tests.support.redis_server import CLOCKED, ClockedCommands, RedisServer
from tests.world import ManualClock

TOPICS = [Topic("t", "", "/a"), Topic("t", "", "/b")]
GUARD_US = 2_000_000
BEHIND_S = 1.5
"""Seconds that the clock of another host is behind."""
COMMAND_S = 0.00002
"""The shortest time of a command, in seconds."""


class Node:
    """The state of one node, and the messages that are being sent to it."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.journal = Journal()
        self.counters = Counters()
        self.heard = Heard("t", names.of("t"), self.journal, Tuning(), self.counters)
        self.connected = True
        self.subscribed: set[Topic] = set()
        """The subscriptions of the node, as the server knows them."""
        self.coming: deque[Any] = deque()
        """Envelopes, and answers: ('meta', top, floor, run, seam)."""
        self.in_force: dict[Topic, int] = {}
        self.reading: int | None = None
        """The position up to which missed messages are read from the log."""


class Model(RuleBasedStateMachine):
    server: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(1_764_000_000.0)
        self.names = Names(secrets.token_hex(8))
        self.commands = ClockedCommands(self.server.url, self.clock, timeout_s=60)
        self.run_id = "run-0"
        self.durable = False
        self.batch = 0
        self.acknowledged: dict[int, Topic] = {}
        self.given = [NOTHING_KNOWN, NOTHING_KNOWN]
        """The newest position of each node's own messages."""
        self.behind = False
        """Whether the clock of this server is behind the clock of the previous one."""
        self.nodes = [Node(self.names), Node(self.names)]
        self.log = RedisChannelLog(self.commands, self.names, Retention(max_messages=3), scripts=CLOCKED)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.commands.close())
        self.loop.close()

    # -- the server ---------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> list[bytes]:
        names = self.names.of("t")
        return [names.meta, names.stream, names.last, names.idempotency_keys]

    def open(self, known: Known = NOTHING_KNOWN) -> tuple[int, int, int]:
        self.clock.advance(COMMAND_S)
        answer = self.do(self.commands.run(CLOCKED.open, self.keys, lambda _: [self.run_id, int(self.durable), GUARD_US, str(known)]))
        top, floor, seam = map(int, answer)
        return top, floor, seam

    def meta(self) -> tuple[Any, ...]:
        return tuple(self.do(self.commands.call("HMGET", self.names.of("t").meta, "top", "floor", "run", "seam")))

    @initialize(durable=st.booleans())
    def begin(self, durable: bool) -> None:
        self.durable = durable
        for node in self.nodes:
            node.heard.want([(topic, self.names.subscription(topic)) for topic in TOPICS])

    @rule(topic=st.sampled_from(TOPICS), by=st.sampled_from([0, 1]))
    def append(self, topic: Topic, by: int) -> None:
        self.batch += 1
        known = str(max(self.nodes[by].heard.known, self.given[by]))
        self.clock.advance(COMMAND_S)
        header = Header("", topic.channel, DeliveryClass.LOG, 0, f"n{by}", self.batch).encode()

        async def publish(again: int) -> int:
            def arguments(_: ServerInfo) -> list[Argument]:
                begin: list[Argument] = [self.run_id, int(self.durable), GUARD_US, known, "", "PUBLISH", "NUMSUB", self.batch, again]
                return [*begin, 2, 0, "l", f":{topic.channel}", "", 0, header, b"1"]

            return int((await self.commands.run(CLOCKED.publish, [*self.keys, self.names.of("t").batch(f"n{by}")], arguments))[0])

        position = self.do(publish(0))
        assert self.do(publish(1)) == position  # the first answer was lost: the second one is the same, and nothing more is recorded
        assert position not in self.acknowledged
        assert position > max(self.acknowledged, default=0)
        self.acknowledged[position] = topic
        self.given[by] = Known(position, self.run_id)
        for node in self.nodes:
            if topic in node.subscribed:
                node.coming.append(Envelope(topic, DeliveryClass.LOG, b"1", b"", position, 0, f"n{by}", self.batch))

    @rule(seconds=st.sampled_from([0.001, 1.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def trim(self) -> None:
        self.do(self.log.trim())

    @rule(lost=st.integers(0, 3), behind=st.booleans())
    def restart(self, lost: int, behind: bool) -> None:
        """Restart the server, or replace it by another one whose clock may be behind. The new server may lack the newest records, even if
        records were lost a moment ago; a durable server has all of them. A server whose clock is behind takes over only when at least that
        time has passed since positions jumped ahead of the clock.
        """
        names = self.names.of("t")
        self.clock.advance(COMMAND_S)
        if behind != self.behind:
            if behind:
                short = max(self.acknowledged, default=0) - (self.clock.wall_us() - BEHIND_S * 1_000_000 + GUARD_US)
                assert short <= BEHIND_S * 1_000_000  # no position is ahead of the clock by more than the guard
                self.clock.advance(max(0, short / 1_000_000 + COMMAND_S))
            self.clock.advance(-BEHIND_S if behind else BEHIND_S)
            self.behind = behind
        self.run_id = f"run-{self.batch}-{secrets.token_hex(2)}"
        if not self.durable and lost:
            entries = self.do(self.commands.call("XREVRANGE", names.stream, "+", "-", "COUNT", lost + 1))
            floor = self.do(self.commands.call("HGET", names.meta, "floor"))
            if floor is not None and entries:
                kept = entries[lost][0].split(b"-")[0] if len(entries) > lost else floor
                self.do(self.commands.call("XDEL", names.stream, *[entry[0] for entry in entries[:lost]]))
                self.do(self.commands.call("HSET", names.meta, "top", kept, "last", kept))
        for node in self.nodes:
            self._drop(node)

    @precondition(lambda self: not self.durable)
    @rule(key=st.sampled_from([0, 1]))
    def delete(self, key: int) -> None:
        """Delete the hash or the stream, as an operator may do."""
        self.clock.advance(COMMAND_S)
        self.do(self.commands.call("DEL", self.keys[key]))

    # -- nodes ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _drop(node: Node) -> None:
        node.connected = False
        node.subscribed.clear()
        node.coming.clear()
        node.reading = None
        node.heard.break_off()

    @rule(by=st.sampled_from([0, 1]))
    def drop(self, by: int) -> None:
        self._drop(self.nodes[by])

    @precondition(lambda self: any(not node.connected for node in self.nodes))
    @rule()
    def connect_again(self) -> None:
        for node in self.nodes:
            if not node.connected:
                node.connected = True
                node.subscribed = set(node.in_force)
                node.coming.append(("meta", True, None))

    @rule(by=st.sampled_from([0, 1]), topic=st.sampled_from(TOPICS))
    def subscribe(self, by: int, topic: Topic) -> None:
        node = self.nodes[by]
        if node.connected:
            node.subscribed.add(topic)
            node.coming.append(("meta", False, topic))

    @rule(by=st.sampled_from([0, 1]), count=st.integers(1, 4))
    def deliver(self, by: int, count: int) -> None:
        """Deliver the next message of the server to the node. An answer describes the log at the time of the request."""
        node = self.nodes[by]
        for _ in range(min(count, len(node.coming))):
            item = node.coming.popleft()
            if isinstance(item, Envelope):
                node.heard.take(Received(item, [], 0), 1)
            elif item[0] == "told":
                self._tell(node, *item[1:])
            elif item[0] == "meta":
                self._answer(node, *item[1:])

    def _answer(self, node: Node, repair: bool, topic: Topic | None) -> None:
        """Answer the node. If no message is being sent to it, the answer is delivered at once; otherwise it describes the log as of now,
        and is delivered after those messages.
        """
        top, floor, run, seam = self.meta()
        heard = node.heard
        missing = None in (top, floor, seam) or run.decode() != self.run_id or int(top) < (heard.position or 0)
        if missing or (heard.run not in {"", self.run_id} and (heard.position or 0) >= int(seam)):
            self.open(node.heard.known)
            top, floor, run, seam = self.meta()
        node.heard.run = self.run_id
        told = ("told", repair, topic, int(top), int(floor), int(seam))
        if node.coming:
            node.coming.append(told)
        else:
            self._tell(node, *told[1:])

    def _tell(self, node: Node, repair: bool, topic: Topic | None, top: int, floor: int, seam: int) -> None:
        if repair and node.heard.mode is Mode.BROKEN:
            if node.heard.begin_reading(top, floor, seam):
                node.reading = top
            return
        node.heard.confirm(top, seam)
        if topic is not None and node.heard.mode is Mode.DIRECT:
            node.in_force.setdefault(topic, top)

    @precondition(lambda self: any(node.reading is not None for node in self.nodes))
    @rule()
    def read(self) -> None:
        """Have a node that was disconnected read one page of the log."""
        for node in self.nodes:
            if node.reading is None:
                continue
            top, after = node.reading, node.heard.position or 0
            if after < top:
                page = self.do(self.log_page(after))
                if page.floor > after:
                    node.heard.give_up(top)
                    node.reading = None
                    continue
                for record in page.records:
                    topic = record.header.topic("t")
                    if record.position <= top and node.heard.wants(topic):
                        node.heard.hand_over(Envelope(topic, DeliveryClass.LOG, b"1", b"", record.position, 0))
            node.heard.finish(top)
            node.reading = None

    async def log_page(self, after: int) -> Any:
        commands, run_id, durable = self.commands, self.run_id, self.durable

        class ThisRun(RedisChannelLog):
            """A server that reports the run of the model as its own."""

            async def _meta_and_entries(self, names: Any, after: int) -> Any:
                meta = await commands.call("HMGET", names.meta, "top", "floor", "run", "seam", "last")
                if None in meta or meta[2].decode() != run_id:
                    return None, []
                return meta, await commands.call("XRANGE", names.stream, f"({after}-0", "+", "COUNT", 500)

            async def open(self, tenant: str, known: Known = NOTHING_KNOWN) -> Any:
                names = self._of(tenant)
                keys = [names.meta, names.stream, names.last, names.idempotency_keys]
                top, floor, seam = map(int, await commands.run(CLOCKED.open, keys, lambda _: [run_id, int(durable), GUARD_US, str(known)]))
                return type("S", (), {"floor": floor, "newest": top, "seam": seam})()

        return await ThisRun(commands, self.names, scripts=CLOCKED).page("t", after)

    # -- clients --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), topic=st.sampled_from(TOPICS))
    def come_back(self, data: st.DataObject, topic: Topic) -> None:
        """Check that a client which is told that nothing is missing can read every acknowledged message."""
        since = data.draw(st.sampled_from(sorted(self.acknowledged)))
        top, floor, seam = self.open()
        if max(floor, seam) <= since <= top:
            page = self.do(self.log_page(since))
            in_log = {record.position for record in page.records if record.header.topic("t") == topic}
            assert {p for p, of in self.acknowledged.items() if of == topic and p > since} <= in_log

    # -- what holds -----------------------------------------------------------------------------------------------------

    @invariant()
    def each_message_comes_once_and_in_order(self) -> None:
        for node in self.nodes:
            assert node.journal.positions == sorted(set(node.journal.positions))

    @invariant()
    def nothing_is_missing_unsaid(self) -> None:
        for node in self.nodes:
            upto = node.heard.position or 0
            heard = set(node.journal.positions)
            for position, topic in self.acknowledged.items():
                begin = node.in_force.get(topic)
                if begin is not None and begin < position <= upto and position not in heard:
                    assert node.journal.excused(position)


@pytest.fixture
def model(shared_redis: Callable[[str], RedisServer]) -> type[Model]:
    Model.server = shared_redis("redis")
    return Model


def _run(model: type[Model], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )


def test_random_orders(model: type[Model]) -> None:
    _run(model, 60, 40)


@pytest.mark.long
def test_many_random_orders(model: type[Model]) -> None:
    _run(model, 1500, 60)
