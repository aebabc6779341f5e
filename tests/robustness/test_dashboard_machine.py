"""Random conversations at the dashboards' endpoint, with a clock that jumps and an outside world that takes its time."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.core.limits import Limits
from tests.hub.core.harness import principal
from tests.robustness.campaign import LONG, SHORT, long_form, repeat
from tests.robustness.dashboard_world import Client, DashboardWorld, Json
from tests.robustness.ledger import NUMBER, Standing

PATTERNS = ["/free/a", "/free/b/c", "/free/**", "/log/a", "/log/a", "/log/*", "/log/**", "/state/a", "/state/**", "/value/1", "/mine/**"]
REFUSED_PATTERNS = ["/secret/a", "/**", "/meta/x", "a", "", "/free/*/a"]
CHANNELS = ["/free/a", "/free/a", "/free/b/c", "/log/a", "/log/a", "/log/b", "/state/a", "/state/b/c", "/value/1"]
MOST_SUBSCRIPTIONS = 6
LARGEST = 1700
"""Bytes that the largest message here counts."""

some_patterns = st.lists(st.sampled_from(PATTERNS * 4 + REFUSED_PATTERNS), min_size=1, max_size=3)
sinces = st.sampled_from([None, None, None, "known", "known", "first", 0, 5, 2**53 - 1, 2**53, -1, "x"])
commands = st.one_of(
    st.tuples(st.just("subscribe"), some_patterns, sinces),
    st.tuples(st.just("subscribe"), some_patterns, st.none()),
    st.tuples(st.just("unsubscribe"), some_patterns),
    st.tuples(st.just("ping")),
    st.tuples(st.just("hello"), st.sampled_from(["ann", "bad", None, 5])),
    st.tuples(
        st.just("odd"),
        st.sampled_from(
            [
                {"type": "x"},
                {"type": None},
                {},
                {"type": "ping", "id": {}},
                {"type": "ping", "id": True},
                {"type": "subscribe"},
                {"type": "subscribe", "channels": []},
                {"type": "subscribe", "channels": ["/free/a", 1]},
                {"type": "unsubscribe", "channels": "/free/a"},
            ]
        ),
    ),
)
frames = st.lists(commands, min_size=1, max_size=4)
GARBAGE = {
    **dict.fromkeys([b"", b"{", b"[1]", b'"x"', b"\xff", b"[" * 70 + b"]" * 70], 4400),
    b"[%b]" % b",".join([b"{}"] * 101): 4429,
}
"""What ends a connection, and the code that it is closed with."""
which = st.integers(min_value=0, max_value=5)


class DashboardMachine(RuleBasedStateMachine):
    """Some dashboards, one hub."""

    def __init__(self) -> None:
        super().__init__()
        self.world: DashboardWorld
        self.lazy = False

    @initialize(
        queue=st.sampled_from([3000, 3000, 12_000, 1 << 20]),
        frame=st.sampled_from([700, 32 * 1024]),
        open_to_all=st.booleans(),
        some_direct=st.booleans(),
        at_once=st.sampled_from([0, 1, 128]),
        known=st.lists(st.tuples(st.sampled_from(["ann", "ann", "bob", None]), some_patterns), min_size=2, max_size=4),
    )
    def begin(
        self, queue: int, frame: int, open_to_all: bool, some_direct: bool, at_once: int, known: list[tuple[str | None, list[str]]]
    ) -> None:
        """Some clients are there already, and subscribed to something."""
        limits = Limits(max_queue_bytes=queue, max_frame_bytes=frame, max_subscriptions=MOST_SUBSCRIPTIONS)
        self.world = DashboardWorld(limits, open_to_all=open_to_all)
        self.world.some_direct = some_direct
        self.world.hub.fan_outs.at_once = at_once
        self.queue = queue
        for number, (subject, patterns) in enumerate(known):
            self.connect(subject)
            if subject is not None:
                self.send(number, [("subscribe", patterns, None)])

    def _due(self) -> None:
        if not self.lazy:
            self.world.loop.settle()

    def _client(self, index: int) -> Client:
        return self.world.clients[index % len(self.world.clients)]

    def _command(self, spec: tuple[Any, ...]) -> Json:
        kind, *rest = spec
        number = self.world.ledger.number()
        command: Json = {"id": number if number % 2 else f"c{number}", "type": kind}
        if kind == "odd":
            return command | {"type": "odd"} | rest[0]
        if kind in {"subscribe", "unsubscribe"}:
            command["channels"] = rest[0]
            if kind == "subscribe" and rest[1] is not None:
                command["since"] = self._since(rest[1])
        elif kind == "hello":
            command |= {} if rest[0] is None else {"token": rest[0]}
        return command

    def _since(self, since: Any) -> Any:
        positions = list(self.world.positions.values())
        if since == "known":
            return positions[len(positions) // 2] if positions else 0
        if since == "first":
            return positions[0] if positions else 0
        return since

    # -- what clients do --------------------------------------------------------------------------------------------

    @rule(subject=st.sampled_from(["ann", "ann", "bob", None]))
    def connect(self, subject: str | None) -> None:
        self.world.connect(None if subject is None else principal(subject))
        self._due()

    @precondition(lambda self: self.world.clients)
    @rule(index=which, specs=frames)
    def send(self, index: int, specs: list[tuple[Any, ...]]) -> None:
        """A hello stands alone in its frame: whose subscriptions follow it is known when it is answered."""
        specs = next(([spec] for spec in specs if spec[0] == "hello"), specs)
        self._client(index).send([self._command(spec) for spec in specs])
        self._due()

    @precondition(lambda self: self.world.clients)
    @rule(index=which, patterns=some_patterns, since=sinces)
    def subscribe(self, index: int, patterns: list[str], since: Any) -> None:
        self.send(index, [("subscribe", patterns, since)])

    @precondition(lambda self: len(self.world.clients) > 2)
    @rule(index=which, garbage=st.sampled_from(list(GARBAGE)))
    def send_garbage(self, index: int, garbage: bytes) -> None:
        client = self._client(index)
        idle = client.open and not client.busy and not client.inbox
        client.send(garbage)
        if idle:
            assert client.closed == GARBAGE[garbage]
        self._due()

    @precondition(lambda self: len(self.world.clients) > 2)
    @rule(index=which)
    def go(self, index: int) -> None:
        self._client(index).drop()
        self._due()

    @precondition(lambda self: self.world.clients)
    @rule(index=which)
    def stall(self, index: int) -> None:
        self._client(index).buffered = self.queue + 1

    @precondition(lambda self: any(client.buffered for client in self.world.clients))
    @rule()
    def read(self) -> None:
        for client in self.world.clients:
            if client.buffered:
                client.buffered = 0
                client.conversation.drained()
        self._due()

    # -- what the hub does ------------------------------------------------------------------------------------------

    @rule(channel=st.sampled_from(CHANNELS), times=st.sampled_from([1, 1, 3, 8]), padding=st.sampled_from([0, 0, 400, 1500]))
    def emit(self, channel: str, times: int, padding: int) -> None:
        for _ in range(times):
            data = json.dumps({NUMBER: self.world.ledger.number(), "p": "x" * padding}).encode()
            self.world.loop.start(self.world.hub.publisher.emit("t", channel, data))
        self._due()

    @rule(subject=st.sampled_from(["ann", "bob"]))
    def emit_to_login(self, subject: str) -> None:
        data = json.dumps({NUMBER: self.world.ledger.number()}).encode()
        self.world.loop.start(self.world.hub.publisher.emit("t", "/mine/a", data, audience=principal(subject).login))
        self._due()

    @precondition(lambda self: len(self.world.clients) > 2)
    @rule(index=which, revoked=st.booleans())
    def end(self, index: int, revoked: bool) -> None:
        """An administrator ends the session, or its credential is gone."""
        client = self._client(index)
        if client.session is not None:
            client.session.end_revoked() if revoked else client.session.disconnect()
            assert client.closed == (4401 if revoked else 4403)
        self._due()

    # -- the world around -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 2.0, 9.0, 26.0]))
    def pass_time(self, seconds: float) -> None:
        whole = int(seconds)
        for step in [1.0] * whole + [seconds - whole]:
            self.world.pass_time(step)
            self._due()

    @rule(slow=st.booleans(), lazy=st.booleans())
    def mood(self, slow: bool, lazy: bool) -> None:
        """Whether the outside world takes its time, and whether flushes wait for the next tick that the test makes."""
        self.world.loop.slow = slow
        self.lazy = lazy
        self._due()

    @precondition(lambda self: self.world.loop.paused)
    @rule(index=which)
    def go_on(self, index: int) -> None:
        self.world.loop.go_on(index % len(self.world.loop.paused))
        self._due()

    # -- what holds always ------------------------------------------------------------------------------------------

    @invariant()
    def it_holds(self) -> None:
        self.world.check_no_fault()
        bound = self.world.queue_bound(self.queue, LARGEST, MOST_SUBSCRIPTIONS)
        for session in list(self.world.hub.sessions.by_id.values()):
            queue = session.queue
            if session.ended:  # what fan-outs had for it was too much
                continue
            assert session.queued_bytes == sum(message.size for message in queue)
            assert session.queued_bytes <= bound
        for client in self.world.clients:
            if client.session is not None:
                assert client.open or client.busy or client.lost
            if client.open and not client.busy and client.session is not None and not client.session.queue:
                assert not client.expected, f"{client.expected[0]} got no answer"

    # -- the end ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.lazy = False
        self.world.loop.finish()
        for client in self.world.clients:
            if client.buffered:
                client.buffered = 0
                client.conversation.drained()
        self.world.loop.finish()
        self.it_holds()
        for client in self.world.clients:
            self._check_receipts(client)
        for client in self.world.clients:
            client.drop()
        self.world.loop.finish()
        self.world.check_empty()

    def _check_receipts(self, client: Client) -> None:
        if client.receiver is None:
            return
        self.world.ledger.check_order(client.receiver)
        session = client.session
        if session is not None and client.open:
            conflated = self.world.hub.counters.conflated > 0
            given_up = {"state": conflated, "value": conflated, "log": False}
            lost = {channel: given_up.get(channel.split("/")[1], session.dropped > 0) for channel in client.receiver.owed.values()}
            self.world.ledger.check_complete(client.receiver, lost=lost.__getitem__)
            assert all(client.receiver.standing(pattern) is not Standing.NO for pattern in session.subscriptions)


def test_random_conversations() -> None:
    run_state_machine_as_test(DashboardMachine, settings=SHORT)


@long_form
def test_random_conversations_for_long() -> None:
    repeat(lambda: run_state_machine_as_test(DashboardMachine, settings=LONG))
