"""The states of an interaction, which action leads from one to another, and changes of its properties. No I/O, no clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from hub.core.field_error import FieldError


class State(StrEnum):
    """The state of an interaction."""

    SUBMITTED = "submitted"
    """It was created and submitted to routing: STARTED."""
    QUEUED = "queued"
    """It waits in a queue."""
    PROCESSING = "processing"
    """An agent has it: it was offered or answered."""
    STOPPED = "stopped"
    """It is over: FINISHED. Nothing follows."""


class Action(StrEnum):
    """An action on an interaction."""

    QUEUE = "queue"
    PROCESS = "process"
    UPDATE = "update"
    STOP = "stop"


_LIVE: Final = {
    Action.QUEUE: State.QUEUED,
    Action.PROCESS: State.PROCESSING,
    Action.STOP: State.STOPPED,
}
"""The state after an action on an interaction that is not over. An update changes no state."""


class IllegalActionError(ValueError):
    """The present state does not allow the action."""

    def __init__(self, state: State, action: Action) -> None:
        allowed = ", ".join(each.value for each in allowed_in(state)) or "nothing"
        super().__init__(f"an interaction that is {state.value} cannot be asked to {action.value}: {allowed} is possible")
        self.state = state
        self.action = action


class PropertyError(FieldError):
    """A change of properties is impossible. ``field`` names the property within ``data``."""


def allowed_in(state: State) -> tuple[Action, ...]:
    """The actions that a state allows."""
    return () if state is State.STOPPED else tuple(Action)


def follow(state: State, action: Action) -> State:
    """The state after an action.

    Raises:
        IllegalActionError: the present state does not allow the action.
    """
    if action not in allowed_in(state):
        raise IllegalActionError(state, action)
    return _LIVE.get(action, state)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON. Python's ``==`` does not say it: to it, 1 and true are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def change(properties: dict[str, Any], changed: dict[str, Any], added: dict[str, Any], deleted: list[str]) -> dict[str, Any]:
    """The properties after a change (docs/interactions.md), which is made whole or not at all. To add a property that has that value
    already, or to delete one that does not exist, is no error: a call that got no answer can be made again.

    Raises:
        PropertyError: a property is named twice, is to be changed and does not exist, or is to be added and has another value.
    """
    seen: set[str] = set()
    for field, names in (("changedProperties", changed), ("addedProperties", added), ("deletedProperties", deleted)):
        for name in names:
            if name in seen:
                raise PropertyError.of_value(f"{field}.{name}", "a property that is named once", name)
            seen.add(name)
            if field == "addedProperties" and name in properties and not same(properties[name], added[name]):
                raise PropertyError.of_value(f"{field}.{name}", "a property that is not there yet: changedProperties changes one", name)
            if field == "changedProperties" and name not in properties:
                raise PropertyError.of_value(f"{field}.{name}", "a property that is there", name)
    gone = set(deleted)
    return {**{name: value for name, value in properties.items() if name not in gone}, **changed, **added}
