"""Random conversations of many clients over both transports, with a clock that jumps and an outside world that takes its time."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.core.limits import Limits
from tests.hub.core.harness import principal
from tests.robustness.bayeux_model import Actor, ClientSession, Model
from tests.robustness.bayeux_world import Json, Request, Wire
from tests.robustness.campaign import LONG, SHORT, long_form, repeat
from tests.robustness.ledger import NUMBER

CHANNELS = ["/free/a", "/free/b/c", "/log/a", "/log/b", "/state/a", "/state/b/c", "/value/1", "/service/echo", "/service/none"]
REFUSED_CHANNELS = ["/secret/a", "/meta/x", "/meta/connect/x", "/free/*", "no/channel", "/", "/a b"]
PATTERNS = [
    "/free/a",
    "/free/b/c",
    "/free/*",
    "/free/**",
    "/log/a",
    "/log/*",
    "/log/**",
    "/state/a",
    "/state/**",
    "/value/1",
    "/mine/a",
    "/mine/**",
]
OTHER_PATTERNS = ["/service/echo", "/service/**", "/secret/a", "/**", "/meta/connect", "/meta/**", "a", "", "/free/*/a"]
FALSY = [None, 0, False, "", [], {}]
REPLAYS = [-1, -2, "-2", 5, "x"]
MOST_SUBSCRIPTIONS = 6
PADDINGS = [0, 0, 0, 300, 1500]
LARGEST = 1700
"""Bytes that the largest message here counts."""
SLACK_S = 0.2
"""Timers fire late by up to two sweeps."""

publishes = st.tuples(
    st.just("publish"),
    st.sampled_from(CHANNELS * 3 + REFUSED_CHANNELS),
    st.sampled_from(PADDINGS),
    st.sampled_from([*FALSY, "n", "n", "n", "n", "n", "n"]),
)
some_patterns = st.lists(st.sampled_from(PATTERNS * 4 + OTHER_PATTERNS), min_size=1, max_size=3)
subscribes = st.tuples(st.just("subscribe"), some_patterns, st.booleans(), st.sampled_from([None, None, None, *REPLAYS]))
unsubscribes = st.tuples(st.just("unsubscribe"), some_patterns, st.booleans())
connects = st.tuples(
    st.just("connect"), st.sampled_from([None, None, 0, 0, 500, 60_000, -1]), st.sampled_from(["last", "last", "last", "stale", "none"])
)
oddities = st.tuples(
    st.just("odd"),
    st.sampled_from(
        [
            {"channel": None},
            {"channel": 7},
            {"channel": "/free/a"},
            {"channel": "/free/a", "data": 1, "id": {}},
            {"channel": "/free/a", "data": 1, "ext": 1},
            {"channel": "/free/a", "data": 1, "clientId": 1},
            {"channel": "/free/a", "data": 1, "clientId": "unknown"},
            {"channel": "/meta/connect", "advice": []},
            {"channel": "/meta/connect", "advice": {"timeout": "x"}},
            {"channel": "/meta/connect", "connectionType": 5},
            {"channel": "/meta/connect", "ext": {"ack": "x"}},
            {"channel": "/meta/subscribe"},
            {"channel": "/meta/subscribe", "subscription": []},
            {"channel": "/meta/subscribe", "subscription": {}},
            {"channel": "/meta/unsubscribe", "subscription": [1]},
        ]
    ),
)
disconnects = st.tuples(st.just("disconnect"))
batches = st.lists(st.one_of(publishes, publishes, subscribes, unsubscribes, connects, oddities), min_size=1, max_size=4)
which = st.integers(min_value=0, max_value=11)


class BayeuxMachine(RuleBasedStateMachine):
    """Five clients of four kinds, one server."""

    def __init__(self) -> None:
        super().__init__()
        self.actors = [
            Actor("ann", "ann", browser="b1"),
            Actor("ann at home", "ann", browser="b2"),
            Actor("bob", "bob", browser="b3", by_header=True),
            Actor("guest", "", browser="b4"),
            Actor("carl", "carl", callback=True),
        ]
        self.model: Model
        self.lazy = False
        self.drains = False

    @initialize(
        queue=st.sampled_from([2500, 2500, 12_000, 1 << 20]),
        frame=st.sampled_from([700, 32 * 1024]),
        most_held=st.sampled_from([1, 4]),
        drains=st.sampled_from([False, False, True]),
        some_direct=st.booleans(),
        at_once=st.sampled_from([0, 1, 128]),
        opened=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), some_patterns), min_size=3, max_size=5),
    )
    def begin(
        self,
        queue: int,
        frame: int,
        most_held: int,
        drains: bool,
        some_direct: bool,
        at_once: int,
        opened: list[tuple[bool, bool, bool, list[str]]],
    ) -> None:
        """Some clients are there already, each by one of the transports, and subscribed to something."""
        self.model = Model(
            Limits(max_queue_bytes=queue, max_frame_bytes=frame, max_held_per_browser=most_held, max_subscriptions=MOST_SUBSCRIPTIONS)
        )
        self.world = self.model.world
        self.world.some_direct = some_direct
        self.world.hub.fan_outs.at_once = at_once
        self.queue = queue
        self.drains = drains
        for who, (by_wire, ack, replay, patterns) in enumerate(opened):
            if by_wire:
                self.open_socket(who)
            self.handshake(who, by_wire, "own", ack, replay, False, ["websocket"])
            for spec in [("subscribe", patterns, True, None), ("connect", 0, "last"), ("connect", None, "last")]:
                self.batch(who, 0, by_wire, [spec])
                for request in [request for request in self.world.requests if request.ready]:
                    self.world.answer(request)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        return self.model.ledger.number()

    def _message(self, session: ClientSession, spec: tuple[Any, ...]) -> Json:
        kind, *rest = spec
        number = self._number()
        message: Json = {"id": number if number % 2 else f"m{number}", "clientId": session.id}
        if kind == "publish":
            channel, padding, data = rest
            message |= {"channel": channel, "data": {NUMBER: number, "p": "x" * padding}}
            if data != "n" and channel != "/service/echo":
                message |= {"data": data, NUMBER: number}
        elif kind in {"subscribe", "unsubscribe"}:
            patterns, as_array = rest[0], rest[1]
            message |= {"channel": f"/meta/{kind}", "subscription": patterns if as_array or len(patterns) > 1 else patterns[0]}
            if kind == "subscribe" and rest[2] is not None:
                message["ext"] = {"replay": dict.fromkeys(patterns, rest[2])}
        elif kind == "connect":
            timeout, acknowledges = rest
            message |= {"channel": "/meta/connect", "connectionType": "long-polling"}
            if timeout is not None:
                message["advice"] = {"timeout": timeout}
            if session.acknowledges and acknowledges != "none":
                message["ext"] = {"ack": session.batch if acknowledges == "last" else max(0, session.batch - 2)}
        elif kind == "disconnect":
            message["channel"] = "/meta/disconnect"
        else:
            message |= rest[0]
            if "data" in message:
                message[NUMBER] = number
        return message

    def _send(self, actor: Actor, messages: list[Json], *, by_wire: bool) -> None:
        if by_wire and actor.wire is not None and actor.wire in self.world.wires:
            self.world.send(actor.wire, messages)
        else:
            self.model.sent(actor, messages)
            self.world.post(messages, actor.peer())
        self._due()

    def _due(self) -> None:
        if not self.lazy:
            self.world.loop.settle()

    def _session(self, actor: Actor, index: int) -> ClientSession | None:
        """Mostly the last one."""
        return actor.sessions[-1 if index < 9 else index % len(actor.sessions)] if actor.sessions else None

    # -- what clients do --------------------------------------------------------------------------------------------

    @rule(
        who=which,
        by_wire=st.booleans(),
        token=st.sampled_from(["own"] * 6 + ["bad", "none"]),
        ack=st.booleans(),
        replay=st.booleans(),
        beside=st.booleans(),
        types=st.sampled_from([["websocket"]] * 8 + [["x"], None]),
    )
    def handshake(self, who: int, by_wire: bool, token: str, ack: bool, replay: bool, beside: bool, types: list[str] | None) -> None:
        actor = self.actors[who % len(self.actors)]
        message: Json = {"id": f"h{self._number()}", "channel": "/meta/handshake", "version": "1.0", "ext": {}}
        if types is not None:
            message["supportedConnectionTypes"] = types
        if token != "none" and actor.subject:
            message["ext"]["authentication"] = {"token": actor.subject if token == "own" else "bad"}
        if ack:
            message["ext"]["ack"] = True
        if replay:
            message["ext"]["replay"] = True
        messages = [message]
        if beside and actor.sessions:
            messages.insert(0, self._message(actor.sessions[-1], ("publish", "/free/a", 0, "n")))
        self._send(actor, messages, by_wire=by_wire)

    @rule(who=which, index=which, by_wire=st.booleans(), spec=connects)
    def connect(self, who: int, index: int, by_wire: bool, spec: tuple[Any, ...]) -> None:
        self.batch(who, index, by_wire, [spec])

    @rule(by_wire=st.lists(st.booleans(), min_size=5, max_size=5), spec=connects)
    def poll(self, by_wire: list[bool], spec: tuple[Any, ...]) -> None:
        """Every client reads what there is, and connects again."""
        self.write_all()
        for who, wire in enumerate(by_wire):
            self.batch(who, 0, wire, [spec])

    @rule(who=which, index=which, by_wire=st.booleans(), spec=subscribes)
    def subscribe(self, who: int, index: int, by_wire: bool, spec: tuple[Any, ...]) -> None:
        self.batch(who, index, by_wire, [spec])

    @rule(who=which, index=which, by_wire=st.booleans(), specs=batches)
    def batch(self, who: int, index: int, by_wire: bool, specs: list[tuple[Any, ...]]) -> None:
        actor = self.actors[who % len(self.actors)]
        session = self._session(actor, index)
        if session is not None:
            self._send(actor, [self._message(session, spec) for spec in specs], by_wire=by_wire)

    @rule(who=which, by_wire=st.booleans(), before=batches)
    def disconnect(self, who: int, by_wire: bool, before: list[tuple[Any, ...]]) -> None:
        self.batch(who, 0, by_wire, [*before[1:], ("disconnect",), *before[:1]])

    @rule(who=which, victim=which, by_wire=st.booleans(), specs=batches)
    def steal(self, who: int, victim: int, by_wire: bool, specs: list[tuple[Any, ...]]) -> None:
        """Somebody sends with the clientId of another one."""
        thief, owner = self.actors[who % len(self.actors)], self.actors[victim % len(self.actors)]
        wire: Any = thief.wire
        by_wire = by_wire and wire in self.world.wires and wire.open and not wire.buffered and wire.breaks_after is None
        if thief is not owner and owner.sessions and not self.model.owns(thief, owner.sessions[-1], by_wire=by_wire):
            slow = self.world.loop.slow
            self.world.loop.finish()  # what others wait for is counted too
            before = self.world.server.counters.sessions_unknown
            self._send(thief, [self._message(owner.sessions[-1], spec) for spec in specs], by_wire=by_wire)
            self.world.loop.finish()  # it may have to wait for its part of a turn
            self.world.loop.slow = slow
            assert self.world.server.counters.sessions_unknown == before + len(specs)

    # -- what becomes of responses and connections ------------------------------------------------------------------

    def _ready(self) -> list[Request]:
        return [request for request in self.world.requests if request.ready]

    @precondition(lambda self: self._ready())
    @rule(index=which)
    def write(self, index: int) -> None:
        ready = self._ready()
        self.world.answer(ready[index % len(ready)])
        self._due()

    @precondition(lambda self: self._ready())
    @rule()
    def write_all(self) -> None:
        for request in self._ready():
            self.world.answer(request)
        self._due()

    @precondition(lambda self: any(request.batch for request in self.world.requests))
    @rule(index=which)
    def lose(self, index: int) -> None:
        processed = [request for request in self.world.requests if request.batch is not None]
        self.world.lose(processed[index % len(processed)])
        self._due()

    @rule(who=which)
    def open_socket(self, who: int) -> None:
        actor = self.actors[who % len(self.actors)]
        self.model.open_socket(actor)

    def _wire(self, index: int) -> Wire:
        return self.world.wires[index % len(self.world.wires)]

    @precondition(lambda self: self.world.wires)
    @rule(index=which)
    def close_socket(self, index: int) -> None:
        self.world.drop(self._wire(index))
        self._due()

    @precondition(lambda self: self.world.wires)
    @rule(index=which, writes=st.integers(0, 3))
    def break_socket(self, index: int, writes: int) -> None:
        self._wire(index).breaks_after = writes

    @precondition(lambda self: self.world.wires)
    @rule(index=which, queues=st.sampled_from([1, 5]))
    def stall_socket(self, index: int, queues: int) -> None:
        self._wire(index).buffered = queues * self.queue + 1

    @precondition(lambda self: any(wire.buffered for wire in self.world.wires))
    @rule()
    def read_sockets(self) -> None:
        for wire in [wire for wire in self.world.wires if wire.buffered]:
            wire.buffered = 0
            wire.connection.drained()
        self._due()

    # -- what the server does ---------------------------------------------------------------------------------------

    @rule(
        channel=st.sampled_from(["/free/a", "/free/a", "/free/b/c", "/log/a", "/log/a", "/log/b", "/state/a", "/state/b/c", "/value/1"]),
        times=st.sampled_from([1, 1, 3, 8]),
        padding=st.sampled_from([0, 0, 400, 1500]),
    )
    def emit(self, channel: str, times: int, padding: int) -> None:
        for _ in range(times):
            data = json.dumps({NUMBER: self._number(), "p": "x" * padding}).encode()
            self.world.loop.start(self.world.hub.publisher.emit("t", channel, data))
        self._due()

    @rule(who=which)
    def emit_to_login(self, who: int) -> None:
        actor = self.actors[who % len(self.actors)]
        data = json.dumps({NUMBER: self._number()}).encode()
        self.world.loop.start(self.world.hub.publisher.emit("t", "/mine/a", data, audience=principal(actor.subject).login))
        self._due()

    @rule(
        who=which,
        kind=st.sampled_from(["revoke", "disconnect", "disconnect", "sleep", "sleep"]),
        seconds=st.sampled_from([10.5, 20.2, 60.0]),
    )
    def misfortune(self, who: int, kind: str, seconds: float) -> None:
        """The end of a session, or of many: the credential is gone, the server ends it, or nobody sends anything for long."""
        actor = self.actors[who % len(self.actors)]
        session = self._session(actor, 0)
        if kind == "sleep":
            self.pass_time(seconds)
        elif kind == "revoke":
            for known in self.model.sessions.values():
                known.doomed = known.doomed or known.actor.subject == actor.subject
            list(self.world.server.revoke(lambda gone: gone.subject == actor.subject))
        elif session is not None and session.id in self.world.server.sessions:
            session.doomed = True
            session.last_event = self.world.clock.now  # it lives on until its client could be told
            self.world.server.sessions[session.id].disconnect()
        self._due()

    # -- the world around -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 0.3, 0.3, 2.0, 2.0, 5.0]))
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

    @precondition(lambda self: self.world.loop.paused)
    @rule()
    def go_on_all(self) -> None:
        slow = self.world.loop.slow
        self.world.loop.finish()
        self.world.loop.slow = slow

    # -- what holds always ------------------------------------------------------------------------------------------

    @invariant()
    def it_holds(self) -> None:
        self._check_that_queues_are_bounded()
        self.world.check_no_fault()
        self._check_that_connects_are_answered_in_time()
        self._check_that_connects_on_sockets_are_held()
        self._check_that_sessions_end_when_the_clock_says_so()

    def _check_that_queues_are_bounded(self) -> None:
        bound = self.world.queue_bound(self.queue, LARGEST, MOST_SUBSCRIPTIONS)
        for session in list(self.world.server.sessions.values()):
            queue = session.queue
            if session.ended:  # what fan-outs had for it was too much
                continue
            assert session.queued_bytes == session.reserved_bytes + sum(message.size for message in queue)
            assert session.queued_bytes <= bound, session.queued_bytes

    def _check_that_connects_are_answered_in_time(self) -> None:
        now = self.world.clock.now
        for request in self.world.requests:
            if request.batch is not None and not request.ready:
                asked = request.messages[0].get("advice", {}).get("timeout", 20_000)
                longest = 20_000 if asked < 0 else min(asked, 20_000)
                assert now - request.held_since <= longest / 1000 + 1 + SLACK_S, request.messages

    def _check_that_connects_on_sockets_are_held(self) -> None:
        """A connect on a WebSocket waits for its reply as long as it is held, and no longer."""
        for wire in self.world.wires:
            if wire.busy or not wire.open or wire.inbox:
                continue
            session = wire.connection.session
            if session is None or session.id not in self.model.sessions:
                continue
            known = self.model.sessions[session.id]
            waiting = [message for message in wire.expected if message["clientId"] == session.id]
            if not waiting:
                assert session.held is None or session.held.websocket is not wire.connection, "a connect is held that nobody sent"
            elif session.held is None and not known.used_elsewhere(wire, self.model.places[id(waiting[-1])]):
                assert any(r.batch is None for r in self.world.requests), f"{waiting[-1]} got no reply"

    def _check_that_sessions_end_when_the_clock_says_so(self) -> None:
        if self.world.loop.paused or self.lazy or any(wire.busy for wire in self.world.wires):
            return
        now = self.world.clock.now
        life = (self.world.hub.limits.interval_ms + self.world.hub.limits.max_interval_ms) / 1000
        ended_otherwise = self.world.hub.counters.too_slow + self.world.hub.counters.replays_broken
        for session in self.model.sessions.values():
            alive = self.world.server.sessions.get(session.id)
            open_requests = [r for r in self.world.requests if r.session is not None and r.session.id == session.id]
            if alive is not None and alive.held is None and not open_requests:
                assert now - session.last_event <= life + SLACK_S + 1, f"{session.receiver.name} outlives its clock"
            if alive is None and not session.doomed and not ended_otherwise:
                assert now - session.touched >= life, f"{session.receiver.name} ended before its time"

    # -- the end ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        self.lazy = False
        self.world.loop.finish()
        if self.drains:
            self._drain()
        self._read_all()
        self._check_receipts()
        self._leave()
        self._check_empty()

    def _drain(self) -> None:
        for _ in self.world.server.drain():
            self._due()
        assert all(request.ready for request in self.world.requests), "a connect is held while the server drains"
        assert not any(wire.open for wire in self.world.wires)

    def _read_all(self) -> None:
        """Every client that still has a session reads all that waits for it."""
        for request in list(self.world.requests):
            if request.ready:
                self.world.answer(request)
            else:
                self.world.lose(request)
        self.world.loop.finish()
        for wire in list(self.world.wires):
            self.world.drop(wire)
        if self.drains:
            return
        for session in self.model.sessions.values():
            for _ in range(200):
                alive = self.world.server.sessions.get(session.id)
                if alive is None or not (
                    alive.queue or alive.resync_due or alive.recovery or (session.acknowledges and alive.delivery.answers_at_once(alive))
                ):
                    break
                connect = self._message(session, ("connect", 0, "last"))
                if session.actor.callback and not session.by_script:  # over HTTP it has neither a cookie nor made the session
                    connect["ext"] = {**connect.get("ext", {}), "authentication": {"token": session.actor.subject}}
                self._send(session.actor, [connect], by_wire=False)
                self.world.loop.finish()
                self.write_all()
                self.world.loop.finish()
            else:
                raise AssertionError(f"{session.receiver.name} never gets to the end of what waits for it")

    def _check_receipts(self) -> None:
        for session in self.model.sessions.values():
            self.model.ledger.check_order(session.receiver)
            alive = self.world.server.sessions.get(session.id)
            if alive is not None and not self.drains:
                given_up = {"state": self.world.hub.counters.conflated > 0, "value": self.world.hub.counters.conflated > 0, "log": False}
                dropped = alive.dropped > 0
                lost = {channel: given_up.get(channel.split("/")[1], dropped) for channel in session.receiver.owed.values()}
                self.model.ledger.check_complete(session.receiver, lost=lost.__getitem__)

    def _leave(self) -> None:
        assert self.world.wires == []
        for _ in range(40):
            self.world.pass_time(1)
            self.world.loop.finish()

    def _check_empty(self) -> None:
        registry = self.world.server.registry
        assert (registry.sessions, registry.websockets, dict(registry.occupied), registry.connects_held) == ({}, {}, {}, 0)
        assert not registry.unconnected
        self.world.check_empty()


def test_random_conversations() -> None:
    run_state_machine_as_test(BayeuxMachine, settings=SHORT)


@long_form
def test_random_conversations_for_long() -> None:
    repeat(lambda: run_state_machine_as_test(BayeuxMachine, settings=LONG))
