"""The states of a message, and which step leads from one to another. No I/O, no clock.

Nothing moves a state backwards. A hub that could not hand a message over says ``failed`` provisionally: a receipt, or a later delivery that
succeeds, knows better. What a receipt said of a recipient is only overtaken by ``Removed``, and ``Failed`` by nothing: what never arrived
cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """The state of a message, or of a message for one recipient."""

    RECEIVED = "received"
    """It came in from the third party."""
    ACCEPTED = "accepted"
    """It is to go out, and is on disk."""
    SENT = "sent"
    """The third party has taken it."""
    DELIVERED = "delivered"
    """The third party's receipt: the recipient has it."""
    FAILED = "failed"
    """The third party would not have it, or its receipt says that it did not arrive."""
    REMOVED = "removed"
    """The third party's receipt: it was taken back."""


class Transition(StrEnum):
    """A step that moves a state."""

    SENT = "sent"
    """The webhook was answered with 2xx."""
    UNDELIVERED = "undelivered"
    """The webhook was given up."""
    DELIVERED = "Delivered"
    """A receipt of this status; the next two as well."""
    FAILED = "Failed"
    REMOVED = "Removed"


class RecipientStatus(NamedTuple):
    """A state, and whether a receipt says so."""

    state: State
    by_receipt: bool = False


REASONS: Final[Mapping[int, str]] = {
    305: "The message has expired.",
    310: "Rate limit reached.",
    350: "Message not allowed.",
    500: "General error.",
    510: "Unsupported message.",
    512: "Unknown message.",
    520: "Invalid message structure.",
    530: "Invalid destination.",
}
"""Why a receipt says ``Failed`` (docs/protocol/messaging.md#receipts)."""

ACCEPTED: Final = RecipientStatus(State.ACCEPTED)
RECEIVED: Final = RecipientStatus(State.RECEIVED)
_SENT: Final = RecipientStatus(State.SENT)
UNDELIVERED: Final = RecipientStatus(State.FAILED)
"""The webhook was given up: provisional, as long as no receipt says so."""
_DELIVERED: Final = RecipientStatus(State.DELIVERED, True)
_FAILED: Final = RecipientStatus(State.FAILED, True)
_REMOVED: Final = RecipientStatus(State.REMOVED, True)

_MOVES: Final[Mapping[Transition, tuple[RecipientStatus, tuple[RecipientStatus, ...]]]] = {
    Transition.SENT: (_SENT, (ACCEPTED, UNDELIVERED)),
    Transition.UNDELIVERED: (UNDELIVERED, (ACCEPTED,)),
    Transition.DELIVERED: (_DELIVERED, (ACCEPTED, _SENT, UNDELIVERED)),
    Transition.FAILED: (_FAILED, (ACCEPTED, _SENT, UNDELIVERED)),
    Transition.REMOVED: (_REMOVED, (ACCEPTED, _SENT, UNDELIVERED, _DELIVERED, RECEIVED)),
}
"""For each step, the state that it leads to and the states that it may come from. From any other state it is late and changes nothing."""

_LEAST_FIRST: Final = (State.RECEIVED, State.ACCEPTED, State.SENT, State.DELIVERED, State.REMOVED)


def after(status: RecipientStatus, transition: Transition) -> RecipientStatus | None:
    """The state after a step; None if the step is late or a repeat and changes nothing."""
    goal, sources = _MOVES[transition]
    return goal if status in sources else None


def of_all(states: Iterable[State]) -> State:
    """The state of a message from those of its recipients: failed as soon as it failed for one, else the least of them.

    Raises:
        ValueError: there are none.
    """
    there = set(states)
    if State.FAILED in there:
        return State.FAILED
    for state in _LEAST_FIRST:
        if state in there:
            return state
    raise ValueError(f"expected states of recipients, got {sorted(there)}")
