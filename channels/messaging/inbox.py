"""Takes what third parties send: each message once, and receipts, which change the state of a message. All is on disk before the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from channels.messaging import channel_store, media_store, message_store
from channels.messaging.channel_store import Channel, ChannelGoneError
from channels.messaging.counters import Counters
from channels.messaging.kinds import check_kind, media_urls
from channels.messaging.media import SCHEME, is_id
from channels.messaging.message_store import Direction, Message, MessageId, Receipt, Recipient
from channels.messaging.parsing import Written
from channels.messaging.progress import Progress, conversation
from channels.messaging.schemas import InboundContent, InboundReceipt, OutParty, Party
from channels.messaging.states import RECEIVED, Happening
from hub.core.ports import Clock
from hub.ops.envelope import ApiError
from hub.storage.transactions import Transaction, Transactions


@dataclass(slots=True)
class _Taken:
    """The outcome of a request."""

    inbound: int = 0
    repeats: int = 0
    receipts: int = 0
    receipts_late: int = 0
    receipts_unknown: int = 0


class Inbox:
    """Takes a request whose signature was checked."""

    __slots__ = ("_clock", "_counters", "_progress", "_transactions")

    def __init__(self, transactions: Transactions, progress: Progress, clock: Clock, counters: Counters) -> None:
        self._transactions = transactions
        self._progress = progress
        self._clock = clock
        self._counters = counters

    async def take(self, channel: Channel, written: Sequence[Written], trace_id: str) -> list[str]:
        """Take all of a request or nothing. Returns the ids of its messages, without receipts. A repeated message has the id of the first.

        Raises:
            ApiError: 400, a message names media that the channel does not have, or is of a type that the channel does not carry.
            ChannelGoneError: it was removed meanwhile.
            StorageError: the database cannot be written.
        """
        for index, each in enumerate(written):
            if not isinstance(each.message, InboundReceipt):
                check_kind(channel.type, each.message.type, f"messages.{index}.type")
            elif each.message.reasons and each.message.status != "Failed":
                raise ApiError.of_field(
                    f"messages.{index}.reasons", "none, since the status is not Failed", [r.code for r in each.message.reasons]
                )
        return await self._transactions.write(lambda tx: self._take(tx, channel, written, trace_id))

    def _take(self, tx: Transaction, channel: Channel, written: Sequence[Written], trace_id: str) -> list[str]:
        now_ms = self._clock.wall_ms()
        taken = _Taken()
        new = sum(not isinstance(each.message, InboundReceipt) for each in written)
        first = channel_store.take_ids(tx, channel.number, new, now_ms) if new else None
        if first is None and (new or not channel_store.lock(tx, channel.number)):
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
            before = message_store.by_own_id(tx, channel.number, Direction.INBOUND, own_id)
            if before is not None:
                taken.repeats += 1
                return before.id
        for field, url in media_urls(content):
            if url.startswith(SCHEME):
                known = url.removeprefix(SCHEME)
                if not is_id(known) or media_store.find(tx, channel.number, known) is None:
                    raise ApiError.of_field(f"messages.{index}.{field}", f"{SCHEME} and the id of a media resource of this channel", url)
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
            sender=plain(content.channel.sender),
            recipients=[Recipient(each.id, each.name, RECEIVED) for each in content.channel.to],
            error="",
            body=raw,
            created_ms=now_ms,
            changed_ms=now_ms,
        )
        message_store.insert(tx, message)
        self._progress.announce(tx, channel, message, new=True, trace_id=trace_id)
        taken.inbound += 1
        return identifier

    def _receipt(self, tx: Transaction, channel: Channel, receipt: InboundReceipt, now_ms: int, trace_id: str, taken: _Taken) -> None:
        message_id = receipt.channel.messageId
        reasons = [{"code": each.code, **({"message": each.message} if each.message is not None else {})} for each in receipt.reasons]
        recipients = tuple(each.id for each in receipt.channel.to or ())
        message = message_store.by_receipt(tx, channel.number, message_id)
        if message is None and receipt.status == Happening.REMOVED.value:
            message = message_store.by_own_id(tx, channel.number, Direction.INBOUND, message_id) or _inbound(tx, channel, message_id)
        if message is None:
            # the third party may name the message by the id of its answer to the webhook, which may not be on disk yet
            message_store.keep_receipt(tx, channel.number, message_id, Receipt(receipt.status, recipients, reasons), now_ms)
            taken.receipts_unknown += 1
            return
        to = whom(message, recipients)
        if to is not None and not to:
            taken.receipts_unknown += 1
        elif self._progress.move(tx, channel, message, Happening(receipt.status), to=to, reasons=reasons, trace_id=trace_id):
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
    found = None if identifier is None else message_store.by_id(tx, channel.number, identifier)
    return found if found is not None and found.direction is Direction.INBOUND else None


def whom(message: Message, named: Sequence[str]) -> set[str] | None:
    """The recipients that a receipt is for; None for all. A message with one recipient needs no match, since systems write numbers
    differently.
    """
    if not named or len(message.recipients) == 1 or message.direction is Direction.INBOUND:
        return None
    return {each.id for each in message.recipients} & set(named)


def plain(party: Party | OutParty | Recipient) -> dict[str, Any]:
    """A sender or recipient as it is stored: id and name."""
    return {"id": party.id, **({"name": party.name} if party.name is not None else {})}
