"""Names of keys and channels in Redis.

All of a tenant's share the hash tag ``{tenant}``: in a Redis Cluster they lie in one slot, so that one script reaches them all.
"""

from __future__ import annotations

from urllib.parse import quote

from hub.core.channels import candidates
from hub.core.message import Topic
from hub.core.principal import SUBJECT

MAX_CACHED_TOPICS = 10_000
"""Topics whose channels are remembered; beyond that all are forgotten at once."""


def encode_tenant(tenant: str) -> str:
    """A tenant as part of a name: without ``{`` and ``}``, which would move it to another slot, and without ``:``."""
    return quote(tenant, safe="_.-")


class Names:
    """The names of one hub, which begin with its ``prefix``: hubs that share a Redis need different ones."""

    __slots__ = ("_channels", "_tenants", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._tenants: dict[str, TenantNames] = {}
        self._channels: dict[Topic, tuple[bytes, ...]] = {}

    def of(self, tenant: str) -> TenantNames:
        """The names of a tenant."""
        names = self._tenants.get(tenant)
        if names is None:
            if len(self._tenants) >= MAX_CACHED_TOPICS:
                self._tenants.clear()
            names = self._tenants[tenant] = TenantNames(self.prefix, tenant)
        return names

    def node(self, incarnation: str, tag: str = "") -> bytes:
        """The channel that one process alone listens to. In a Cluster it has one at each master: ``tag`` makes it one of another slot."""
        return f"{self.prefix}:n:{f'{{{tag}}}:' if tag else ''}{incarnation}".encode()

    def channels(self, topic: Topic) -> tuple[bytes, ...]:
        """The channels on which a message of ``topic`` is published: its own first, then those of the patterns that stand for it."""
        known = self._channels.get(topic)
        if known is None:
            if len(self._channels) >= MAX_CACHED_TOPICS:
                self._channels.clear()
            names = self.of(topic.tenant)
            if topic.audience.startswith(SUBJECT):
                known = (names.subjects,)
            else:
                known = tuple(names.channel(topic.audience, pattern) for pattern in candidates(topic.channel))
            self._channels[topic] = known
        return known

    def subscription(self, topic: Topic) -> bytes:
        """The channel by which a subscriber of ``topic``, whose channel may be a pattern, is reached."""
        return self.of(topic.tenant).channel(topic.audience, topic.channel)


class TenantNames:
    """The names of one tenant."""

    __slots__ = (
        *("_begin", "_topic", "idempotency_keys", "last", "logins", "meta", "stream", "subjects"),
        *("publish_ids", "published", "tickets_ended", "tickets_waiting"),
    )

    def __init__(self, prefix: str, tenant: str) -> None:
        begin = f"{prefix}:{{{encode_tenant(tenant)}}}:"
        self.meta = f"{begin}m".encode()
        """Hash: how far the log reaches, and which server wrote it last."""
        self.stream = f"{begin}l".encode()
        """Stream: the records, each with the id ``<position>-0``."""
        self.last = f"{begin}p".encode()
        """Sorted set: the last position of each topic."""
        self.idempotency_keys = f"{begin}o".encode()
        """Sorted set: the position of each record that has an idempotency key."""
        self.logins = f"{begin}g".encode()
        """Channel: one message for many logins."""
        self.subjects = f"{begin}s".encode()
        """Channel: messages for all logins of a subject; every node that has subscribers of the tenant listens."""
        self.publish_ids = f"{begin}ui".encode()
        """Sorted set: digests of the ids of published messages, by the time of their end."""
        self.published = f"{begin}uv".encode()
        """Hash: what is known of each such id."""
        self.tickets_waiting = f"{begin}kw".encode()
        """Sorted set: the tickets that wait to be used, by the time of their end."""
        self.tickets_ended = f"{begin}ke".encode()
        """Sorted set: the tickets whose stream has ended and may be opened again, by the time until which it may."""
        self._begin = begin
        self._topic = f"{begin}c:"

    def batch(self, incarnation: str) -> bytes:
        """String, which Redis forgets after a minute: the newest batch that a process published."""
        return self.meta[:-1] + b"b:" + incarnation.encode()

    def presence(self, incarnation: str) -> bytes:
        """Hash, which Redis forgets where a process does not renew it: how many of its sessions subscribed to a pattern."""
        return f"{self._begin}j:{incarnation}".encode()

    def ticket(self, digest: str) -> bytes:
        """Hash: a ticket, by a digest of its text."""
        return f"{self._begin}k:{digest}".encode()

    def channel(self, audience: str, pattern: str) -> bytes:
        """The channel of a topic."""
        return f"{self._topic}{audience}:{pattern}".encode()

    def sign_in_failures(self, digest: str) -> bytes:
        """String, which Redis forgets after a while: failed sign-ins of an address and user."""
        return self.meta[:-1] + b"f:" + digest.encode()
