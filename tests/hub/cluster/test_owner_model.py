"""Random interleavings of what owners of a tenant do: lease, epoch, log, snapshot, and the moments between them at which a node dies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.eventlog.postgresql import PostgresEventLog
from hub.storage.migrations import HUB
from hub.storage.transactions import Transactions
from hub.storage.url import DatabaseUrl
from tests.hub.cluster.owner_model import Node, World, commands_of, looking_at_once
from tests.hub.storage.backends import EVENTS, Postgres, postgres, running_at
from tests.support.redis_server import RedisServer

__all__ = ["postgres"]

NODES = 3
ENOUGH = 400
"""Steps after which a node that nobody disturbs is the owner, whatever came before."""

_numbers = itertools.count(1)

some_node = st.integers(0, NODES - 1)


class Model(RuleBasedStateMachine):
    loop: ClassVar[asyncio.AbstractEventLoop]
    transactions: ClassVar[Transactions]
    log: ClassVar[PostgresEventLog]
    redis: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.commands = commands_of(self.redis)
        self.world = World(self.transactions, self.log, self.commands, f"t{next(_numbers)}")
        self.nodes: list[Node] = []
        self.dead: list[Node] = []
        self.calls = 0

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def add(self) -> None:
        async def start() -> Node:
            return Node(self.world)

        self.nodes.append(self.do(start()))
        self.do(self.nodes[-1].settle())

    @initialize()
    def begin(self) -> None:
        self.do(self.world.clear())
        for _ in range(NODES):
            self.add()
        self._serve(self.nodes[0])

    # -- steps ------------------------------------------------------------------------------------------------------------

    def _step(self, node: Node, which: int) -> None:
        if node.gates.waiting:
            node.gates.open(which)
        self.do(node.settle())

    @rule(by=some_node, which=st.integers(0, 3))
    def step(self, by: int, which: int) -> None:
        self._step(self.nodes[by], which)

    @rule(by=some_node, steps=st.integers(2, 24))
    def get_on(self, by: int, steps: int) -> None:
        self._go_on(self.nodes[by], steps)

    def _go_on(self, node: Node, steps: int) -> None:
        """A node gets on with all that it does, one thing after the other."""
        for _ in range(steps):
            self._step(node, 0)

    @rule(by=some_node)
    def take_over(self, by: int) -> None:
        """The lease ends, and a node takes it while all others stand still."""
        self.do(self.world.end_lease())
        self._serve(self.nodes[by])

    def _serve(self, node: Node) -> None:
        """Let a node do whatever it does until it is the owner, as it is in the end if nobody disturbs it."""
        for _ in range(ENOUGH):
            if node.serves:
                return
            self._step(node, 0)
        raise AssertionError(f"it is not the owner after {ENOUGH} steps; it waits for {[what for what, _ in node.gates.waiting]}")

    @precondition(lambda self: any(node.opened for node in self.nodes))
    @rule(by=some_node, again=st.integers(0, 4))
    def ingest(self, by: int, again: int) -> None:
        """A call comes for the first time, or is sent again by somebody who had no answer, to a node that takes itself for the owner."""
        owners = [node for node in self.nodes if node.opened]
        node = owners[by % len(owners)]
        if again == 0 or self.calls == 0:
            self.calls += 1
            call = f"c{self.calls}"
        else:
            call = f"c{max(1, self.calls - again + 1)}"
        self._begin(node, node.ingest(call))

    @precondition(lambda self: any(node.opened for node in self.nodes))
    @rule(by=some_node, count=st.integers(1, 3))
    def work(self, by: int, count: int) -> None:
        """A node that takes itself for the owner is left in peace for some calls, then saves its totals."""
        owners = [node for node in self.nodes if node.opened]
        node = owners[by % len(owners)]
        for _ in range(count):
            self.calls += 1
            self._begin(node, node.ingest(f"c{self.calls}"))
            self._go_on(node, 12)
        self._begin(node, node.snapshot())

    @rule(by=some_node, what=st.sampled_from(["publish", "snapshot", "hand over"]))
    def ask(self, by: int, what: str) -> None:
        node = self.nodes[by]
        match what:
            case "publish":
                self._begin(node, node.publish())
            case "snapshot":
                self._begin(node, node.snapshot())
            case _:
                self._begin(node, node.ownership.yield_to(self.world.tenant))

    def _begin(self, node: Node, work: Coroutine[Any, Any, None]) -> None:
        async def begin() -> None:
            node.spawn(work)
            await node.settle()

        self.do(begin())

    # -- what happens to nodes, and beneath them --------------------------------------------------------------------------

    @rule(by=some_node, what=st.sampled_from(["the lease ends", "it sleeps", "it is killed", "Redis forgets the epoch"]))
    def disturb(self, by: int, what: str) -> None:
        match what:
            case "the lease ends":
                self.do(self.world.end_lease())
            case "it sleeps":
                self.nodes[by].sleep()
                self.do(self.nodes[by].settle())
            case "it is killed":
                self._kill(by)
                self.add()
            case _:
                self.do(self.world.forget_epoch())

    def _kill(self, by: int) -> None:
        node = self.nodes.pop(by)
        node.kill()
        self.dead.append(node)

    @precondition(lambda self: any(node.gates.waiting for node in self.dead))
    @rule(which=st.integers(0, 3))
    def late(self, which: int) -> None:
        """What a process had sent before it was killed is done now."""
        node = next(node for node in self.dead if node.gates.waiting)
        self._step(node, which)

    # -- what holds -------------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_nothing_counts_twice(self) -> None:
        self.world.check()
        for node in self.nodes:
            node.check()

    def teardown(self) -> None:
        try:
            if self.nodes:
                self._recover()
        finally:
            self.do(self._close())

    def _recover(self) -> None:
        """All other processes die; one that comes then becomes the owner and has every call once."""
        while self.nodes:
            self._kill(0)
        self.do(self.world.end_lease())
        self.add()
        node = self.nodes[0]
        self._serve(node)
        self.world.check()
        node.check()
        _, calls = self.do(self.world.read())
        assert calls == {call for call, _ in self.world.records.values()}

    async def _close(self) -> None:
        for node in [*self.nodes, *self.dead]:
            await node.close()
        await self.commands.close()


@pytest.fixture
def model(postgres: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[type[Model]]:
    loop = asyncio.new_event_loop()
    url = postgres.url(loop.run_until_complete(postgres.migrated((*HUB, EVENTS))))
    Model.redis = shared_redis("redis").url
    Model.loop = loop
    running = running_at(url)
    Model.transactions = loop.run_until_complete(running.__aenter__())
    Model.log = PostgresEventLog(DatabaseUrl.parse(url))
    try:
        with looking_at_once():
            yield Model
    finally:
        loop.run_until_complete(Model.log.close())
        loop.run_until_complete(running.__aexit__(None, None, None))
        loop.close()


def _run(model: type[Model], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )


def test_random_orders(model: type[Model]) -> None:
    _run(model, 25, 40)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_random_orders(model: type[Model]) -> None:
    _run(model, 1000, 60)
