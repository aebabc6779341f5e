"""A family: one part of the product that plugs into a hub. :mod:`hub.families` lists the hub's own families, ``channels/families.py`` those
of the contact centre.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from hub.offers import Offer, Port

if TYPE_CHECKING:  # commands read a family's settings without importing the modules that serve
    from pathlib import Path

    from _typeshed import DataclassInstance
    from fastapi import APIRouter
    from pydantic import BaseModel
    from starlette.routing import BaseRoute

    from hub.cluster.cluster import Cluster
    from hub.cluster.ownership import Ownership
    from hub.core.delivery import ChannelDeclaration
    from hub.core.hub import Hub
    from hub.core.metric import Count, Gauge, Latency
    from hub.core.ports import Clock
    from hub.doctor.inspection import Check
    from hub.erasure import Eraser
    from hub.eventlog.interface import EventLog
    from hub.export import ExportSource
    from hub.http.cors_rest import PageHeaders
    from hub.http.error_table import ErrorTable
    from hub.http.fast_routes import FastRoute, OpenRoute, OwnRoute
    from hub.ops.settings import Settings
    from hub.outbox.example import Example
    from hub.outbox.models import Consumer, Recorder
    from hub.redis.shared import SharedRedis
    from hub.security.access import Access, Scope
    from hub.security.gate import Gate
    from hub.security.hosts import Hosts
    from hub.security.roles import Grants
    from hub.storage.transactions import Transactions
    from hub.transports.dispatcher import Endpoint

T = TypeVar("T")


class ProcessRole(StrEnum):
    """What a process does. ``--role all`` does both in one process."""

    EDGE = "edge"
    """Takes connections and requests."""
    STAT_SERVER = "stat-server"
    """Owns tenants: ingests their events and computes their statistics."""


EVERYWHERE: Final = frozenset(ProcessRole)


def process_roles(role: str) -> frozenset[ProcessRole]:
    """The roles that the setting ``role`` stands for.

    Raises:
        ValueError: ``role`` is neither ``all`` nor a :class:`ProcessRole`.
    """
    return EVERYWHERE if role == "all" else frozenset({ProcessRole(role)})


class Service(Protocol):
    """Something that runs as long as the hub runs."""

    async def start(self) -> None:
        """Called before the server accepts connections, in the order of the families."""
        ...

    async def stop(self) -> None:
        """Called after the server closed its connections, in the reverse order."""
        ...


def _no_hosts() -> Hosts:
    from hub.security.hosts import Hosts  # imports FastAPI

    return Hosts()


def _no_errors() -> ErrorTable:
    from hub.http.error_table import ErrorTable  # imports FastAPI

    return ErrorTable()


def _no_access() -> Access:
    from hub.security.access import Access

    return Access()


@dataclass(slots=True)
class Context:
    """What a family gets when it is built."""

    settings: Settings
    hub: Hub
    eventlog: EventLog
    gate: Gate
    clock: Clock
    transactions: Transactions
    """The transactions of the database; it is open from ``start`` on."""
    parts: list[Parts] = field(default_factory=list)
    """The parts of the families that are built so far. Complete only when all are built: look up others in ``start`` or later."""
    hosts: Hosts = field(default_factory=_no_hosts)
    """The names by which clients reach the hub; links use them."""
    errors: ErrorTable = field(default_factory=_no_errors)
    """How REST answers exceptions; a family adds its own exceptions when it is built."""
    roles: frozenset[ProcessRole] = EVERYWHERE
    """The roles of this process; a family that runs in several roles may do different work in each."""
    alone: bool = True
    """Whether no other process uses the database."""
    redis: SharedRedis | None = None
    """For what nodes share over Redis; None without Redis."""
    cluster: Cluster | None = None
    """The other nodes of the hub; None where the hub is this process alone."""
    ownership: Ownership | None = None
    """Which node owns which tenant; None where the hub is this process alone."""
    access: Access = field(default_factory=_no_access)
    """What the families of this hub together allow."""
    leased: bool = False
    """Whether this process owns tenants by leases, so that it opens and drops them while it runs."""
    webhook_types: frozenset[str] = frozenset()
    """:attr:`Family.webhooks` of all families of the hub, also of those that this process does not build."""
    steady_clock: Clock = field(init=False)
    """Tells jobs what is old: a leap of the time of day makes nothing old (:mod:`hub.steady_clock`)."""

    def __post_init__(self) -> None:
        from hub.steady_clock import SteadyClock

        self.steady_clock = SteadyClock(self.clock)

    def section(self, family: str, settings: type[T]) -> T:
        """The family's own settings, an instance of ``Family.settings``.

        Raises:
            TypeError: the section of that name has another type.
        """
        found: object = getattr(self.settings, family)
        if not isinstance(found, settings):
            raise TypeError(f"settings of {family}: expected {settings.__name__}, got {type(found).__name__}")
        return found

    def offered(self, port: Port[T]) -> list[T]:
        """The parts that families offer at a port, in the order of the families."""
        return port.among(offer for part in self.parts for offer in part.offers)

    def one(self, port: Port[T]) -> T:
        """The part that the first family offers at a port.

        Raises:
            LookupError: no family offers one.
        """
        for found in self.offered(port):
            return found
        raise LookupError(f"no family offers anything at {port}")

    @property
    def outbox(self) -> Recorder:
        """Records events that must be delivered, in the transaction that causes them. Families other than the hub's own may use it in
        ``build``.
        """
        from hub.outbox.models import RECORDER

        return self.one(RECORDER)


@dataclass(slots=True)
class Parts:
    """What a family puts into a running hub."""

    routers: Sequence[APIRouter] = ()
    fast_routes: Sequence[FastRoute] = ()
    """Operations of the routers that are called very often."""
    own_routes: Sequence[OwnRoute] = ()
    """Operations of the routers that are called very often, and find out by themselves who calls."""
    open_routes: Sequence[OpenRoute] = ()
    """The routes that need no credential."""
    any_origin: Sequence[str] = ()
    """Paths that pages of any origin may call, without credentials of the browser."""
    no_origin: Sequence[str] = ()
    """Paths that no page of another origin may read."""
    page_headers: Mapping[str, PageHeaders] = field(default_factory=dict)
    """Headers that pages of other origins send and read below some paths, beside the usual ones."""
    routes: Sequence[BaseRoute] = ()
    """Plain Starlette routes beside the REST API: pages and files."""
    endpoints: Sequence[Endpoint] = ()
    """ASGI applications in front of the REST API, each for the paths that it serves: for bodies that are streamed."""
    drains: Sequence[Callable[[float], Awaitable[None]]] = ()
    """Functions that disconnect the clients of the family's endpoints before the server stops, spread over so many seconds at most."""
    channels: Sequence[ChannelDeclaration] = ()
    services: Sequence[Service] = ()
    late_services: Sequence[Service] = ()
    """Services that call other families' ``services``: they start after all of those, and stop before them."""
    outbox_consumers: Sequence[Consumer] = ()
    """Functions that process events of the outbox inside the hub."""
    examples: Sequence[Example] = ()
    """Examples of webhook bodies, by event type."""
    counters: Mapping[str, DataclassInstance] = field(default_factory=dict)
    """Counters: from a part of ``/metrics``, such as ``ingest``, to a dataclass of integers (:mod:`hub.core.metric`)."""
    gauges: Sequence[Gauge] = ()
    counts: Sequence[Count] = ()
    latencies: Sequence[Latency] = ()
    offers: Sequence[Offer] = ()
    """Parts that the family offers to other families (:mod:`hub.offers`)."""
    readiness: Mapping[str, Callable[[], Awaitable[str | None]]] = field(default_factory=dict)
    """Checks of ``/readyz``, by name. A check returns None if the part works, else what is wrong."""
    shared_folders: Mapping[str, Path | None] = field(default_factory=dict)
    """Folders that all nodes of a hub must have in common, by the setting that names each; None where it has no value. Nodes compare
    them when they start.
    """
    export_source: ExportSource | None = None
    """Yields the family's records for an export; None if the family has no records to export."""
    eraser: Eraser | None = None
    """Erases one person's data from the family's records; None if the family keeps no personal data."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family. A new family is one folder and one line in ``channels/families.py``; its commands, if it has any, are lines in
    ``channels/commands.py``.
    """

    name: str
    build: Callable[[Context], Parts]
    """Makes the parts of the family. It imports their modules itself, so that commands which only read settings start quickly."""
    settings: type[BaseModel] | None = None
    migrations: str | None = None
    """The package with the migrations of its tables, if it has any."""
    checks: tuple[Check, ...] = ()
    """Checks that it adds to ``hub doctor``."""
    runs_in: frozenset[ProcessRole] = EVERYWHERE
    """The roles whose processes build it. Its settings, tables and operations exist in every process."""
    operations: Mapping[str, str] = field(default_factory=dict)
    """Its operations: from a name, such as ``/statistics/read``, to a description that continues a sentence with "may not"."""
    grants: Mapping[str, Grants] = field(default_factory=dict)
    """What the built-in roles may do in this family, by role (:data:`hub.security.roles.BUILT_IN`)."""
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    """Its OAuth scopes, by name."""
    heard: Mapping[str, str] = field(default_factory=dict)
    """The operations that subscribers of its channels need, by the pattern of the declaration. Its parts declare the same."""
    webhooks: tuple[str, ...] = ()
    """The types of its events that go to endpoints of webhooks which administrators create."""
    held: Mapping[str, str] = field(default_factory=dict)
    """What tenants have in it that nobody makes again, so that a tenant that has some is removed by force alone: from a noun, to which an s
    can be added, to a table with a column ``tenant``, whose rows go with the tenant.
    """


def of_process(families: Iterable[Family], role: str) -> tuple[Family, ...]:
    """The families that a process with the setting ``role`` builds, in their order.

    Raises:
        ValueError: no such role.
    """
    roles = process_roles(role)
    return tuple(family for family in families if family.runs_in & roles)
