"""A Bayeux server whose clock and loop are the test's own: messages in, messages out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.bayeux.messages import read_request
from hub.bayeux.ports import Peer
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.server import BayeuxServer
from hub.bayeux.websocket import WebSocketConnection
from hub.bus.interface import Bus
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.frames import array
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.eventlog.channel_log import ChannelLog
from tests.hub.core.harness import World, principal
from tests.world import FakeConnection

RETRY = {"reconnect": "retry", "interval": 0, "timeout": 20000}
NONE = {"reconnect": "none", "interval": 0, "timeout": 20000}
HANDSHAKE = {"reconnect": "handshake", "interval": 0, "timeout": 20000}

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    principal: Principal | None


@dataclass
class Tokens:
    """The token is the subject that it stands for; ``bad`` stands for nobody. ``open`` lets anonymous clients in."""

    open: bool = False
    asked: list[tuple[object, str | None]] = field(default_factory=list)

    def still_good(self, principal: Principal) -> bool:
        return True

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Answer:
        self.asked.append((authentication, statistics_session))
        token = authentication.get("token") if isinstance(authentication, dict) else None
        return Answer(principal(token) if isinstance(token, str) and token != "bad" else None)

    def anonymous(self, *, discriminator: str = "") -> Principal | None:
        return Principal("demo", "anonymous", frozenset(), discriminator, discriminator, anonymous=True) if self.open else None


class Bayeux(World):
    """One server, over which tests speak as HTTP requests or by WebSocket."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        tokens: Tokens | None = None,
        declarations: Iterable[ChannelDeclaration] | None = None,
        log: ChannelLog | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.values: dict[str, bytes] = {}
        super().__init__(
            [
                ChannelDeclaration("/log/**", DeliveryClass.LOG, "log"),
                ChannelDeclaration("/state/**", DeliveryClass.STATE, "state", snapshot=self._snapshot),
            ]
            if declarations is None
            else declarations,
            limits=limits,
            log=log,
            bus=bus,
        )
        self.tokens = tokens or Tokens()
        self.server = BayeuxServer(self.hub, self.tokens, jitter=lambda below: below - 1)

    async def _snapshot(self, tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        return list(self.values.items())

    async def request(self, messages: object, peer: Peer | None = None) -> ResponseBatch:
        """One HTTP request, not yet written; ``messages`` as bytes are sent as they are."""
        payload = messages if isinstance(messages, bytes) else json.dumps(messages).encode()
        return await self.server.handle(read_request(payload, self.hub.limits), peer or Peer(browsers=("browser",)))

    async def post(self, *messages: object, peer: Peer | None = None) -> list[Json]:
        """One HTTP request and its response; no connect may be held."""
        batch = await self.request(list(messages), peer)
        assert batch.held is None
        batch.written()
        return json.loads(array(batch.parts()))  # type: ignore[no-any-return]

    async def emit(self, channel: str, data: bytes = b"1") -> None:
        """Something is published for all, and every flush is done."""
        await self.hub.publisher.emit("t", channel, data)
        await self.loop.run()

    async def client(self, **options: Any) -> Client:
        """A long-polling client that has shaken hands and connected."""
        client = Client(self, **options)
        await client.open()
        return client

    def socket(self, **peer: Any) -> SocketClient:
        """A WebSocket that has just been accepted."""
        return SocketClient(self, Peer(**peer))


class HookedBus:
    """A bus on which something happens before a subscription is confirmed."""

    def __init__(self, bus: Any, subscribe: Any) -> None:
        self._bus = bus
        self.subscribe = subscribe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


class Held:
    """A connect that is held, as a transport sees it."""

    def __init__(self, batch: ResponseBatch) -> None:
        self.batch = batch
        self.done = False
        batch.on_ready(self._done)

    def _done(self, batch: ResponseBatch) -> None:
        assert not self.done
        self.done = True

    def response(self) -> list[Json]:
        """What is written, once it has ended."""
        assert self.done
        self.batch.written()
        return [json.loads(part) for part in self.batch.parts()]


def handshake(**members: Any) -> Json:
    return {"id": "1", "channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling", "websocket"], **members}


def by_token(token: str = "ann") -> Json:
    return handshake(ext={"authentication": {"token": token}})


class Client:
    """A long-polling client."""

    def __init__(self, bayeux: Bayeux, *, peer: Peer | None = None, message: Json | None = None) -> None:
        self.bayeux = bayeux
        self.peer = peer or Peer(browsers=("browser",))
        self.id = ""
        self._message = message or by_token()

    async def shake(self) -> Json:
        (reply,) = await self.bayeux.post(self._message, peer=self.peer)
        assert reply["successful"], reply
        self.id = reply["clientId"]
        if self.peer.offered is not None and self.peer.origin is None and not self.peer.websocket:  # kept, as a browser does
            self.peer = Peer(browsers=(self.peer.offered,))
        return reply

    async def open(self) -> None:
        await self.shake()
        (reply,) = await self.post(self.connect(timeout=0))
        assert reply["successful"], reply

    @property
    def session(self) -> Any:
        return self.bayeux.server.sessions[self.id]

    def message(self, channel: str, **members: Any) -> Json:
        return {"id": "9", "channel": channel, "clientId": self.id, **members}

    def connect(self, *, timeout: int | None = None, **members: Any) -> Json:
        advice = {} if timeout is None else {"advice": {"timeout": timeout}}
        return self.message("/meta/connect", connectionType="long-polling", **advice, **members)

    def subscribe(self, subscription: Any, **members: Any) -> Json:
        return self.message("/meta/subscribe", subscription=subscription, **members)

    async def post(self, *messages: object) -> list[Json]:
        return await self.bayeux.post(*messages, peer=self.peer)

    async def subscribed(self, subscription: Any) -> None:
        replies = await self.post(self.subscribe(subscription))
        assert replies[-1]["successful"], replies

    async def hold(self, **members: Any) -> Held:
        batch = await self.bayeux.request([self.connect(**members)], self.peer)
        assert batch.held is not None, batch.parts()
        return Held(batch)


class SocketClient(Client):
    """A WebSocket client."""

    def __init__(self, bayeux: Bayeux, peer: Peer) -> None:
        super().__init__(bayeux, peer=peer)
        self.wire = FakeConnection()
        self.connection = WebSocketConnection(bayeux.server, self.wire, peer)

    async def send(self, *messages: object) -> list[Json]:
        """One WebSocket message, and everything that the server wrote until it had nothing more to do."""
        await self.connection.receive(json.dumps(list(messages)).encode())
        return await self.read()

    async def read(self) -> list[Json]:
        await self.bayeux.loop.run()
        assert not self.bayeux.faults
        frames, self.wire.frames = self.wire.frames, []
        return [message for frame in frames for message in json.loads(frame)]

    async def open(self) -> None:
        (reply,) = await self.send(self._message)
        assert reply["successful"], reply
        self.id = reply["clientId"]
        (reply,) = await self.send(self.connect(timeout=0))
        assert reply["successful"], reply

    async def subscribed(self, subscription: Any) -> None:
        replies = await self.send(self.subscribe(subscription))
        assert replies[-1]["successful"], replies
