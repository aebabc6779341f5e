"""The state machine: every happening at every standing, and that no order of them leads backwards."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.messaging.states import ACCEPTED, RECEIVED, UNDELIVERED, Happening, Standing, State, after, of_all

SENT = Standing(State.SENT)
DELIVERED = Standing(State.DELIVERED, True)
FAILED = Standing(State.FAILED, True)
REMOVED = Standing(State.REMOVED, True)

MOVES = {
    (ACCEPTED, Happening.SENT): SENT,
    (ACCEPTED, Happening.UNDELIVERED): UNDELIVERED,
    (ACCEPTED, Happening.DELIVERED): DELIVERED,
    (ACCEPTED, Happening.FAILED): FAILED,
    (ACCEPTED, Happening.REMOVED): REMOVED,
    (SENT, Happening.DELIVERED): DELIVERED,
    (SENT, Happening.FAILED): FAILED,
    (SENT, Happening.REMOVED): REMOVED,
    (UNDELIVERED, Happening.SENT): SENT,
    (UNDELIVERED, Happening.DELIVERED): DELIVERED,
    (UNDELIVERED, Happening.FAILED): FAILED,
    (UNDELIVERED, Happening.REMOVED): REMOVED,
    (DELIVERED, Happening.REMOVED): REMOVED,
    (RECEIVED, Happening.REMOVED): REMOVED,
}
"""All that moves; everything else is late or a repeat."""

RANK = {ACCEPTED: 0, RECEIVED: 0, UNDELIVERED: 1, SENT: 2, DELIVERED: 3, FAILED: 4, REMOVED: 4}


@pytest.mark.parametrize("standing", list(RANK), ids=lambda each: f"{each.state.value}-{each.by_receipt}")
@pytest.mark.parametrize("happening", list(Happening))
def test_every_happening_at_every_standing(standing: Standing, happening: Happening) -> None:
    assert after(standing, happening) == MOVES.get((standing, happening))


@given(st.lists(st.sampled_from(Happening), max_size=12))
def test_no_order_leads_backwards(happenings: list[Happening]) -> None:
    standing = ACCEPTED
    for happening in happenings:
        moved = after(standing, happening)
        if moved is None:
            continue
        assert RANK[moved] > RANK[standing]
        assert after(moved, happening) is None, "a repeat changes nothing"
        standing = moved


@pytest.mark.parametrize("order", list(itertools.permutations([Happening.SENT, Happening.DELIVERED, Happening.REMOVED])))
def test_any_order_of_what_happened_leads_to_the_same(order: tuple[Happening, ...]) -> None:
    standing = ACCEPTED
    for happening in order:
        standing = after(standing, happening) or standing
    assert standing == REMOVED


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
