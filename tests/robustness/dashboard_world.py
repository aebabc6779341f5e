"""The sans-I/O conversation of ``/ws`` in a :class:`HubWorld`, with a model of what each client may expect."""

from __future__ import annotations

import itertools
import json
from collections import deque
from typing import Any

from hub.bus.interface import Envelope
from hub.core.channels import matches
from hub.core.frames import payload_of
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.dashboard.conversation import Conversation, DashboardCounters
from tests.robustness.direct_way import DirectWay
from tests.robustness.hub_world import HubWorld
from tests.robustness.ledger import Ledger, Receiver, Standing

Json = dict[str, Any]
ANSWERS = {"hello": "welcome", "subscribe": "subscribed", "unsubscribe": "unsubscribed", "ping": "pong"}
"""The type of the good answer to each type of command."""

LOG_PATTERNS = ("/log/a", "/log/b", "/log/*", "/log/**")


class Client(DirectWay):
    """One dashboard: its WebSocket as the hub sees it, what it sent and what it knows."""

    def __init__(self, world: DashboardWorld, name: str, *, direct: bool) -> None:
        super().__init__(direct=direct)
        self._world = world
        self.name = name
        self.closed: int | None = None
        self.lost = False
        self.inbox: deque[bytes | list[Json]] = deque()
        self.busy = False
        self.expected: deque[Json] = deque()
        """Commands that have not been answered, in order."""
        self.receiver: Receiver | None = None
        self.greeting = False
        """It will be welcomed without having asked for it."""
        self._greeted: Any = None
        """The session that it is greeted with."""
        self.told = 0
        """The last position that it was told by itself."""
        self._before: dict[int, dict[str, Standing]] = {}
        self.conversation = Conversation(world.hub, self, world.tokens, identifier=name, counters=world.counters)

    # -- the connection, as the hub uses it -------------------------------------------------------------------------

    def write(self, frame: bytes) -> bool:
        if self.closed is not None or self.lost:
            return False
        self.got(payload_of(frame))
        return True

    def got(self, payload: bytes) -> None:
        place = self._world.place()
        for message in json.loads(payload):
            self._got(message, place)

    def breaks(self) -> bool:
        return self.lost

    def close(self, code: int, reason: str = "") -> None:
        if self.closed is None:
            self.closed = int(code)
            self.writable_changed()

    @property
    def open(self) -> bool:
        """Whether it is connected still."""
        return self.closed is None and not self.lost

    @property
    def session(self) -> Any:
        """The hub's session of this connection; None when there is none."""
        return self._world.hub.sessions.by_id.get(self.name)

    # -- what it sends ----------------------------------------------------------------------------------------------

    def send(self, message: bytes | list[Json]) -> None:
        """The transport hands over one message at a time."""
        self.inbox.append(message)
        self._pump()

    def _pump(self) -> None:
        if self.busy or not self.inbox or not self.open:
            return
        message = self.inbox.popleft()
        self.busy = True
        if not isinstance(message, bytes):
            if self.session is not None:
                self._welcomed()  # it has not read so yet, perhaps
            for command in message:
                self._sent(command)
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._world.loop.start(self.conversation.receive(payload), lambda _: self._received())

    def _received(self) -> None:
        self.busy = False
        if self.lost:
            self.conversation.gone()
        else:
            self._pump()

    def drop(self) -> None:
        """The connection is gone; the transport says so when it is not busy any more."""
        if not self.lost:
            self.lost = True
            self.writable_changed()
            if not self.busy:
                self.conversation.gone()

    def _sent(self, command: Json) -> None:
        self.expected.append(command)
        wanted = {"subscribe": Standing.YES, "unsubscribe": Standing.NO}.get(str(command.get("type")))
        if wanted is None or self.receiver is None:
            return
        patterns = patterns_of(command)
        self._before[id(command)] = {pattern: self.receiver.standing(pattern) for pattern in patterns}
        if "since" in command:
            for pattern in patterns:
                if pattern.startswith("/log/"):
                    again = any(self.receiver.standing(other) is not Standing.NO for other in LOG_PATTERNS) or len(patterns) > 1
                    self.receiver.replays[pattern] += 2 if again else 1
        self.receiver.begin(patterns, wanted)

    # -- what it gets -----------------------------------------------------------------------------------------------

    def _got(self, message: Json, place: int) -> None:
        kind = message["type"]
        if kind == "event":
            assert self.receiver is not None, f"{self.name} was told {message} before it was welcomed"
            self._world.ledger.received(self.receiver, message, (0, place))
        elif kind == "position":
            assert message["position"] > self.told, f"{self.name} was told the position {message['position']} after {self.told}"
            self.told = message["position"]
        elif kind == "welcome" and self.greeting and not self._is_answer():
            self.greeting = False
            self._welcomed()
        else:
            assert self.expected, f"{self.name} got {message}, which answers nothing"
            self._answered(self.expected.popleft(), message)

    def _is_answer(self) -> bool:
        """Whether a welcome answers a hello, though a greeting is owed too: its session ended before the greeting was written."""
        asked = bool(self.expected) and self.expected[0].get("type") == "hello"
        return asked and self.session is not None and self.session is not self._greeted

    def _answered(self, command: Json, answer: Json) -> None:
        assert answer["type"] in {"error", ANSWERS.get(str(command.get("type")))}, f"{answer} to {command}"
        identifier = command.get("id")
        if isinstance(identifier, bool) or not isinstance(identifier, int | float | str) or answer["type"] == "welcome":
            identifier = None
        assert answer.get("id") == identifier, f"{answer} to {command}"
        if answer["type"] == "welcome":
            self._welcomed()
        elif answer["type"] == "error":
            assert 400 <= answer["code"] < 600, answer
            for pattern, standing in self._before.pop(id(command), {}).items():
                self._known().end([pattern], standing)
        elif answer["type"] == "subscribed":
            self._subscribed(command, answer)
        elif answer["type"] == "unsubscribed":
            assert answer["channels"] == patterns_of(command)
            self._known().end(self._before.pop(id(command)), Standing.NO)

    def _subscribed(self, command: Json, answer: Json) -> None:
        assert [element["channel"] for element in answer["channels"]] == patterns_of(command)
        self._known().end(self._before.pop(id(command)), Standing.YES)
        for element in answer["channels"]:
            assert ("position" in element) == element["channel"].startswith("/log/"), element
            if element.get("recovered"):
                self._owe(element["channel"], command["since"])

    def _owe(self, pattern: str, since: int) -> None:
        """It was told that it has missed nothing since then: so it gets all that came since."""
        for number, position in self._world.positions.items():
            topic = self._world.ledger.topics[number]
            if position > since and matches(pattern, topic.channel) and self._known().may_know(topic):
                self._known().owed[number] = topic.channel

    def _known(self) -> Receiver:
        assert self.receiver is not None
        return self.receiver

    def _welcomed(self) -> None:
        session = self.session
        who: Principal = session.principal
        if self.receiver is None or self.receiver.tenant != who.tenant:
            self.receiver = Receiver(self.name, who, lambda: self.session is session)
            self._world.ledger.receivers.append(self.receiver)


class DashboardWorld(HubWorld):
    """Some clients of one hub."""

    def __init__(self, limits: Limits, *, open_to_all: bool) -> None:
        super().__init__(limits, self._published)
        self.tokens.open = open_to_all
        self.ledger = Ledger(lambda channel: channel.startswith("/mine/"))
        self.counters = DashboardCounters()
        self.clients: list[Client] = []
        self.positions: dict[int, int] = {}
        """Numbers of log messages and their positions."""
        self._names = itertools.count()

    def _published(self, envelope: Envelope) -> None:
        self.ledger.published(envelope)
        if envelope.position is not None:
            self.positions[next(reversed(self.ledger.places))] = envelope.position

    def connect(self, who: Principal | None) -> Client:
        """A WebSocket is accepted, with a credential or without one."""
        client = Client(self, f"d{next(self._names)}", direct=self.direct())
        self.clients.append(client)
        client.conversation.open(who)
        client.greeting = client.session is not None
        client._greeted = client.session
        return client


def patterns_of(command: Json) -> list[str]:
    """The channels of a subscribe or an unsubscribe that may be one, each once."""
    channels = command.get("channels")
    return list(dict.fromkeys(channel for channel in channels if isinstance(channel, str))) if isinstance(channels, list) else []
