"""The life of a file (docs/files.md#life-of-a-file)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class FileStatus(StrEnum):
    """What others are told of a file."""

    PROCESSING = "PROCESSING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


class State(StrEnum):
    """How far a file is. Only one that is approved may be read."""

    STARTED = "started"
    """It was announced; its bytes have not come."""
    UPLOADED = "uploaded"
    """All its bytes are in the store."""
    CHECKING = "checking"
    """Its uploader has completed it, and its content is being looked at."""
    SCANNING = "scanning"
    """Its content is what its name says; the scanner is asked."""
    APPROVED = "approved"
    REJECTED = "rejected"
    """Its bytes are deleted."""
    FAILED = "failed"
    """It was not completed in time, or its bytes are gone."""

    @property
    def status(self) -> FileStatus:
        """What others are told."""
        return _STATUS.get(self, FileStatus.PROCESSING)

    @property
    def decided(self) -> bool:
        """Whether nothing follows any more."""
        return self in _STATUS


class Action(StrEnum):
    """What happens to a file."""

    UPLOAD = "upload"
    """The bytes came."""
    COMPLETE = "complete"
    PUT_BACK = "put back"
    """Whoever looked at the content has ended without a word."""
    SCAN = "scan"
    APPROVE = "approve"
    REJECT = "reject"
    FAIL = "fail"


class IllegalActionError(ValueError):
    """A file in this state cannot do that."""

    def __init__(self, state: State, action: Action) -> None:
        super().__init__(f"a file that is {state} cannot {action}")
        self.state = state
        self.action = action


_STATUS: Final[Mapping[State, FileStatus]] = {
    State.APPROVED: FileStatus.APPROVED,
    State.REJECTED: FileStatus.REJECTED,
    State.FAILED: FileStatus.FAILED,
}

_NEXT: Final[Mapping[tuple[State, Action], State]] = {
    (State.STARTED, Action.UPLOAD): State.UPLOADED,
    (State.STARTED, Action.FAIL): State.FAILED,
    (State.UPLOADED, Action.COMPLETE): State.CHECKING,
    (State.UPLOADED, Action.FAIL): State.FAILED,
    (State.CHECKING, Action.PUT_BACK): State.UPLOADED,
    (State.CHECKING, Action.SCAN): State.SCANNING,
    (State.CHECKING, Action.APPROVE): State.APPROVED,
    (State.CHECKING, Action.REJECT): State.REJECTED,
    (State.CHECKING, Action.FAIL): State.FAILED,
    (State.SCANNING, Action.APPROVE): State.APPROVED,
    (State.SCANNING, Action.REJECT): State.REJECTED,
    (State.SCANNING, Action.FAIL): State.FAILED,
}


def follow(state: State, action: Action) -> State:
    """The state after an action.

    Raises:
        IllegalActionError: it is not possible in this state.
    """
    found = _NEXT.get((state, action))
    if found is None:
        raise IllegalActionError(state, action)
    return found
