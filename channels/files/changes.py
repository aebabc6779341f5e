"""Moves files to their next state. Each change and the event that tells of it are written in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from channels.files import store_files
from channels.files.arns import Arns
from channels.files.counters import Counters
from channels.files.models import Call, FileRecord
from channels.files.serializers import event_body
from channels.files.state_machine import Action, State, follow
from hub.core.json_text import ascii_json
from hub.outbox.models import ASKING_ENDPOINTS, NO_ENDPOINT, Recorder
from hub.outbox.recorder import EventRecorder
from hub.storage.transactions import Transaction

UPLOADED: Final = "file.uploaded"
SCANNING: Final = "file.scanning"
APPROVED: Final = "file.approved"
REJECTED: Final = "file.rejected"
FAILED: Final = "file.failed"
DELETED: Final = "file.deleted"

EVENTS: Final[Mapping[str, str]] = {
    UPLOADED: "UPLOADED",
    APPROVED: "APPROVED",
    REJECTED: "REJECTED",
    FAILED: "FAILED",
    DELETED: "DELETED",
}
"""Types of events that others get, and what their bodies call them."""

_EVENT_OF: Final[Mapping[State, str]] = {
    State.UPLOADED: UPLOADED,
    State.SCANNING: SCANNING,
    State.APPROVED: APPROVED,
    State.REJECTED: REJECTED,
    State.FAILED: FAILED,
}

_COUNTED: Final = {State.UPLOADED: "uploaded", State.APPROVED: "approved", State.REJECTED: "rejected", State.FAILED: "failed"}


class FileChanges:
    """Writes changes of files, in transactions of its callers."""

    __slots__ = ("_arns", "_counters", "_outbox")

    def __init__(self, outbox: Recorder | EventRecorder, arns: Arns, counters: Counters) -> None:
        self._outbox = outbox
        self._arns = arns
        self._counters = counters

    def move(self, transaction: Transaction, file: FileRecord, action: Action, now_ms: int, **values: Any) -> FileRecord:
        """Apply an action to a file that the transaction has locked; ``values`` are other fields of it. Returns the file as it is then.

        Raises:
            IllegalActionError: the file's state does not allow it.
        """
        state = follow(file.state, action)
        if state.decided:
            values["decided_ms"] = now_ms
        if state in store_files.REFUSED:
            values["key"] = None
        moved = replace(file, state=state, **values)
        store_files.save(transaction, moved)
        if state in store_files.REFUSED:
            store_files.take_share(transaction, file.tenant, files=-1, refused=1)
        if state in _EVENT_OF and action is not Action.PUT_BACK:
            self._record(transaction, _EVENT_OF[state], moved)
            if state in _COUNTED:
                transaction.after_commit(lambda: self._count(_COUNTED[state]))
        return moved

    def delete(self, transaction: Transaction, file: FileRecord, *, erased: bool = False) -> bool:
        """Delete the row of a file. Returns whether it was there. The caller deletes the bytes after the commit. With ``erased`` the event
        says nothing of a person.
        """
        if not store_files.delete(transaction, file):
            return False
        if erased:
            for kind in (*EVENTS, SCANNING):
                self._outbox.rewrite(transaction, file.tenant, kind, f"file/{file.id}", _without_person)
        told = replace(file, name="", created_by="{}", call=Call.ATTACHED, tags={}) if erased else file
        self._record(transaction, DELETED, replace(told, reason=None))
        transaction.after_commit(lambda: self._count("deleted"))
        return True

    def _record(self, transaction: Transaction, kind: str, file: FileRecord) -> None:
        self._outbox.add(
            transaction,
            tenant=file.tenant,
            type=kind,
            key=f"file/{file.id}",
            body=event_body(EVENTS.get(kind, "SCANNING"), file, self._arns),
            endpoint=ASKING_ENDPOINTS if kind in EVENTS else NO_ENDPOINT,
        )

    def _count(self, name: str) -> None:
        setattr(self._counters, name, getattr(self._counters, name) + 1)


def _without_person(body: bytes) -> bytes:
    """The body of an event that says nothing of the person who sent the file."""
    said = orjson.loads(body)
    said["file"] |= {"name": "", "createdBy": {}}
    return ascii_json(said)
