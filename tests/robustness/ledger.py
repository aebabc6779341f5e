"""The model against which random conversations are checked: the published messages, the receivers that may or must get each, and what each
receiver got.

Every message carries a number. When the hub fans a message out, the ledger records its receivers, as far as it knows the subscriptions. At
the end it checks that each receiver got its own messages once, in order, and nothing else.
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
"""The member that holds the number of a message: in its data, or in the message itself if the data is no object."""


class Standing(Enum):
    """What the model knows of one subscription."""

    NO = "no"
    MAYBE = "maybe"
    """A request about it is in progress, or two were in progress at the same time."""
    YES = "yes"


class _Subscription:
    __slots__ = ("muddled", "standing", "under_way")

    def __init__(self) -> None:
        self.standing = Standing.NO
        self.under_way = 0
        self.muddled = False
        """Whether two requests about it were in progress together, so that nobody knows which came last."""


class Receiver:
    """One session as the ledger sees it."""

    def __init__(self, name: str, who: Principal, alive: Callable[[], bool]) -> None:
        self.name = name
        self.tenant = who.tenant
        self.audiences = frozenset(("", *who.audiences))
        self.alive = alive
        self.owed: dict[int, str] = {}
        """The numbers of messages that it must receive, with their channels."""
        self.allowed: set[int] = set()
        """The numbers of messages that it may receive."""
        self.out_of_turn: set[int] = set()
        """The numbers of messages on a response that was lost after a newer response had been made. They may arrive late."""
        self.received: list[tuple[tuple[int, int], int, str]] = []
        """(the order of the response or frame that carried it, number, channel)."""
        self.replays: dict[str, int] = defaultdict(int)
        """The log patterns that were requested from a position, and how often."""
        self._subscriptions: dict[str, _Subscription] = defaultdict(_Subscription)

    def may_know(self, topic: Topic) -> bool:
        """Whether messages of a topic are for the session: of its tenant, and for everybody or for its own login."""
        return topic.tenant == self.tenant and topic.audience in self.audiences

    def begin(self, patterns: Iterable[str], wanted: Standing) -> None:
        """Record that a request to subscribe or to unsubscribe was sent."""
        for pattern in patterns:
            subscription = self._subscriptions[pattern]
            subscription.under_way += 1
            subscription.muddled = subscription.muddled or subscription.under_way > 1
            if subscription.muddled or subscription.standing is not wanted:
                subscription.standing = Standing.MAYBE

    def end(self, patterns: Iterable[str], outcome: Standing) -> None:
        """Record that the request was answered. Its result holds from now on, unless another request is in progress too."""
        for pattern in patterns:
            subscription = self._subscriptions[pattern]
            subscription.under_way -= 1
            subscription.standing = Standing.MAYBE if subscription.muddled else outcome
            if not subscription.under_way:
                subscription.muddled = False

    def standing(self, pattern: str) -> Standing:
        """The state of one pattern, as far as it is known."""
        return self._subscriptions[pattern].standing

    def towards(self, channel: str) -> Standing:
        """Whether this receiver is to get a message of a channel."""
        found = {s.standing for pattern, s in self._subscriptions.items() if s.standing is not Standing.NO and matches(pattern, channel)}
        return Standing.YES if Standing.YES in found else Standing.MAYBE if found else Standing.NO

    def ever_asked(self, channel: str) -> bool:
        """Whether it ever subscribed to a channel. Messages that wait for it are not removed when it unsubscribes."""
        return any(matches(pattern, channel) for pattern in self._subscriptions)

    def replays_of(self, channel: str) -> int:
        """How often earlier messages of a channel were requested."""
        return sum(times for pattern, times in self.replays.items() if matches(pattern, channel))


class Ledger:
    """All messages and all receivers of one run."""

    def __init__(self, personal: Callable[[str], bool]) -> None:
        """``personal(channel)`` returns whether each message of a channel is for one login."""
        self.receivers: list[Receiver] = []
        self.places: dict[int, int] = {}
        """From the number of a message to its place in the order of the fan-outs."""
        self.logged: set[int] = set()
        self.direct: dict[int, Receiver] = {}
        """The numbers of messages that were sent to one session alone, independent of its subscriptions."""
        self.topics: dict[int, Topic] = {}
        self._personal = personal
        self._next = 0

    def number(self) -> int:
        """Return the number of the next message."""
        self._next += 1
        return self._next

    def published(self, envelope: Envelope) -> None:
        """Record that the hub fans a message out."""
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
        """Record that a receiver got an event; ``place`` is the order of the response or frame that carried it. Returns the number of the
        event, None for a snapshot.
        """
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
        """Check that each message arrived once and in the order of publication, for each channel. ``repeated(number)`` returns whether
        a message may arrive again.
        """
        last: dict[str, int] = {}
        seen: set[int] = set()
        for _, number, channel in sorted(receiver.received, key=lambda entry: entry[0]):
            if number in self.direct:
                assert number not in seen or repeated(number), f"{receiver.name} got {number} of {channel} twice"
                seen.add(number)
                continue
            if number in self.logged and receiver.replays_of(channel) > 1:  # messages that are requested again arrive again
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
        """Check that everything arrived that had to. ``lost(channel)`` returns whether messages of a channel were dropped, as its
        delivery class allows.
        """
        got = {number for _, number, _ in receiver.received}
        missing = {number: channel for number, channel in receiver.owed.items() if number not in got and not lost(channel)}
        for number in self.logged & missing.keys():
            channel = missing[number]
            if receiver.replays_of(channel) and receiver.towards(channel) is not Standing.YES:
                del missing[number]  # it unsubscribed while it was still reading earlier messages
        assert missing == {}, f"{receiver.name} never got {missing}"


def number_of(message: dict[str, Any]) -> int | None:
    """Return the number of an event; None if it has none."""
    data = message.get("data")
    found = data.get(NUMBER) if isinstance(data, dict) else None
    number = message.get(NUMBER) if found is None else found
    return number if isinstance(number, int) else None
