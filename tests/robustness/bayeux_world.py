"""The sans-I/O Bayeux server in a world that is slow, breaks and forgets when the test says so."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from hub.bayeux.messages import read_request
from hub.bayeux.ports import Peer
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.server import BayeuxServer, claimed_id
from hub.bayeux.services import ServiceMessage
from hub.bayeux.session import ServerSession
from hub.bayeux.websocket import WebSocketConnection
from hub.bus.interface import Envelope
from hub.core.frames import payload_of
from hub.core.limits import Limits
from tests.robustness.direct_way import DirectWay
from tests.robustness.hub_world import HubWorld

Json = dict[str, Any]


class Request:
    """One HTTP request, from its arrival until its response was written or lost."""

    def __init__(self, messages: list[Json], peer: Peer) -> None:
        self.messages = messages
        self.peer = peer
        self.batch: ResponseBatch | None = None
        self.session: ServerSession | None = None
        self.ready = False
        """The response can be written: it is made when it is."""
        self.place = 0
        """The order in which responses took what they carry."""
        self.held_since = 0.0


class Wire(DirectWay):
    """A WebSocket: its client reads what is written at once, its buffer is as full as the test says, and it breaks when the test says."""

    def __init__(self, world: BayeuxWorld, *, direct: bool) -> None:
        super().__init__(direct=direct)
        self._world = world
        self.closed: int | None = None
        self.lost = False
        self.breaks_after: int | None = None
        """So many more writes are taken; the next one finds the connection broken."""
        self.inbox: deque[list[Json]] = deque()
        self.busy = False
        self.over = False
        """The transport has told the connection that it is gone."""
        self.expected: list[Json] = []
        """Messages that have been handed over and not been answered."""
        self.session: ServerSession | None = None
        """The session that it led to last."""
        self.connection: WebSocketConnection

    @property
    def open(self) -> bool:
        return self.closed is None and not self.lost

    def write(self, frame: bytes) -> bool:
        if not self.open:
            self._world.observer.broke(self)
            return False
        if self.breaks():
            return False
        self.got(payload_of(frame))
        return True

    def got(self, payload: bytes) -> None:
        self._world.frame(self, json.loads(payload))

    def close(self, code: int, reason: str = "") -> None:
        if self.closed is None:
            self.closed = int(code)
            self.expected.clear()
            self.writable_changed()

    def breaks(self) -> bool:
        if self.breaks_after is None:
            return self.lost
        self.breaks_after -= 1
        if self.breaks_after >= 0:
            return False
        self.lost = True
        self._world.observer.broke(self)
        return True


class BayeuxWorld(HubWorld):
    """One Bayeux server in it; what happens is told to ``observer``."""

    def __init__(self, limits: Limits, observer: Observer) -> None:
        super().__init__(limits, observer.published)
        self.observer = observer
        self.server = BayeuxServer(
            self.hub, self.tokens, jitter=lambda below: below - 1, on_fault=lambda source, fault: self.faults.append(fault)
        )
        self.server.services.listen("/service/echo", self._echo)
        self.requests: list[Request] = []
        self.wires: list[Wire] = []

    async def _echo(self, session: ServerSession, message: ServiceMessage) -> None:
        await self.loop.answer()
        session.deliver("/service/echo", message.data)

    # -- HTTP -------------------------------------------------------------------------------------------------------

    def post(self, messages: list[Json], peer: Peer) -> None:
        """A request arrives."""
        request = Request(messages, peer)
        self.requests.append(request)
        incoming = read_request(json.dumps(messages).encode(), self.hub.limits)
        request.session = self.server.owner(claimed_id(incoming))
        self.loop.start(self.server.handle(incoming, peer), lambda batch: self._handled(request, batch))

    def _handled(self, request: Request, batch: ResponseBatch) -> None:
        request.batch = batch
        request.session = batch.session
        request.place = self.place()
        self.observer.handled(batch, request.messages, request.peer)
        if batch.held is None:
            request.ready = True
            return
        request.held_since = self.clock.now
        batch.on_ready(lambda _: self._held_done(request))

    def _held_done(self, request: Request) -> None:
        assert not request.ready, "a held connect ended twice"
        request.ready = True
        request.place = self.place()

    def answer(self, request: Request) -> None:
        """Write a response that is ready."""
        self.requests.remove(request)
        assert request.batch is not None
        if request.batch.superseded:
            self.observer.unanswered(request)
            return
        parts = [json.loads(part) for part in request.batch.parts()]
        request.batch.written()
        self.observer.response(request, parts)

    def lose(self, request: Request) -> None:
        """The client goes before its response could be written, or while its connect is held."""
        self.requests.remove(request)
        assert request.batch is not None
        if not request.ready:
            request.batch.abandon()
            self.observer.unanswered(request)
        elif request.batch.superseded:
            self.observer.unanswered(request)
        else:
            self.observer.lost(request, [json.loads(part) for part in request.batch.parts()])
            request.batch.lost()

    # -- WebSocket --------------------------------------------------------------------------------------------------

    def socket(self, peer: Peer) -> Wire:
        """A WebSocket is accepted."""
        wire = Wire(self, direct=self.direct())
        wire.connection = WebSocketConnection(self.server, wire, peer)
        self.wires.append(wire)
        return wire

    def send(self, wire: Wire, messages: list[Json]) -> None:
        """The client sends a message; the transport hands over one at a time."""
        wire.inbox.append(messages)
        self._pump(wire)

    def _pump(self, wire: Wire) -> None:
        if wire.busy or wire.over:
            return
        if wire.lost:
            wire.over = True
            self.observer.broke(wire)
            wire.connection.gone()
            self.wires.remove(wire)
        elif wire.closed is not None:
            wire.inbox.clear()
        elif wire.inbox:
            messages = wire.inbox.popleft()
            wire.busy = True
            wire.expected.extend(messages)
            self.observer.handed_over(wire, messages)
            self.loop.start(wire.connection.receive(json.dumps(messages).encode()), lambda _: self._received(wire, messages))

    def _received(self, wire: Wire, messages: list[Json]) -> None:
        wire.busy = False
        self.observer.took(wire, messages)
        self._pump(wire)

    def frame(self, wire: Wire, messages: list[Json]) -> None:
        """The server wrote a frame."""
        self.observer.frame(wire, messages, self.place())

    def drop(self, wire: Wire) -> None:
        """The connection is gone."""
        wire.lost = True
        wire.writable_changed()
        self._pump(wire)


class Observer:
    """What is told of a :class:`BayeuxWorld`; each method is one thing that happened."""

    def published(self, envelope: Envelope) -> None:
        """The hub fanned a message out."""

    def handled(self, batch: ResponseBatch, messages: list[Json], peer: Peer) -> None:
        """An HTTP request was processed; its response is not written yet, its connect perhaps held."""

    def unanswered(self, request: Request) -> None:
        """A held connect is over without a reply: a newer one took its place, or the client has gone."""

    def response(self, request: Request, parts: list[Json]) -> None:
        """A response was written."""

    def lost(self, request: Request, parts: list[Json]) -> None:
        """A response is about to be reported as lost."""

    def handed_over(self, wire: Wire, messages: list[Json]) -> None:
        """A WebSocket message is about to be processed."""

    def took(self, wire: Wire, messages: list[Json]) -> None:
        """A WebSocket message was processed."""

    def frame(self, wire: Wire, messages: list[Json], place: int) -> None:
        """A frame was written."""

    def broke(self, wire: Wire) -> None:
        """A WebSocket is over, or was found to be."""
