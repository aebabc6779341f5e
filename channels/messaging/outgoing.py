"""Takes messages of agents' systems: stores each and records its event for the webhook in one transaction, and follows what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import orjson

from channels.messaging import channel_store, media_store, message_store
from channels.messaging.channel_store import Channel
from channels.messaging.counters import Counters
from channels.messaging.inbox import plain, whom
from channels.messaging.kinds import EMAIL, check_kind, media_urls
from channels.messaging.media import SCHEME, Links, is_id
from channels.messaging.media_store import Medium
from channels.messaging.message_store import Direction, Message, MessageId, Recipient
from channels.messaging.progress import OUTGOING, STATE, Progress, conversation
from channels.messaging.schemas import LONGEST_ID, Outbound, OutboundEmail, OutboundEmailChannel, OutboundText, OutParty, OutTextPart
from channels.messaging.states import Happening, State
from hub.core.channels import to_segment
from hub.core.hub import Hub
from hub.core.ports import Clock
from hub.ops.envelope import ApiError, ascii_json
from hub.outbox import endpoint_store
from hub.outbox.models import DeliveryState, OutboxEvent, Recorder, Settled
from hub.storage.transactions import Transaction, Transactions


class Sent(NamedTuple):
    """A message that was taken now or before."""

    channel: Channel
    message: Message


class Outgoing:
    """Takes messages for third parties."""

    __slots__ = ("_clock", "_counters", "_links", "_outbox", "_progress", "_transactions")

    def __init__(
        self, transactions: Transactions, outbox: Recorder, progress: Progress, links: Links, clock: Clock, counters: Counters
    ) -> None:
        self._transactions = transactions
        self._outbox = outbox
        self._progress = progress
        self._links = links
        self._clock = clock
        self._counters = counters

    async def send(self, tenant: str, channel: str, content: Outbound, raw: bytes, *, base_url: str, trace_id: str) -> Sent:
        """Take a message. A repeat yields the first one. ``base_url`` is the URL by which third parties reach the hub, for links to media.

        Raises:
            ApiError: 400 the channel does not carry it, or the media are not there; 404 no such channel; 409 it has no webhook.
            StorageError: the database cannot be written.
        """
        return await self._transactions.write(lambda tx: self._send(tx, tenant, channel, content, raw, base_url, trace_id))

    def _send(self, tx: Transaction, tenant: str, name: str, content: Outbound, raw: bytes, base_url: str, trace_id: str) -> Sent:
        channel = channel_store.find(tx, tenant, name)
        if channel is None:
            raise unknown_channel(name)
        check_kind(channel.type, content.type, "type")
        endpoint = endpoint_store.find(tx, tenant, channel.endpoint)
        if endpoint is None or not endpoint.url:
            raise ApiError(409, f"channel {name} has no webhook: expected one, got none", detail={"field": "webhook", "expected": "a URL"})
        own_id = content.channel.messageId
        if own_id is not None and MessageId.parse(own_id) is not None:
            raise ApiError.of_field("channel.messageId", "an id of another form than the hub's own", own_id)
        now_ms = self._clock.wall_ms()
        taken = channel_store.take_ids(tx, channel.number, 1, now_ms)
        if taken is None:
            raise unknown_channel(name)
        if own_id is not None and (before := message_store.by_own_id(tx, channel.number, Direction.OUTBOUND, own_id)) is not None:
            tx.after_commit(self._count_repeat)
            return Sent(channel, before)
        recipients = content.channel.to if isinstance(content.channel, OutboundEmailChannel) else [content.channel.to]
        message = Message(
            channel=channel.number,
            id=MessageId(*taken),
            direction=Direction.OUTBOUND,
            type=content.type,
            state=State.ACCEPTED,
            own_id=own_id,
            receiver_id=None,
            conversation=conversation(channel, [each.id for each in recipients]),
            event=None,
            sender=_sender(channel, content.channel.sender),
            recipients=[Recipient(each.id, each.name) for each in {each.id: each for each in recipients}.values()],
            error="",
            body=raw,
            created_ms=now_ms,
            changed_ms=now_ms,
        )
        body = ascii_json(webhook_body(channel, message, content, self._media(tx, channel, content, base_url)))
        # before the webhook's event, so that `accepted` is told before `sent`
        self._progress.announce(tx, channel, message, new=True, trace_id=trace_id)
        event = self._outbox.add(
            tx,
            tenant=tenant,
            type=OUTGOING,
            key=message.conversation,
            body=body,
            media=channel.type,
            endpoint=channel.endpoint,
            trace_id=trace_id,
        )
        message.event = event.id
        message_store.insert(tx, message)
        tx.after_commit(self._count)
        return Sent(channel, message)

    def _media(self, tx: Transaction, channel: Channel, content: Outbound, base_url: str) -> dict[str, tuple[str, Medium]]:
        """A link and a description for each of the hub's own media in a message."""
        found: dict[str, tuple[str, Medium]] = {}
        for field, url in media_urls(content):
            if url.startswith(SCHEME):
                identifier = url.removeprefix(SCHEME)
                medium = media_store.find(tx, channel.number, identifier) if is_id(identifier) else None
                if medium is None:
                    raise ApiError.of_field(field, f"{SCHEME} and the id of a media resource of this channel", url)
                found[url] = (self._links.make(base_url, channel.id, identifier), medium)
        return found

    def _count(self) -> None:
        self._counters.outbound += 1

    def _count_repeat(self) -> None:
        self._counters.repeats += 1


