"""Puts the nodes and links of a hub together, from settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub import __version__
from hub.cluster.addresses import listen_address, url_of
from hub.cluster.cluster import Cluster
from hub.cluster.link.certificates import Certificates
from hub.cluster.link.hello import fingerprint
from hub.cluster.link.tuning import Tuning
from hub.cluster.links import Links
from hub.cluster.ports import NodeRecord
from hub.cluster.registry import Membership, Registry, RegistryTuning, machine_name, registry_keys
from hub.core.metric import Gauge
from hub.core.ports import Clock
from hub.family import Parts, Service
from hub.ops.settings import Settings, SettingsError, split_urls
from hub.redis.servers import SpreadServers
from hub.redis.urls import fingerprint_of
from hub.storage.transactions import Transaction, Transactions
from hub.storage.url import DatabaseUrl
from hub.workers.seat import Seat

if TYPE_CHECKING:
    from hub.bus.redis.bus import RedisBus


@dataclass(frozen=True, slots=True)
class ClusterParts:
    """What a process that shares a Redis runs for that."""

    cluster: Cluster | None
    """What the parts of the hub use; None: this node takes no links (``link_listen``), and uses none."""
    registry: Registry
    links: Links
    services: tuple[Service, ...]
    """They start after the database, and stop after all other parts of the hub."""
    membership: Membership
    """The last service that starts: the node answers from then on."""

    def parts(self) -> Parts:
        """The metrics."""
        registry, links = self.registry, self.links
        return Parts(
            counters={"nodes": registry.counters, "links": links.counters},
            gauges=[
                Gauge("nodes", "Nodes of the hub that live, this one among them.", lambda: len(registry.live())),
                Gauge("nodes_lag_seconds", "Seconds since Redis last told which nodes live.", lambda: registry.lag_s),
                Gauge(
                    "nodes_clock_offset_seconds",
                    "Seconds that the clock of this node is ahead of Redis's.",
                    lambda: registry.clock_offset_s or 0.0,
                ),
                Gauge("links", "Links to other nodes that there are now.", lambda: links.open_links),
                Gauge("links_calls_open", "Calls that are open over all links, in both directions.", lambda: links.open_calls),
                Gauge("links_unread_bytes", "Bytes that came over links and were not read yet.", lambda: links.unread_bytes),
                Gauge(
                    "links_strangers",
                    "Connections to `link_listen` that have not shown yet that they know the secret.",
                    lambda: links.strangers,
                ),
            ],
        )


def build_cluster(
    settings: Settings,
    redis: RedisBus,
    incarnation: str,
    secret: bytes,
    clock: Clock,
    transactions: Transactions,
    *,
    seat: Seat | None = None,
) -> ClusterParts:
    """Make them; nothing is opened yet. ``secret``: what signs cookies and links; ``seat``: of this process among several workers.

    Raises:
        SettingsError: a certificate of links cannot be used.
    """
    listen = listen_address(settings, seat)
    configured = settings.cluster
    record = NodeRecord(
        incarnation=incarnation,
        version=__version__,
        role=settings.role,
        link=url_of(settings, listen, seat),
        machine=machine_name(),
        worker=None if seat is None else seat.index,
        secret=fingerprint(secret),
        redis=fingerprint_of(split_urls(settings.redis_url or "")),
    )
    servers, (key, _) = redis.servers, registry_keys(settings.redis_prefix)
    registry = Registry(
        servers.of(key),
        settings.redis_prefix,
        record,
        clock,
        hub_id=_hub_id_of(settings, transactions),
        beside=servers.beside(key) if isinstance(servers, SpreadServers) else (),
        tuning=RegistryTuning(beat_s=configured.beat_s, lapse_s=configured.lapse_s, clock_s=configured.clock_s),
    )
    try:
        links = Links(
            registry,
            secret,
            listen=listen,
            certificates=Certificates(settings.link_tls_cert, settings.link_tls_key, settings.link_tls_ca),
            tuning=Tuning(
                max_calls=configured.max_calls,
                call_window=configured.call_window_bytes,
                link_window=configured.link_window_bytes,
                ping_s=configured.ping_s,
                dead_s=configured.dead_s,
                dial_s=configured.dial_s,
                max_strangers=configured.max_strangers,
            ),
        )
    except OSError as error:  # what ssl raises is one too
        raise SettingsError([f"link_tls_cert: expected a certificate with its key, got: {error}"]) from None
    registry.vouch = links.linked
    links.on_broken.append(registry.suspect)
    return ClusterParts(
        None if listen is None else Cluster(registry, links),
        registry,
        links,
        (registry, links),
        Membership(registry),
    )


def _hub_id_of(settings: Settings, transactions: Transactions) -> Callable[[], Awaitable[str]]:
    """Reads the id of the database. A SQLite file is one process's own: hubs that have one share a Redis, and are not one hub."""
    sqlite = DatabaseUrl.parse(settings.database).is_sqlite

    async def read() -> str:
        return "" if sqlite else await transactions.read(_read_id)

    return read


def _read_id(tx: Transaction) -> str:
    row = tx.row("SELECT id FROM hub_identity")
    assert row is not None, "the migration writes it"
    return str(row[0])
