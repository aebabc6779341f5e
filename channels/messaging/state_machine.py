"""The states of a message, and which transition leads from one to another. No I/O, no clock.

A state never moves backwards. When the hub could not deliver a message, ``failed`` is provisional: a receipt, or a later delivery that
succeeds, replaces it. A state that a receipt set is only replaced by ``Removed``. ``Failed`` of a receipt is final: a message that did not
arrive cannot be removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """The state of a message, or of a message for one recipient."""

    RECEIVED = "received"
    """The third party sent it."""
    ACCEPTED = "accepted"
    """An agent's system sent it, and it is on disk."""
    SENT = "sent"
    """The third party has taken it."""
    DELIVERED = "delivered"
    """The third party's receipt: the recipient has it."""
    FAILED = "failed"
    """The third party refused it, or its receipt says that it did not arrive."""
    REMOVED = "removed"
    """The third party's receipt: it was taken back."""


class Transition(StrEnum):
    """What moves a message from one state to another."""

    SENT = "sent"
    """The webhook was answered with 2xx."""
    UNDELIVERED = "undelivered"
    """The last attempt to call the webhook failed."""
    DELIVERED = "Delivered"
    """A receipt of this status; so are the next two."""
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
"""The last attempt to call the webhook failed. Provisional, until a receipt comes."""
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
"""For each transition, the status that it leads to, and those from which it does. From any other status it changes nothing: it is late."""

_LEAST_FIRST: Final = (State.RECEIVED, State.ACCEPTED, State.SENT, State.DELIVERED, State.REMOVED)


def after(status: RecipientStatus, transition: Transition) -> RecipientStatus | None:
    """The status after a transition; None if it is late or a repeat, and changes nothing."""
    goal, sources = _MOVES[transition]
    return goal if status in sources else None


def of_all(states: Iterable[State]) -> State:
    """The state of a message from those of its recipients: failed if it failed for one of them, else the least of them.

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
