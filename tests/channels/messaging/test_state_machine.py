"""The state machine: every transition at every status, and that no order of them leads backwards."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.messaging.state_machine import ACCEPTED, RECEIVED, UNDELIVERED, RecipientStatus, State, Transition, after, of_all

SENT = RecipientStatus(State.SENT)
DELIVERED = RecipientStatus(State.DELIVERED, True)
FAILED = RecipientStatus(State.FAILED, True)
REMOVED = RecipientStatus(State.REMOVED, True)

MOVES = {
    (ACCEPTED, Transition.SENT): SENT,
    (ACCEPTED, Transition.UNDELIVERED): UNDELIVERED,
    (ACCEPTED, Transition.DELIVERED): DELIVERED,
    (ACCEPTED, Transition.FAILED): FAILED,
    (ACCEPTED, Transition.REMOVED): REMOVED,
    (SENT, Transition.DELIVERED): DELIVERED,
    (SENT, Transition.FAILED): FAILED,
    (SENT, Transition.REMOVED): REMOVED,
    (UNDELIVERED, Transition.SENT): SENT,
    (UNDELIVERED, Transition.DELIVERED): DELIVERED,
    (UNDELIVERED, Transition.FAILED): FAILED,
    (UNDELIVERED, Transition.REMOVED): REMOVED,
    (DELIVERED, Transition.REMOVED): REMOVED,
    (RECEIVED, Transition.REMOVED): REMOVED,
}
"""All that moves; everything else is late or a repeat."""

RANK = {ACCEPTED: 0, RECEIVED: 0, UNDELIVERED: 1, SENT: 2, DELIVERED: 3, FAILED: 4, REMOVED: 4}


@pytest.mark.parametrize("status", list(RANK), ids=lambda each: f"{each.state.value}-{each.by_receipt}")
@pytest.mark.parametrize("transition", list(Transition))
def test_every_transition_at_every_status(status: RecipientStatus, transition: Transition) -> None:
    assert after(status, transition) == MOVES.get((status, transition))


@given(st.lists(st.sampled_from(Transition), max_size=12))
def test_no_order_leads_backwards(transitions: list[Transition]) -> None:
    status = ACCEPTED
    for transition in transitions:
        moved = after(status, transition)
        if moved is None:
            continue
        assert RANK[moved] > RANK[status]
        assert after(moved, transition) is None, "a repeat changes nothing"
        status = moved


@pytest.mark.parametrize("order", list(itertools.permutations([Transition.SENT, Transition.DELIVERED, Transition.REMOVED])))
def test_any_order_of_what_happened_leads_to_the_same(order: tuple[Transition, ...]) -> None:
    status = ACCEPTED
    for transition in order:
        status = after(status, transition) or status
    assert status == REMOVED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["sent"], "sent"),
        (["sent", "delivered"], "sent"),
        (["delivered", "removed"], "delivered"),
        (["accepted", "sent"], "accepted"),
        (["delivered", "failed"], "failed"),
        (["removed", "removed"], "removed"),
        (["received"], "received"),
    ],
)
def test_of_several_recipients(states: list[str], expected: str) -> None:
    assert of_all(State(each) for each in states) == State(expected)


def test_without_recipients_there_is_no_state() -> None:
    with pytest.raises(ValueError, match="expected states of recipients"):
        of_all([])