class Follower:
    """Consumer of the outbox: publishes states on the hub, and applies the outcome of webhooks."""

    types: Collection[str] = (STATE, OUTGOING)

    __slots__ = ("_counters", "_hub", "_progress")

    def __init__(self, hub: Hub, progress: Progress, counters: Counters) -> None:
        self._hub = hub
        self._progress = progress
        self._counters = counters

    async def consume(self, event: OutboxEvent) -> None:
        """See :class:`hub.outbox.models.Consumer`: publish a state on the channel of its messages."""
        if event.type == STATE:
            channel: str = orjson.loads(event.body)["channelId"]
            await self._hub.emit(event.tenant, messages_channel(channel), event.body, idempotency_key=event.operation_id)

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """See :class:`hub.outbox.models.Consumer`: the third party took a message, or it was given up."""
        found = message_store.by_event(transaction, delivery.event.id)
        if found is None or not channel_store.lock(transaction, found.channel):
            return  # it is too old to be kept, or its channel was removed
        channel = channel_store.by_number(transaction, found.channel)
        message = message_store.by_event(transaction, delivery.event.id)
        if channel is None or message is None:
            return
        if delivery.state is not DeliveryState.DELIVERED:
            if self._progress.move(transaction, channel, message, Happening.UNDELIVERED, error=delivery.error):
                transaction.after_commit(self._count_failed)
            return
        named = _answered_id(delivery.body)
        if named is not None and named != message.message_id and named != message.receiver_id:
            message.receiver_id = named
            message_store.update(transaction, message)
        if self._progress.move(transaction, channel, message, Happening.SENT):
            transaction.after_commit(self._count_sent)
        for receipt in message_store.take_receipts(transaction, channel.number, named) if named is not None else ():
            to = whom(message, receipt.recipients)
            self._progress.move(transaction, channel, message, Happening(receipt.status), to=to, reasons=receipt.reasons)

    def _count_sent(self) -> None:
        self._counters.sent += 1

    def _count_failed(self) -> None:
        self._counters.failed += 1


def messages_channel(channel: str) -> str:
    """The channel of the hub on which the states of a messaging channel's messages are published (docs/protocol/messaging.md#states)."""
    return f"/nexus/v3/channels/{to_segment(channel)}/messages"


def unknown_channel(identifier: str) -> ApiError:
    """404, for those who may know which channels there are."""
    return ApiError.of_field("channelId", "a messaging channel of this tenant", identifier, http_status=404)


def webhook_body(channel: Channel, message: Message, content: Outbound, media: Mapping[str, tuple[str, Medium]]) -> dict[str, Any]:
    """What is posted to the third party (docs/protocol/messaging.md#outgoing-messages)."""
    to = [plain(each) for each in message.recipients]
    way = {
        "id": channel.id,
        "type": channel.type,
        "from": message.sender,
        "to": to if isinstance(content, OutboundEmail) else to[0],
        "messageId": message.message_id,
    }
    made: dict[str, Any] = {"channel": way}
    if isinstance(content, OutboundEmail):
        if content.context is not None:
            made["context"] = {"replyTo": plain(content.context.replyTo)}
        return made | {
            "type": content.type,
            "subject": content.subject,
            "content": [{"type": part.type, "text": part.text} for part in content.content],
        }
    made["type"] = content.type
    if isinstance(content, OutboundText):
        return made | {"text": content.text}
    parts: list[dict[str, Any]] = []
    for part in content.content:
        if isinstance(part, OutTextPart):
            parts.append({"type": part.type, "text": part.text})
        elif part.url in media:
            link, medium = media[part.url]
            described = {"filename": medium.filename, "mimetype": medium.mimetype, "length": medium.length}
            parts.append({"type": part.type, "url": link, **described})
        else:
            parts.append({"type": part.type, "url": part.url})
    return made | {"content": parts}


def _sender(channel: Channel, given: OutParty | None) -> dict[str, Any]:
    """The sender of a message.

    Raises:
        ApiError: 400, an e-mail that does not say it, on a channel that has no sender of its own.
    """
    if given is not None:
        return plain(given)
    if channel.sender_id is not None:
        return plain(Recipient(channel.sender_id, channel.sender_name))
    if channel.type == EMAIL:
        raise ApiError.of_field("channel.from", "an address, since the channel has no sender of its own", None)
    return {"id": channel.id}


_ANSWER_KEY: Final = "messageId"


def _answered_id(body: bytes) -> str | None:
    """The third party's own id of a message, if its answer to the webhook has one that can be used."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # an answer need not be JSON
    named = answer.get(_ANSWER_KEY) if isinstance(answer, dict) else None
    if isinstance(named, int) and not isinstance(named, bool):
        named = str(named)
    return named if isinstance(named, str) and 1 <= len(named) <= LONGEST_ID and named.isprintable() and named == named.strip() else None
