"""Writes items into transcripts, each in one transaction with the event by which the hub tells of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, Final

from channels.files.participants import store_chats, store_items
from channels.files.participants.errors import ChatEndedError, TranscriptFullError
from channels.files.participants.models import ENDED, MEDIUM, Chat, Item, Kind, NewItem, Participant
from channels.files.participants.serializers import is_of, item_text, without_person
from hub.core.json_text import ascii_json
from hub.core.ports import Clock
from hub.outbox.models import NO_ENDPOINT, Recorder
from hub.storage.transactions import Transaction

ITEM: Final = "chat.item"
ERASED: Final = "chat.erased"
STARTED: Final = "chat.started"
FINISHED: Final = "chat.finished"


class Journal:
    """The transcripts of all chats. Its methods run inside transactions."""

    __slots__ = ("_clock", "_max_items", "_outbox")

    def __init__(self, outbox: Recorder, clock: Clock, max_items: int) -> None:
        """``max_items`` is how many items a transcript may have before participants can send no more messages. What else is added, such as
        that somebody has left, is bounded by the number of participants and of files.
        """
        self._outbox = outbox
        self._clock = clock
        self._max_items = max_items

    def chat(self, transaction: Transaction, tenant: str, contact: str) -> Chat:
        """A chat that is not over; no other transaction changes it before this one ends.

        Raises:
            ChatEndedError: it is over.
        """
        found = store_chats.lock(transaction, tenant, contact)
        if found is None or found.ended_ms is not None:
            raise ChatEndedError(contact)
        return found

    def started(self, transaction: Transaction, chat: Chat, user_data: Mapping[str, Any]) -> None:
        """A chat begins, and its interaction with it."""
        self._tell_interaction(transaction, chat, STARTED, {"userData": dict(user_data)})

    def add(self, transaction: Transaction, chat: Chat, new: NewItem, identifier: str | None = None) -> Item:
        """Add an item to the transcript of a chat that is locked, and have it told.

        Raises:
            TranscriptFullError: participants have sent as much as they may.
        """
        if new.kind in (Kind.MESSAGE, Kind.RECEIPT) and chat.items >= self._max_items:
            raise TranscriptFullError(f"expected at most {self._max_items} items in a transcript (files.chat_items), got one more")
        item = store_items.append(transaction, chat, new, identifier or str(uuid.uuid4()), self._clock.wall_ms())
        self._tell_item(transaction, chat, item)
        return item

    def change(self, transaction: Transaction, chat: Chat, item: Item, detail: Mapping[str, Any]) -> Item:
        """Change what an item says beside its content, and have it told again, under the same id."""
        changed = store_items.change(transaction, chat.tenant, chat.contact, item, detail)
        self._tell_item(transaction, chat, changed)
        return changed

    def erase(self, transaction: Transaction, participant: Participant) -> None:
        """Have everything that was told of a participant taken out of the channel of the transcript, and what is still to be told say
        nothing of the person.
        """
        tenant, key = participant.tenant, participant.contact
        self._outbox.rewrite(transaction, tenant, ITEM, key, lambda body: without_person(body) if is_of(body, participant.id) else None)
        # of the key of the items: what is being told at this moment is told before
        body = ascii_json({"participantId": participant.id})
        self._outbox.add(transaction, tenant=tenant, type=ERASED, key=key, media=MEDIUM, body=body, endpoint=NO_ENDPOINT)

    def end(self, transaction: Transaction, chat: Chat, reason: str | None) -> None:
        """End a chat that is locked, and the interaction if that began with the chat. ``reason`` is None if the interaction
        has finished elsewhere.
        """
        self.add(transaction, chat, NewItem(Kind.EVENT, ENDED, None))
        store_chats.end(transaction, chat, self._clock.wall_ms())
        if chat.begun and reason is not None:
            self._tell_interaction(transaction, chat, FINISHED, {"reason": reason})

    def _tell_item(self, transaction: Transaction, chat: Chat, item: Item) -> None:
        body = item_text(item, chat.contact)
        self._outbox.add(transaction, tenant=chat.tenant, type=ITEM, key=chat.contact, media=MEDIUM, body=body, endpoint=NO_ENDPOINT)

    def _tell_interaction(self, transaction: Transaction, chat: Chat, event_type: str, said: Mapping[str, Any]) -> None:
        # of another key than the items, which must not wait where the stat server refuses this
        key = f"{MEDIUM}:{hashlib.sha256(chat.contact.encode()).hexdigest()}"
        body = ascii_json({"interactionId": chat.contact, **said})
        self._outbox.add(transaction, tenant=chat.tenant, type=event_type, key=key, media=MEDIUM, body=body, endpoint=NO_ENDPOINT)
