"""Takes messages of agents' systems. Each is stored in one transaction with the outbox event that brings it to the channel's webhook."""

from __future__ import annotations

from typing import Any, NamedTuple

from channels.messaging import store_channels, store_media, store_messages
from channels.messaging.counters import Counters
from channels.messaging.errors import NoWebhookError, UnknownChannelError
from channels.messaging.media_links import SCHEME, MediaLinks
from channels.messaging.message_status import OUTGOING, StatusWriter, conversation
from channels.messaging.message_types import EMAIL, check_message_type, media_urls
from channels.messaging.models import Channel, Direction, MediaResource, Message, MessageId, Recipient
from channels.messaging.schemas import Outbound, OutboundEmailChannel, OutParty
from channels.messaging.serializers import party, webhook_body
from channels.messaging.state_machine import State
from hub.core.field_error import FieldError
from hub.core.json_text import ascii_json
from hub.core.ports import Clock
from hub.objects.folder import is_id
from hub.outbox import endpoint_store
from hub.outbox.models import Recorder
from hub.storage.transactions import Transaction, Transactions


class Sent(NamedTuple):
    """A message that was taken, now or at an earlier request, and its channel."""

    channel: Channel
    message: Message


class OutboundService:
    """Takes the messages that go to third parties."""

    __slots__ = ("_clock", "_counters", "_links", "_outbox", "_status", "_transactions")

    def __init__(
        self, transactions: Transactions, outbox: Recorder, status: StatusWriter, links: MediaLinks, clock: Clock, counters: Counters
    ) -> None:
        self._transactions = transactions
        self._outbox = outbox
        self._status = status
        self._links = links
        self._clock = clock
        self._counters = counters

    async def send(self, tenant: str, channel: str, content: Outbound, raw: bytes, *, base_url: str, trace_id: str) -> Sent:
        """Take a message. A repeat yields the first one. ``base_url`` is the URL by which third parties reach the hub, for links to media.

        Raises:
            FieldError: the channel does not carry the message, or has no such media.
            UnknownChannelError: there is no such channel.
            NoWebhookError: the channel has no webhook.
            StorageError: the database cannot be written.
        """
        return await self._transactions.write(lambda tx: self._send(tx, tenant, channel, content, raw, base_url, trace_id))

    def _send(self, tx: Transaction, tenant: str, name: str, content: Outbound, raw: bytes, base_url: str, trace_id: str) -> Sent:
        channel = store_channels.find(tx, tenant, name)
        if channel is None:
            raise UnknownChannelError(name)
        check_message_type(channel.type, content.type, "type")
        endpoint = endpoint_store.find(tx, tenant, channel.endpoint)
        if endpoint is None or not endpoint.url:
            raise NoWebhookError(name)
        own_id = content.channel.messageId
        if own_id is not None and MessageId.parse(own_id) is not None:
            raise FieldError.of_value("channel.messageId", "an id of another form than the hub's own", own_id)
        now_ms = self._clock.wall_ms()
        taken = store_channels.take_ids(tx, channel.number, 1, now_ms)
        if taken is None:
            raise UnknownChannelError(name)
        if own_id is not None and (before := store_messages.by_own_id(tx, channel.number, Direction.OUTBOUND, own_id)) is not None:
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
        self._status.announce(tx, channel, message, new=True, trace_id=trace_id)
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
        store_messages.insert(tx, message)
        tx.after_commit(self._count)
        return Sent(channel, message)

    def _media(self, tx: Transaction, channel: Channel, content: Outbound, base_url: str) -> dict[str, tuple[str, MediaResource]]:
        """A link and a description for each of the hub's own media in a message."""
        found: dict[str, tuple[str, MediaResource]] = {}
        for field, url in media_urls(content):
            if url.startswith(SCHEME):
                identifier = url.removeprefix(SCHEME)
                resource = store_media.find(tx, channel.number, identifier) if is_id(identifier) else None
                if resource is None:
                    raise FieldError.of_value(field, f"{SCHEME} and the id of a media resource of this channel", url)
                found[url] = (self._links.make(base_url, channel.id, identifier), resource)
        return found

    def _count(self) -> None:
        self._counters.outbound += 1

    def _count_repeat(self) -> None:
        self._counters.repeats += 1


def _sender(channel: Channel, given: OutParty | None) -> dict[str, Any]:
    """The sender of a message.

    Raises:
        FieldError: an e-mail does not name it, and the channel has no sender of its own.
    """
    if given is not None:
        return party(given)
    if channel.sender_id is not None:
        return party(Recipient(channel.sender_id, channel.sender_name))
    if channel.type == EMAIL:
        raise FieldError.of_value("channel.from", "an address, since the channel has no sender of its own", None)
    return {"id": channel.id}
