"""What was published, who may and who must receive it, and what each received: the model that random conversations are checked against.

Every message carries a number. At the moment at which the hub fans it out the ledger writes down for whom it is, by what it knows of the
subscriptions; at the end it looks whether each receiver got what was its own, once, in order, and nothing else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from hub.bus.interface import Envelope
from hub.core.channels import matches
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.core.principal import Principal

NUMBER = "n"
"""The member that numbers a message: of its data, or of the message itself where the data is no object."""


class Standing(Enum):
    """What the model knows of one subscription."""

    NO = "no"
    MAYBE = "maybe"
    """A request about it is under way, or two were at once."""
    YES = "yes"


class _Subscription:
    __slots__ = ("muddled", "standing", "under_way")

    def __init__(self) -> None:
        self.standing = Standing.NO
        self.under_way = 0
        self.muddled = False
        """Two requests about it were under way together: which came last is not known."""


class Receiver:
    """One session as the ledger sees it."""

    def __init__(self, name: str, who: Principal, alive: Callable[[], bool]) -> None:
        self.name = name
        self.tenant = who.tenant
        self.audiences = frozenset(("", *who.audiences))
        self.alive = alive
        self.owed: dict[int, str] = {}
        """Numbers that it must receive, with their channels."""
        self.allowed: set[int] = set()
        """Numbers that it may receive."""
        self.out_of_turn: set[int] = set()
        """Numbers that were on a response that was lost after a newer one had been made: they come late, and may."""
        self.received: list[tuple[tuple[int, int], int, str]] = []
        """(the place of what carried it, number, channel)."""
        self.replays: dict[str, int] = defaultdict(int)
        """Log patterns that were asked for from a position, and how often."""
        self._subscriptions: dict[str, _Subscription] = defaultdict(_Subscription)

    def may_know(self, topic: Topic) -> bool:
        """Whether messages of a topic are for its tenant, and for all or for its own login."""
        return topic.tenant == self.tenant and topic.audience in self.audiences

    def begin(self, patterns: Iterable[str], wanted: Standing) -> None:
        """A request to subscribe, or to unsubscribe, is on its way."""
        for pattern in patterns:
            subscription = self._subscriptions[pattern]
            subscription.under_way += 1
            subscription.muddled = subscription.muddled or subscription.under_way > 1
            if subscription.muddled or subscription.standing is not wanted:
                subscription.standing = Standing.MAYBE

    def end(self, patterns: Iterable[str], outcome: Standing) -> None:
        """The request has been answered: this is so from now on, unless another one is under way too."""
        for pattern in patterns:
            subscription = self._subscriptions[pattern]
            subscription.under_way -= 1
            subscription.standing = Standing.MAYBE if subscription.muddled else outcome
            if not subscription.under_way:
                subscription.muddled = False

    def standing(self, pattern: str) -> Standing:
        """What is known of one pattern."""
        return self._subscriptions[pattern].standing

    def towards(self, channel: str) -> Standing:
        """Whether a message of a channel is for this receiver."""
        found = {s.standing for pattern, s in self._subscriptions.items() if s.standing is not Standing.NO and matches(pattern, channel)}
        return Standing.YES if Standing.YES in found else Standing.MAYBE if found else Standing.NO

    def ever_asked(self, channel: str) -> bool:
        """Whether it ever subscribed to a channel: what waits for it is not taken back when it unsubscribes."""
        return any(matches(pattern, channel) for pattern in self._subscriptions)

    def replays_of(self, channel: str) -> int:
        """How often what is before now was asked for of a channel."""
        return sum(times for pattern, times in self.replays.items() if matches(pattern, channel))


class Ledger:
    """All messages and all receivers of one run."""

    def __init__(self, personal: Callable[[str], bool]) -> None:
        """``personal(channel)``: its messages are for one login each."""
        self.receivers: list[Receiver] = []
        self.places: dict[int, int] = {}
        """Number to its place in the order in which the hub fanned out."""
        self.logged: set[int] = set()
        self.direct: dict[int, Receiver] = {}
        """Numbers that were sent to one session alone, whatever it subscribed to."""
        self.topics: dict[int, Topic] = {}
        self._personal = personal
        self._next = 0

    def number(self) -> int:
        """The number of the next message."""
        self._next += 1
        return self._next

    def published(self, envelope: Envelope) -> None:
        """The hub fans a message out."""
        number = number_of(json.loads(b'{"data":%b%b}' % (envelope.data, envelope.extra)))
        assert number is not None, envelope
        assert number not in self.places, f"message {number} was published twice"
        self.places[number] = len(self.places)
        self.topics[number] = envelope.topic
        if envelope.delivery is DeliveryClass.LOG:
            self.logged.add(number)
        channel = envelope.topic.channel
        for receiver in self.receivers:
            if not receiver.alive() or not receiver.may_know(envelope.topic):
                continue
            standing = receiver.towards(channel)
            if standing is not Standing.NO:
                receiver.allowed.add(number)
            if standing is Standing.YES and (envelope.topic.audience or not self._personal(channel)):
                receiver.owed[number] = channel

    def received(self, receiver: Receiver, message: dict[str, Any], place: tuple[int, int]) -> int | None:
        """A receiver got an event; ``place`` orders what carried it. Returns its number, None for a snapshot."""
        number = number_of(message)
        channel = message["channel"]
        if number is None:
            assert isinstance(message["data"], dict), message
            assert "snapshot" in message["data"], message
            assert receiver.ever_asked(channel), f"{receiver.name} got a snapshot of {channel}"
            return None
        receiver.received.append((place, number, channel))
        if self.direct.get(number) is receiver:
            return number
        assert number in self.places, f"{receiver.name} got {message}, which was never published"
        asked = number in self.logged and receiver.replays_of(channel) and receiver.may_know(self.topics[number])
        assert number in receiver.allowed or asked, f"{receiver.name} got {message}, which is not for it"
        return number

    def check_order(self, receiver: Receiver, *, repeated: Callable[[int], bool] = lambda _: False) -> None:
        """What it received came once and in the order of publication, channel by channel. ``repeated(number)``: that one may come again."""
        last: dict[str, int] = {}
        seen: set[int] = set()
        for _, number, channel in sorted(receiver.received, key=lambda entry: entry[0]):
            if number in self.direct:
                assert number not in seen or repeated(number), f"{receiver.name} got {number} of {channel} twice"
                seen.add(number)
                continue
            if number in self.logged and receiver.replays_of(channel) > 1:  # what is asked for again comes again
                continue
            if number in seen:
                assert repeated(number), f"{receiver.name} got {number} of {channel} twice"
                continue
            seen.add(number)
            if number in receiver.out_of_turn:
                continue
            before = last.get(channel)
            assert before is None or self.places[before] < self.places[number], f"{receiver.name} got {number} of {channel} after {before}"
            last[channel] = number

    def check_complete(self, receiver: Receiver, *, lost: Callable[[str], bool]) -> None:
        """It received all that it must; ``lost(channel)``: of this channel something was given up, as its class allows."""
        got = {number for _, number, _ in receiver.received}
        missing = {number: channel for number, channel in receiver.owed.items() if number not in got and not lost(channel)}
        for number in self.logged & missing.keys():
            channel = missing[number]
            if receiver.replays_of(channel) and receiver.towards(channel) is not Standing.YES:
                del missing[number]  # it unsubscribed while it was still reading what was before
        assert missing == {}, f"{receiver.name} never got {missing}"


def number_of(message: dict[str, Any]) -> int | None:
    """The number that an event carries; None when it has none."""
    data = message.get("data")
    found = data.get(NUMBER) if isinstance(data, dict) else None
    number = message.get(NUMBER) if found is None else found
    return number if isinstance(number, int) else None
