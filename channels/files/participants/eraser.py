"""Takes a person's data out of chats: the part of :class:`channels.files.eraser.FilesEraser` for them (docs/files.md#erasing-a-person)."""

from __future__ import annotations

from typing import Final

from channels.files.participants import store_chats, store_erasure
from channels.files.participants.models import Participant
from channels.files.participants.service import ChatService
from hub.erasure import Person
from hub.storage.transactions import Transaction

BATCH: Final = 10
"""Participants that one transaction erases at most: each may have thousands of items."""


class ChatEraser:
    """Erases participants: names, and what they said. Their items stay in the transcript, empty, since pages count them."""

    __slots__ = ("_chats",)

    def __init__(self, chats: ChatService) -> None:
        self._chats = chats

    def erase(self, tx: Transaction, person: Person) -> tuple[list[Participant], int]:
        """Erase at most :data:`BATCH` of the participants that a person is: by id, by the credential that let an agent in, or by the name
        that the others see. Who is still there leaves. Returns those, and how many others were changed, since the person had let them in.
        """
        names = [each for each in (person.id, person.address, person.phone) if each]
        found = store_erasure.matching(tx, person.tenant, person.id, names, BATCH)
        for participant in found:
            store_chats.lock(tx, participant.tenant, participant.contact)
            store_erasure.erase(tx, participant)
            self._chats.erase_within(tx, participant)
            # what is told of that has no name any more
            now = store_chats.participant(tx, participant.tenant, participant.id)
            if now is not None:
                self._chats.leave_within(tx, now)
        let_in = store_erasure.forget_admitter(tx, person.tenant, person.id) if person.id and not found else 0
        return found, let_in
