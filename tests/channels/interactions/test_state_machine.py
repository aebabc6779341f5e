"""The state machine, and changes of properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.interactions.state_machine import Action, IllegalActionError, PropertyError, State, allowed_in, change, follow


@pytest.mark.parametrize("state", [State.SUBMITTED, State.QUEUED, State.PROCESSING])
@pytest.mark.parametrize(
    ("action", "next_state"),
    [(Action.QUEUE, State.QUEUED), (Action.PROCESS, State.PROCESSING), (Action.STOP, State.STOPPED), (Action.UPDATE, None)],
)
def test_what_lives_may_go_anywhere(state: State, action: Action, next_state: State | None) -> None:
    assert follow(state, action) is (next_state or state)


@pytest.mark.parametrize("action", list(Action))
def test_what_is_over_stays_over(action: Action) -> None:
    with pytest.raises(IllegalActionError, match=f"stopped cannot be asked to {action.value}: nothing is possible"):
        follow(State.STOPPED, action)


@given(st.lists(st.sampled_from(list(Action))))
def test_whatever_is_asked(actions: list[Action]) -> None:
    state = State.SUBMITTED
    for number, action in enumerate(actions):
        if action in allowed_in(state):
            state = follow(state, action)
        else:
            with pytest.raises(IllegalActionError):
                follow(state, action)
            assert Action.STOP in actions[:number]


def test_properties_are_changed_added_and_deleted() -> None:
    before = {"a": 1, "b": 2, "c": 3}
    assert change(before, {"a": 9}, {"d": 4}, ["b"]) == {"a": 9, "c": 3, "d": 4}
    assert before == {"a": 1, "b": 2, "c": 3}


def test_what_is_so_already_is_no_error() -> None:
    before = {"a": 1, "b": {"c": [1, {"d": None}]}}
    assert change(before, {"a": 1}, {"b": {"c": [1, {"d": None}]}}, ["x"]) == before


@pytest.mark.parametrize(
    ("changed", "added", "deleted", "field"),
    [
        ({"x": 1}, {}, [], "changedProperties.x"),
        ({}, {"a": 2}, [], "addedProperties.a"),
        ({}, {"a": True}, [], "addedProperties.a"),
        ({}, {"a": [1]}, [], "addedProperties.a"),
        ({"a": 1}, {}, ["a"], "deletedProperties.a"),
        ({}, {}, ["a", "a"], "deletedProperties.a"),
        ({"a": 1}, {"a": 1}, [], "addedProperties.a"),
    ],
)
def test_changes_that_cannot_be(changed: dict[str, Any], added: dict[str, Any], deleted: list[str], field: str) -> None:
    with pytest.raises(PropertyError) as refused:
        change({"a": 1}, changed, added, deleted)
    assert refused.value.field == field
