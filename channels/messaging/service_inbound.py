"""Takes messages and receipts of third parties. A message is taken once, however often it is sent; a receipt changes the state of a
message. Everything is on disk before the request is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from channels.messaging import store_channels, store_media, store_messages
from channels.messaging.counters import Counters
from channels.messaging.errors import ChannelGoneError
from channels.messaging.media_links import SCHEME
from channels.messaging.message_status import StatusWriter, conversation
from channels.messaging.message_types import check_message_type, media_urls
from channels.messaging.models import Channel, Direction, Message, MessageId, Receipt, Recipient
from channels.messaging.parsing import Written
from channels.messaging.schemas import InboundContent, InboundReceipt
from channels.messaging.serializers import party
from channels.messaging.state_machine import RECEIVED, Transition
from hub.core.field_error import FieldError
from hub.core.ports import Clock
from hub.objects.folder import is_id
from hub.storage.transactions import Transaction, Transactions


@dataclass(slots=True)
class _Taken:
    """What one request brought, for the counters."""

    inbound: int = 0
    repeats: int = 0
    receipts: int = 0
    receipts_late: int = 0
    receipts_unknown: int = 0


class InboundService:
    """Takes the messages and receipts of requests whose signature was checked."""

    __slots__ = ("_clock", "_counters", "_status", "_transactions")

    def __init__(self, transactions: Transactions, status: StatusWriter, clock: Clock, counters: Counters) -> None:
        self._transactions = transactions
        self._status = status
        self._clock = clock
        self._counters = counters

    async def take(self, channel: Channel, written: Sequence[Written], trace_id: str) -> list[str]:
        """Take everything of a request, or nothing. Returns the ids of its messages, without receipts. A message that was taken before has
        the id that it got then.

        Raises:
            FieldError: a message names media that the channel does not have, or is of a type that the channel does not carry.
            ChannelGoneError: it was removed meanwhile.
            StorageError: the database cannot be written.
        """
        for index, each in enumerate(written):
            if not isinstance(each.message, InboundReceipt):
                check_message_type(channel.type, each.message.type, f"messages.{index}.type")
            elif each.message.reasons and each.message.status != "Failed":
                raise FieldError.of_value(
                    f"messages.{index}.reasons", "none, since the status is not Failed", [r.code for r in each.message.reasons]
                )
        return await self._transactions.write(lambda tx: self._take(tx, channel, written, trace_id))

    def _take(self, tx: Transaction, channel: Channel, written: Sequence[Written], trace_id: str) -> list[str]:
        now_ms = self._clock.wall_ms()
        taken = _Taken()
        new = sum(not isinstance(each.message, InboundReceipt) for each in written)
        first = store_channels.take_ids(tx, channel.number, new, now_ms) if new else None
        if first is None and (new or not store_channels.lock(tx, channel.number)):
            raise ChannelGoneError(channel.id)
        ids: list[MessageId] = []
        for index, each in enumerate(written):
            if isinstance(each.message, InboundReceipt):
                self._receipt(tx, channel, each.message, now_ms, trace_id, taken)
                continue
            assert first is not None
            identifier = MessageId(first[0], first[1] + len(ids))
            ids.append(self._message(tx, channel, index, each.message, each.raw, identifier, now_ms, trace_id, taken))
        tx.after_commit(lambda: self._count(taken))
        return [str(each) for each in ids]

    def _message(
        self,
        tx: Transaction,
        channel: Channel,
        index: int,
        content: InboundContent,
        raw: bytes,
        identifier: MessageId,
        now_ms: int,
        trace_id: str,
        taken: _Taken,
    ) -> MessageId:
        own_id = content.channel.messageId
        if own_id is not None:
            before = store_messages.by_own_id(tx, channel.number, Direction.INBOUND, own_id)
            if before is not None:
                taken.repeats += 1
                return before.id
        for field, url in media_urls(content):
            if url.startswith(SCHEME):
                known = url.removeprefix(SCHEME)
                if not is_id(known) or store_media.find(tx, channel.number, known) is None:
                    raise FieldError.of_value(f"messages.{index}.{field}", f"{SCHEME} and the id of a media resource of this channel", url)
        message = Message(
            channel=channel.number,
            id=identifier,
            direction=Direction.INBOUND,
            type=content.type,
            state=RECEIVED.state,
            own_id=own_id,
            receiver_id=None,
            conversation=conversation(channel, [content.channel.sender.id]),
            event=None,
            sender=party(content.channel.sender),
            recipients=[Recipient(each.id, each.name, RECEIVED) for each in content.channel.to],
            error="",
            body=raw,
            created_ms=now_ms,
            changed_ms=now_ms,
        )
        store_messages.insert(tx, message)
        self._status.announce(tx, channel, message, new=True, trace_id=trace_id)
        taken.inbound += 1
        return identifier

    def _receipt(self, tx: Transaction, channel: Channel, receipt: InboundReceipt, now_ms: int, trace_id: str, taken: _Taken) -> None:
        message_id = receipt.channel.messageId
        reasons = [{"code": each.code, **({"message": each.message} if each.message is not None else {})} for each in receipt.reasons]
        recipients = tuple(each.id for each in receipt.channel.to or ())
        message = store_messages.by_receipt(tx, channel.number, message_id)
        if message is None and receipt.status == Transition.REMOVED.value:
            message = store_messages.by_own_id(tx, channel.number, Direction.INBOUND, message_id) or _inbound(tx, channel, message_id)
        if message is None:
            # the third party may name the message by the id of its answer to the webhook, which may not be on disk yet
            store_messages.keep_receipt(tx, channel.number, message_id, Receipt(receipt.status, recipients, reasons), now_ms)
            taken.receipts_unknown += 1
            return
        to = whom(message, recipients)
        if to is not None and not to:
            taken.receipts_unknown += 1
        elif self._status.move(tx, channel, message, Transition(receipt.status), to=to, reasons=reasons, trace_id=trace_id):
            taken.receipts += 1
        else:
            taken.receipts_late += 1

    def _count(self, taken: _Taken) -> None:
        counters = self._counters
        counters.inbound += taken.inbound
        counters.repeats += taken.repeats
        counters.receipts += taken.receipts
        counters.receipts_late += taken.receipts_late
        counters.receipts_unknown += taken.receipts_unknown


def _inbound(tx: Transaction, channel: Channel, message_id: str) -> Message | None:
    identifier = MessageId.parse(message_id)
    found = None if identifier is None else store_messages.by_id(tx, channel.number, identifier)
    return found if found is not None and found.direction is Direction.INBOUND else None


def whom(message: Message, named: Sequence[str]) -> set[str] | None:
    """The recipients that a receipt is for; None for all. For a message with one recipient the names need not match, since systems write
    telephone numbers in different ways.
    """
    if not named or len(message.recipients) == 1 or message.direction is Direction.INBOUND:
        return None
    return {each.id for each in message.recipients} & set(named)
