"""What a Bayeux client may expect, written down beside a :class:`BayeuxWorld`, and checked at each thing that happens."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hub.bayeux.messages import CONNECT, DISCONNECT, HANDSHAKE, SUBSCRIBE, UNSUBSCRIBE
from hub.bayeux.ports import Peer
from hub.bayeux.response_batch import ResponseBatch
from hub.bus.interface import Envelope
from hub.core.channels import SERVICE
from hub.core.limits import Limits
from tests.hub.core.harness import principal
from tests.robustness.bayeux_world import BayeuxWorld, Json, Observer, Request, Wire
from tests.robustness.ledger import Ledger, Receiver, Standing

ECHO = "/service/echo"


@dataclass(eq=False)
class Actor:
    """A browser, or a program, and the sessions that it has made."""

    name: str
    subject: str
    browser: str | None = None
    by_header: bool = False
    callback: bool = False
    sessions: list[ClientSession] = field(default_factory=list)
    wire: Wire | None = None

    def peer(self) -> Peer:
        """How its requests arrive."""
        who = principal(self.subject) if self.by_header else None
        return Peer(principal=who, presented=self.by_header, browsers=self.cookies(), callback=self.callback)

    def cookies(self) -> tuple[str, ...]:
        return () if self.browser is None else (self.browser,)


@dataclass(eq=False)
class ClientSession:
    """What a client knows of its session."""

    id: str
    actor: Actor
    by_script: bool
    """It was made by callback-polling."""
    acknowledges: bool
    receiver: Receiver
    touched: float
    """When the last request arrived that puts the session's clock back."""
    last_event: float
    """When there was anything at all that could start the clock."""
    doomed: bool = False
    """Something that ends it was done."""
    batch: int = 0
    """The last batch that its client has seen."""
    batches: dict[int, int] = field(default_factory=dict)
    """Numbers of events and the batch that brought each first."""
    last_place: int = 0
    ways: dict[Wire | None, int] = field(default_factory=dict)
    """When it was reached last by each WebSocket, and by HTTP (None); places in the world's order."""
    partial: list[Json] = field(default_factory=list)
    """Events of a WebSocket whose connect reply, with the number of the batch, has still to come."""

    def used_elsewhere(self, wire: Wire, since: int) -> bool:
        """Whether it was reached in another way than this WebSocket since then: a connect of before is ended without a reply."""
        return any(way is not wire and place > since for way, place in self.ways.items())


@dataclass
class _Operation:
    receiver: Receiver
    patterns: list[str]
    wanted: Standing
    before: dict[str, Standing]


def identity(message: Json) -> tuple[str, str]:
    """What a reply must repeat: id and channel, where they are of a type that they can have."""
    identifier = message.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | float):
        identifier = None
    channel = message.get("channel")
    return json.dumps(identifier), json.dumps(channel if isinstance(channel, str) else None)


def is_reply(message: Json) -> bool:
    """Whether it answers a request; events have data, and the server's own disconnect has no id."""
    return "data" not in message and not (message.get("channel") == DISCONNECT and "id" not in message)


