"""Creates, checks, changes and removes messaging channels, and rotates their secrets. REST and the ``hub`` command share this module.

A channel owns an endpoint of the outbox, which holds its webhook and the secrets that sign in both directions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from channels.messaging import store_channels
from channels.messaging.errors import ChannelExistsError, UnknownChannelError
from channels.messaging.models import Channel
from channels.messaging.schemas import MAX_ID_LENGTH
from channels.messaging.signature import CHANNEL_ID
from hub.core.field_error import FieldError
from hub.outbox import endpoint_store
from hub.outbox.administration import EndpointTerms, checked_secret, checked_url, forgiven, rotated, switched, throttled
from hub.outbox.models import Endpoint, Policy, Secret, Success
from hub.outbox.sign import new_secret
from hub.storage.transactions import Transaction

OWNER: Final = "messaging"
"""``Endpoint.owner`` of the endpoints that channels own."""

POLICY: Final = Policy(Success.ANY_2XX, timeout_ms=10_000, refusal_is_final=True)
"""Which answers to the webhook of a message are a success (docs/protocol/messaging.md#outgoing-messages)."""

NO_WEBHOOK: Final = "the channel has no webhook"

_TYPE: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Change:
    """The fields to set. None leaves a field as it is, or takes its default. An empty text removes the webhook or the sender."""

    type: str | None = None
    url: str | None = None
    sender_id: str | None = None
    sender_name: str | None = None
    enabled: bool | None = None
    throttle: str | None = None


class Managed(NamedTuple):
    """A channel and the endpoint that it owns."""

    channel: Channel
    endpoint: Endpoint


class ChannelService:
    """The channels of all tenants. Its methods run inside transactions. A tenant may have ``max_channels``."""

    __slots__ = ("_max_channels", "_terms")

    def __init__(self, terms: EndpointTerms, max_channels: int) -> None:
        self._terms = terms
        self._max_channels = max_channels

    def add(self, transaction: Transaction, tenant: str, identifier: str, change: Change, secret: str | None) -> tuple[Managed, str]:
        """Create a channel. Returns it with its secret, which is generated where none is given.

        Raises:
            FieldError: a field is wrong, or the tenant has too many channels.
            ChannelExistsError: there is one of this id.
        """
        if not CHANNEL_ID.fullmatch(identifier):
            raise FieldError.of_value("id", "1 to 100 of letters, digits and . _ @ + : ~ -, a letter, a digit or + first", identifier)
        if change.type is None:
            raise FieldError.of_value("type", "a type such as sms, email or whatsapp", None)
        if len(store_channels.of_tenant(transaction, tenant)) >= self._max_channels:
            raise FieldError.of_value("channels", f"at most {self._max_channels} of a tenant", self._max_channels + 1)
        secret = checked_secret(secret) if secret is not None else new_secret()
        now_ms = self._terms.clock.wall_ms()
        blank = Channel(0, tenant, identifier, "", None, None, endpoint_store.new_id(), now_ms)
        endpoint = Endpoint(
            blank.endpoint,
            tenant,
            "",
            (Secret(secret),),
            description=f"webhook of the messaging channel {identifier}",
            enabled=False,
            disabled_reason=NO_WEBHOOK,
            policy=POLICY,
            owner=OWNER,
            created_ms=now_ms,
        )
        made = self._changed(Managed(blank, endpoint), change)
        channel = store_channels.add(transaction, made.channel)
        if channel is None:
            raise ChannelExistsError(identifier)
        self._terms.save(transaction, made.endpoint)
        return Managed(channel, made.endpoint), secret

    def change(self, transaction: Transaction, tenant: str, identifier: str, change: Change) -> Managed:
        """Change what is given.

        Raises:
            UnknownChannelError: there is none.
            FieldError: a field is wrong.
        """
        made = self._changed(self.find(transaction, tenant, identifier, to_change=True), change)
        store_channels.change(transaction, made.channel)
        self._terms.save(transaction, made.endpoint)
        return made

    def rotate(self, transaction: Transaction, tenant: str, identifier: str, secret: str | None) -> tuple[Managed, str]:
        """Give a channel a new secret. Signatures of third parties by the old one are accepted for ``outbox.secret_overlap_h`` more hours.

        Raises:
            UnknownChannelError: there is none.
            FieldError: the secret cannot be used.
        """
        found = self.find(transaction, tenant, identifier, to_change=True)
        secret = checked_secret(secret) if secret is not None else new_secret()
        overlap_ms = round(self._terms.settings.secret_overlap_h * 3_600_000)
        endpoint = replace(found.endpoint, secrets=rotated(found.endpoint.secrets, secret, self._terms.clock.wall_ms(), overlap_ms))
        self._terms.save(transaction, endpoint)
        return Managed(found.channel, endpoint), secret

    def remove(self, transaction: Transaction, tenant: str, identifier: str) -> Managed:
        """Remove a channel, with its messages and media. Pending deliveries to its webhook become dead.

        Raises:
            UnknownChannelError: there is none.
        """
        found = self.find(transaction, tenant, identifier, to_change=True)
        store_channels.remove(transaction, found.channel.number, self._terms.clock.wall_ms())
        self._terms.remove(transaction, found.channel.endpoint)
        return found

    def find(self, transaction: Transaction, tenant: str, identifier: str, *, to_change: bool = False) -> Managed:
        """One channel. ``to_change``: see :func:`channels.messaging.store_channels.find` and :func:`hub.outbox.endpoint_store.find`.

        Raises:
            UnknownChannelError: there is none.
        """
        channel = store_channels.find(transaction, tenant, identifier, to_change=to_change) if CHANNEL_ID.fullmatch(identifier) else None
        endpoint = endpoint_store.find(transaction, tenant, channel.endpoint, to_change=to_change) if channel is not None else None
        if channel is None or endpoint is None:
            raise UnknownChannelError(identifier)
        return Managed(channel, endpoint)

    def all(self, transaction: Transaction, tenant: str) -> list[Managed]:
        """The channels of a tenant, in the order of their ids."""
        endpoints = {each.id: each for each in endpoint_store.of_tenant(transaction, tenant) if each.owner == OWNER}
        channels = store_channels.of_tenant(transaction, tenant)
        return [Managed(each, endpoints[each.endpoint]) for each in channels if each.endpoint in endpoints]

    def _changed(self, found: Managed, change: Change) -> Managed:
        channel, endpoint = found
        if change.type is not None:
            if not _TYPE.fullmatch(change.type):
                raise FieldError.of_value(
                    "type", "a type such as sms, email or whatsapp: a small letter, then small letters, digits, - and _", change.type
                )
            channel = channel._replace(type=change.type)
        if change.sender_id is not None:
            channel = channel._replace(sender_id=_checked_text("sender.id", change.sender_id) or None)
        if change.sender_name is not None:
            channel = channel._replace(sender_name=_checked_text("sender.name", change.sender_name) or None)
        if channel.sender_id is None and channel.sender_name is not None:
            raise FieldError.of_value("sender.id", "one, since there is a name", None)
        if change.url is not None:
            url = checked_url(self._terms.guard, change.url, "webhook") if change.url else ""
            disabled_reason = "" if url else NO_WEBHOOK
            endpoint = replace(forgiven(endpoint), url=url, enabled=bool(url), disabled_reason=disabled_reason, failing_since_ms=None)
        if change.throttle is not None:
            endpoint = throttled(endpoint, change.throttle)
        if change.enabled is not None:
            if change.enabled and not endpoint.url:
                raise FieldError.of_value("enabled", "false, since the channel has no webhook", True)
            endpoint = switched(endpoint, change.enabled)
        return Managed(channel, endpoint)


def _checked_text(field: str, text: str) -> str:
    if len(text) > MAX_ID_LENGTH or not text.isprintable() or text != text.strip():
        raise FieldError.of_value(field, f"at most {MAX_ID_LENGTH} printable characters without blanks around them", text)
    return text
