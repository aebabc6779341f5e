"""Takes messages and events of participants. A message is in the transcript, and will be told, when its call is answered; the same call
with the same ClientToken once more has the same answer.
"""

from __future__ import annotations

import uuid
from typing import Final, NamedTuple

import orjson

from channels.events import format_time
from channels.files.participants import store_items
from channels.files.participants.counters import ChatCounters
from channels.files.participants.errors import TokenUsedError, TranscriptFullError
from channels.files.participants.journal import Journal
from channels.files.participants.models import ACKNOWLEDGED, DELIVERED, METADATA, READ, TYPING, Chat, Item, Kind, NewItem, Participant
from channels.files.participants.serializers import item_text, typing_channel
from channels.files.participants.service import digest, open_chat
from hub.core.field_error import FieldError
from hub.core.hub import Hub
from hub.core.ports import Clock
from hub.storage.transactions import Transaction, Transactions

MAX_CONTENT_BYTES: Final = 16_384
"""UTF-8 bytes of a message: the bound of Amazon's service."""

_JSON: Final = (
    "application/json",
    "application/vnd.amazonaws.connect.message.interactive",
    "application/vnd.amazonaws.connect.message.interactive.response",
)


class Sent(NamedTuple):
    """The answer to a call that sent something."""

    id: str
    at_ms: int


class ItemService:
    """What participants say in chats."""

    __slots__ = ("_clock", "_counters", "_hub", "_journal", "_transactions")

    def __init__(self, transactions: Transactions, journal: Journal, hub: Hub, clock: Clock, counters: ChatCounters) -> None:
        self._transactions = transactions
        self._journal = journal
        self._hub = hub
        self._clock = clock
        self._counters = counters

    async def send_message(self, participant: Participant, content_type: str, content: str, client_token: str | None) -> Sent:
        """Send a message.

        Raises:
            AccessDeniedError: the participant has left meanwhile.
            FieldError: the content is too long, not of its type, or of a type that the chat does not take.
            TokenUsedError: the token was used before, with something else.
            TranscriptFullError: the transcript has as many items as it may have.
            StorageError: the database cannot be written.
        """
        check_content(content_type, content)
        token = None if not client_token else digest("message", client_token)
        fields = digest(content_type, content)

        def send(tx: Transaction) -> Sent:
            chat = open_chat(self._journal, tx, participant)
            if token is not None and (known := store_items.by_token(tx, participant.tenant, participant.id, token)) is not None:
                if known.fields != fields:
                    raise TokenUsedError(client_token)
                return Sent(known.id, known.at_ms)
            if content_type not in chat.content_types:
                raise FieldError.of_value("ContentType", f"one that this chat takes: {', '.join(chat.content_types)}", content_type)
            new = NewItem(Kind.MESSAGE, content_type, participant, content, client_token=token, fields=fields)
            item = self._journal.add(tx, chat, new)
            tx.after_commit(self._count_message)
            return Sent(item.id, item.at_ms)

        try:
            return await self._transactions.write(send)
        except TranscriptFullError:
            self._counters.refused_bounds += 1
            raise

    async def send_event(self, participant: Participant, content_type: str, content: str | None, client_token: str | None) -> Sent:
        """Send an event: that the participant is typing, which is told and not kept, or that it has got or read a message.

        Raises:
            AccessDeniedError: the participant has left meanwhile.
            FieldError: the content does not name a message of this chat.
            TranscriptFullError: the transcript has as many items as it may have.
            StorageError: the database cannot be read or written.
        """
        self._counters.events += 1
        if content_type in (DELIVERED, READ):
            return await self._receipt(participant, content_type, _message_of(content))
        # the same token gives the same id, though nothing of it is kept
        identifier = str(uuid.uuid5(uuid.NAMESPACE_OID, digest(participant.id, client_token)) if client_token else uuid.uuid4())
        now_ms = self._clock.wall_ms()
        if content_type == TYPING:
            item = Item(
                0, identifier, Kind.EVENT, TYPING, None, now_ms, participant.id, participant.role.value, participant.display_name, None
            )
            contact = participant.contact
            await self._hub.publisher.emit(participant.tenant, typing_channel(contact), item_text(item, contact))
        else:
            assert content_type == ACKNOWLEDGED  # Amazon's service does nothing with it any more
        return Sent(identifier, now_ms)

    async def _receipt(self, participant: Participant, content_type: str, message: str) -> Sent:
        def receive(tx: Transaction) -> Sent:
            chat = open_chat(self._journal, tx, participant)
            found = store_items.by_id(tx, chat.tenant, chat.contact, message)
            if found is None or found.kind not in (Kind.MESSAGE, Kind.ATTACHMENT):
                raise FieldError.of_value("Content.messageId", "the Id of a message of this chat", message)
            item = self._receipt_item(tx, chat, participant, content_type, message)
            return Sent(item.id, item.at_ms)

        return await self._transactions.write(receive)

    def _receipt_item(self, tx: Transaction, chat: Chat, participant: Participant, content_type: str, message: str) -> Item:
        """Note a receipt. Of each message a participant has one item, which tells when it got it and when it has read it."""
        name = "ReadTimestamp" if content_type == READ else "DeliveredTimestamp"
        now = format_time(self._clock.wall_ms())
        known = store_items.about(tx, chat.tenant, chat.contact, Kind.RECEIPT, participant.id, message)
        before = {} if known is None or known.detail is None else known.detail["Receipts"][0]
        if known is not None and name in before:
            return known
        receipt = {"RecipientParticipantId": participant.id, **before, name: now}
        detail = {"MessageId": message, "Receipts": [receipt]}
        if known is not None:
            return self._journal.change(tx, chat, known, detail)
        return self._journal.add(tx, chat, NewItem(Kind.RECEIPT, METADATA, participant, subject=message, detail=detail))

    def _count_message(self) -> None:
        self._counters.messages += 1


def check_content(content_type: str, content: str, field: str = "Content") -> None:
    """Check the content of a message; ``field`` is what the error calls it.

    Raises:
        FieldError: it is too long, or not of its type.
    """
    size = len(content.encode(errors="surrogatepass"))
    if size > MAX_CONTENT_BYTES:
        raise FieldError(field, f"at most {MAX_CONTENT_BYTES} bytes", f"{size}")
    if content_type in _JSON:
        try:
            orjson.loads(content)
        except orjson.JSONDecodeError:
            raise FieldError.of_value(field, f"JSON text, since ContentType is {content_type}", content) from None


def _message_of(content: str | None) -> str:
    """The message that a receipt is about."""
    try:
        said = orjson.loads(content or "")
    except orjson.JSONDecodeError:
        said = None
    message = said.get("messageId") if isinstance(said, dict) else None
    if not isinstance(message, str):
        raise FieldError.of_value("Content", 'JSON text such as {"messageId": "..."}', content)
    return message