class Model(Observer):
    """Sessions, subscriptions and requests as the clients see them."""

    def __init__(self, limits: Limits) -> None:
        self.ledger = Ledger(lambda channel: channel.startswith("/mine/"))
        self.world = BayeuxWorld(limits, self)
        self.sessions: dict[str, ClientSession] = {}
        self.owners: dict[Wire, Actor] = {}
        self.places: dict[int, int] = {}
        """When messages were sent by WebSocket, by their identity."""
        self._operations: dict[int, _Operation] = {}
        self._owners: dict[int, tuple[Actor, bool]] = {}
        """Who sent the requests with a handshake that are under way, and whether over a WebSocket. Both tables go by the identity of a
        message, which is kept.
        """
        self._kept: list[list[Json]] = []

    # -- on its way in ----------------------------------------------------------------------------------------------

    def sent(self, actor: Actor, messages: list[Json], *, by_wire: bool = False) -> None:
        """A request is about to be processed."""
        self._kept.append(messages)
        if any(message.get("channel") == HANDSHAKE for message in messages):
            for message in messages:
                self._owners[id(message)] = (actor, by_wire)
            return
        claimed = next((message["clientId"] for message in messages if isinstance(message.get("clientId"), str)), "")
        session = self.sessions.get(claimed)  # the first one decides for all
        if session is None or not (proves(messages) or self.owns(actor, session, by_wire=by_wire)):
            return
        for message in messages:
            if message.get("clientId") != claimed:
                continue
            session.last_event = self.world.clock.now
            if session.receiver.alive():
                session.touched = self.world.clock.now
            channel = message.get("channel")
            if channel == DISCONNECT:
                session.doomed = True
            elif channel in {SUBSCRIBE, UNSUBSCRIBE}:
                self._begin(session, message, Standing.YES if channel == SUBSCRIBE else Standing.NO)
            elif channel == ECHO and isinstance(message.get("data"), dict):
                self.ledger.direct[message["data"]["n"]] = session.receiver

    def _begin(self, session: ClientSession, message: Json, wanted: Standing) -> None:
        asked = message.get("subscription")
        patterns = [asked] if isinstance(asked, str) else asked if isinstance(asked, list) else []
        patterns = list(dict.fromkeys(p for p in patterns if isinstance(p, str) and not p.startswith(SERVICE)))
        receiver = session.receiver
        operation = _Operation(receiver, patterns, wanted, {pattern: receiver.standing(pattern) for pattern in patterns})
        self._operations[id(message)] = operation
        receiver.begin(patterns, wanted)
        if "replay" in message.get("ext", {}):
            for pattern in patterns:
                if pattern.startswith("/log/"):
                    # whoever asks while it is subscribed already, by whatever pattern, may get what it has got before
                    again = any(receiver.standing(p) is not Standing.NO for p in ("/log/a", "/log/*", "/log/**") if p != pattern)
                    receiver.replays[pattern] += 2 if again or operation.before[pattern] is not Standing.NO else 1

    def owns(self, actor: Actor, session: ClientSession, *, by_wire: bool = False) -> bool:
        """Whether requests of this actor are the session's: by its browser's cookie or its credential; where the actor has no cookie that
        any session answers to, by its id, over a WebSocket or where both are of callback-polling.
        """
        owner = session.actor
        if owner.by_header:
            return actor.by_header and actor.subject == owner.subject
        if actor.by_header:
            return False
        if owner.browser is not None and actor.browser == owner.browser:
            return True
        if actor.browser is not None and any(each.actor.browser == actor.browser for each in self._alive()):
            return False
        return by_wire or (actor.callback and session.by_script)

    def _alive(self) -> list[ClientSession]:
        return [self.sessions[identifier] for identifier in self.world.server.sessions if identifier in self.sessions]

    # -- on its way out ---------------------------------------------------------------------------------------------

    def published(self, envelope: Envelope) -> None:
        self.ledger.published(envelope)

    def handled(self, batch: ResponseBatch, messages: list[Json], peer: Peer) -> None:
        if batch.session is not None and (session := self.sessions.get(batch.session.id)) is not None:
            session.last_place = self.world.place()
            session.last_event = self.world.clock.now
            if batch.connect_seq is not None:
                session.ways[None] = session.last_place
        if batch.held is not None:
            assert len(messages) == 1, "a connect is held that was not alone"
            return
        first = [] if batch.first is None else [json.loads(batch.first)]
        replies = first + [json.loads(reply) for reply in batch.replies]
        handshake = [message for message in messages if message.get("channel") == HANDSHAKE][:1]
        ordered = handshake + [message for message in messages if message not in handshake]
        assert [identity(reply) for reply in replies] == [identity(message) for message in ordered]
        for message, reply in zip(ordered, replies, strict=True):
            self.answered(message, reply)

    def answered(self, message: Json, reply: Json) -> None:
        """The reply to one message has been made."""
        assert isinstance(reply["successful"], bool), reply
        assert reply["successful"] or reply["error"][:3].isdigit(), reply
        if reply.get("channel") in {HANDSHAKE, CONNECT}:
            assert set(reply["advice"]) >= {"reconnect", "interval", "timeout"}, reply
        sender = self._owners.pop(id(message), None)
        if sender is not None and message.get("channel") == HANDSHAKE and reply["successful"]:
            self._opened(*sender, reply)
        operation = self._operations.pop(id(message), None)
        if operation is None:
            return
        if reply["successful"]:
            operation.receiver.end(operation.patterns, operation.wanted)
        else:
            for pattern in operation.patterns:
                operation.receiver.end([pattern], operation.before[pattern])

    def _opened(self, actor: Actor, by_wire: bool, reply: Json) -> None:
        identifier = reply["clientId"]
        assert identifier not in self.sessions, "a clientId was given twice"
        who = self.world.server.sessions[identifier].principal
        now = self.world.clock.now
        receiver = Receiver(f"{actor.name}/{len(actor.sessions)}", who, lambda: self._hears(identifier))
        self.ledger.receivers.append(receiver)
        opened = ClientSession(
            identifier, actor, actor.callback and not by_wire, reply.get("ext", {}).get("ack") is True, receiver, now, now
        )
        self.sessions[identifier] = opened
        actor.sessions.append(opened)

    def _hears(self, identifier: str) -> bool:
        """Whether a session is there, and the server has not sent it away: then it waits only to be told so."""
        session = self.world.server.sessions.get(identifier)
        return session is not None and not session.closing

    def unanswered(self, request: Request) -> None:
        self._event(request)

    def _event(self, request: Request) -> ClientSession | None:
        session = self.sessions.get(request.session.id) if request.session is not None else None
        if session is not None:
            session.last_event = self.world.clock.now
        return session

    def response(self, request: Request, parts: list[Json]) -> None:
        session = self._event(request)
        replies = [part for part in parts if is_reply(part)]
        events = [part for part in parts if "data" in part]
        if request.batch is not None and request.batch.held is not None:
            (message,) = request.messages
            (reply,) = replies
            assert identity(reply) == identity(message)
            self.answered(message, reply)
        assert len(replies) == len(request.messages)
        if events:
            assert session is not None, "events without a session"
            self.events(session, events, request.place, self._batch(replies), _asked(request.messages))

    def lost(self, request: Request, parts: list[Json]) -> None:
        session = self._event(request)
        if request.batch is not None and request.batch.held is not None:
            self.answered(request.messages[0], parts[-1])
        if session is not None and session.last_place > request.place:
            numbers = [part.get("n", part["data"].get("n") if isinstance(part["data"], dict) else None) for part in parts if "data" in part]
            session.receiver.out_of_turn.update(number for number in numbers if number is not None)

    def _batch(self, replies: list[Json]) -> int | None:
        batches = [reply["ext"]["ack"] for reply in replies if reply.get("channel") == CONNECT and "ack" in reply.get("ext", {})]
        return batches[-1] if batches else None

    def events(self, session: ClientSession, events: list[Json], place: int, batch: int | None, asked: int | None) -> None:
        """A client reads events. ``batch`` is that of the connect reply that they came with, ``asked`` the one that it acknowledged."""
        if not session.acknowledges:
            for event in events:
                self.ledger.received(session.receiver, event, (0, place))
            return
        key = (1, place) if batch is None else (0, batch)
        for event in events:
            number = self._number(event)
            if number is not None and (before := session.batches.get(number)) is not None:
                if number in self.ledger.logged and session.receiver.replays_of(event["channel"]) > 1:
                    continue  # what is asked for again comes again
                assert batch is not None, f"{session.receiver.name} got {number} again without a connect reply"
                late = batch < session.batch
                assert late or asked is None or before > asked, f"{session.receiver.name} got {number} again, acknowledged with {asked}"
                continue
            self.ledger.received(session.receiver, event, key)
            if number is not None:
                session.batches[number] = batch or 0
        session.batch = max(session.batch, batch or 0)

    def _number(self, event: Json) -> int | None:
        data = event["data"]
        number = event.get("n", data.get("n") if isinstance(data, dict) else None)
        return number if isinstance(number, int) else None

    # -- WebSocket --------------------------------------------------------------------------------------------------

    def handed_over(self, wire: Wire, messages: list[Json]) -> None:
        place = self.world.place()
        for message in messages:
            self.places[id(message)] = place
            if (session := self.sessions.get(str(message.get("clientId")))) is not None:
                session.ways[wire] = place
        actor = self.owners[wire]
        self.sent(actor, messages, by_wire=True)
        claimed = next((str(message["clientId"]) for message in messages if isinstance(message.get("clientId"), str)), "")
        if claimed in self.world.server.sessions and self.owns(actor, self.sessions[claimed], by_wire=True):
            self._touched(wire)
            wire.session = self.world.server.sessions[claimed]

    def open_socket(self, actor: Actor) -> None:
        """A WebSocket of this actor is accepted; callback-polling has no cookies, and neither has its WebSocket."""
        actor.wire = self.world.socket(Peer(browsers=actor.cookies()) if not actor.by_header else actor.peer())
        self.owners[actor.wire] = actor

    def frame(self, wire: Wire, messages: list[Json], place: int) -> None:
        leads_to = wire.connection.session or wire.session
        session = self.sessions.get(leads_to.id) if leads_to is not None else None
        batch = self._batch(messages)  # of several connects in one request the last one's batch has the events
        for message in messages:
            if "data" in message:
                assert session is not None, f"{message} on a WebSocket without a session"
                session.last_place = place
                if session.acknowledges:
                    session.partial.append(message)
                else:
                    self.events(session, [message], place, None, None)
            elif is_reply(message):
                self._replied(wire, session, message, place, batch)
        if session is not None and session.acknowledges:
            session.batch = max(session.batch, batch or 0)

    def _replied(self, wire: Wire, session: ClientSession | None, reply: Json, place: int, batch: int | None) -> None:
        request = next((m for m in wire.expected if identity(m) == identity(reply)), None)
        assert request is not None, f"{reply} answers nothing that waits for a reply"
        wire.expected.remove(request)
        if reply.get("channel") == CONNECT and reply["successful"]:
            self._forget_older(wire, request)
        self.answered(request, reply)
        if session is not None:
            session.last_event = self.world.clock.now
            if session.partial and reply["successful"] and reply.get("channel") in {CONNECT, DISCONNECT}:
                events, session.partial = session.partial, []
                self.events(session, events, place, batch, _asked([request]))

    def _forget_older(self, wire: Wire, connect: Json) -> None:
        """A connect is answered: those that it took the place of never will be."""

        def superseded(message: Json) -> bool:
            same = message.get("channel") == CONNECT and message["clientId"] == connect["clientId"]
            return same and self.places[id(message)] < self.places[id(connect)]

        wire.expected = [message for message in wire.expected if not superseded(message)]

    def broke(self, wire: Wire) -> None:
        self._touched(wire)
        if wire.session is not None and (session := self.sessions.get(wire.session.id)) is not None:
            session.partial.clear()  # what came without its connect reply comes again

    def _touched(self, wire: Wire) -> None:
        if wire.session is not None and (session := self.sessions.get(wire.session.id)) is not None:
            session.last_event = self.world.clock.now

    def took(self, wire: Wire, messages: list[Json]) -> None:
        self._touched(wire)
        wire.session = wire.connection.session or wire.session
        waiting = [message for message in messages if any(message is expected for expected in wire.expected)]
        if wire.open and waiting:
            assert [message.get("channel") for message in messages] == [CONNECT], f"{waiting} got no reply"
        if not wire.open:
            wire.expected.clear()


def proves(messages: list[Json]) -> bool:
    """Whether a request brings a credential in its messages; actors bring their own alone."""
    return any("authentication" in message.get("ext", {}) for message in messages if isinstance(message.get("ext", {}), dict))


def _asked(messages: list[Json]) -> int | None:
    """The last batch that the first connect of a request acknowledges; None when it says nothing."""
    connect = next((message for message in messages if message.get("channel") == CONNECT), {})
    asked: Any = connect.get("ext", {}).get("ack")
    return asked if isinstance(asked, int) else None
