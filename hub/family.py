"""A family: one part of the product that plugs into a hub. The hub's own stand in :mod:`hub.families`, those of the contact centre in
``channels/families.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from hub.offers import Offer, Port

if TYPE_CHECKING:  # a family's settings and commands are read without what it serves with
    from _typeshed import DataclassInstance
    from fastapi import APIRouter
    from pydantic import BaseModel
    from starlette.routing import BaseRoute

    from hub.core.delivery import ChannelDeclaration
    from hub.core.hub import Hub
    from hub.core.metric import Count, Gauge, Latency
    from hub.core.ports import Clock
    from hub.doctor.inspection import Check
    from hub.erasure import Eraser
    from hub.eventlog.interface import EventLog
    from hub.export import ExportSource
    from hub.http.error_table import ErrorTable
    from hub.http.fast_routes import FastRoute, OpenRoute
    from hub.ops.settings import Settings
    from hub.outbox.example import Example
    from hub.outbox.models import Consumer, Recorder
    from hub.security.access import Scope
    from hub.security.gate import Gate
    from hub.security.hosts import Hosts
    from hub.security.roles import Grants
    from hub.storage.transactions import Transactions

T = TypeVar("T")


class ProcessRole(StrEnum):
    """What a process does. ``--role all`` does both in one process."""

    EDGE = "edge"
    """Takes connections and requests."""
    STAT_SERVER = "stat-server"
    """Owns tenants: takes their events in and computes their statistics."""


EVERYWHERE: Final = frozenset(ProcessRole)


def process_roles(role: str) -> frozenset[ProcessRole]:
    """The roles that the setting ``role`` stands for.

    Raises:
        ValueError: it is neither ``all`` nor one of them.
    """
    return EVERYWHERE if role == "all" else frozenset({ProcessRole(role)})


class Service(Protocol):
    """Something that runs as long as the hub runs."""

    async def start(self) -> None:
        """Called before the server takes connections, in the order of the families."""
        ...

    async def stop(self) -> None:
        """Called after the server closed its connections, in the reverse order."""
        ...


def _no_hosts() -> Hosts:
    from hub.security.hosts import Hosts  # with FastAPI

    return Hosts()


def _no_errors() -> ErrorTable:
    from hub.http.error_table import ErrorTable  # with FastAPI

    return ErrorTable()


@dataclass(slots=True)
class Context:
    """What a family gets when it is built."""

    settings: Settings
    hub: Hub
    eventlog: EventLog
    gate: Gate
    clock: Clock
    transactions: Transactions
    """What must not be lost; open from ``start`` on."""
    parts: list[Parts] = field(default_factory=list)
    """What the families brought that were built so far. Complete only when all are built: look others up in ``start`` or later."""
    hosts: Hosts = field(default_factory=_no_hosts)
    """By which names clients reach the hub; links are made by it."""
    errors: ErrorTable = field(default_factory=_no_errors)
    """How REST answers exceptions; a family adds those of its domain when it is built."""
    roles: frozenset[ProcessRole] = EVERYWHERE
    """What this process does: a family that runs in both roles may differ by it."""
    alone: bool = True
    """Whether no other process uses the database."""

    def section(self, family: str, settings: type[T]) -> T:
        """The family's own settings, an instance of ``Family.settings``.

        Raises:
            TypeError: the section of that name is of another type.
        """
        found: object = getattr(self.settings, family)
        if not isinstance(found, settings):
            raise TypeError(f"settings of {family}: expected {settings.__name__}, got {type(found).__name__}")
        return found

    def offered(self, port: Port[T]) -> list[T]:
        """What families offer at a port, in the order of the families."""
        return port.among(offer for part in self.parts for offer in part.offers)

    def one(self, port: Port[T]) -> T:
        """What the first family offers at a port.

        Raises:
            LookupError: none does.
        """
        for found in self.offered(port):
            return found
        raise LookupError(f"no family offers anything at {port}")

    @property
    def outbox(self) -> Recorder:
        """Records events that must be delivered, in the transaction of their cause. There when the contact centre's families are built."""
        from hub.outbox.models import RECORDER

        return self.one(RECORDER)


@dataclass(slots=True)
class Parts:
    """What a family puts into a running hub."""

    routers: Sequence[APIRouter] = ()
    fast_routes: Sequence[FastRoute] = ()
    """Operations of the routers that come by the thousand."""
    open_routes: Sequence[OpenRoute] = ()
    """Those of the routes that anybody may ask for."""
    routes: Sequence[BaseRoute] = ()
    """Plain Starlette routes beside the REST API: pages and files."""
    channels: Sequence[ChannelDeclaration] = ()
    services: Sequence[Service] = ()
    late_services: Sequence[Service] = ()
    """Those that start when every family's ``services`` run, since they call them; they stop before them."""
    outbox_consumers: Sequence[Consumer] = ()
    """Who does what follows, inside the hub, from events of the outbox."""
    examples: Sequence[Example] = ()
    """Who can show what webhooks get, by event type."""
    counters: Mapping[str, DataclassInstance] = field(default_factory=dict)
    """What it counts: the part of ``/metrics``, such as ``ingest``, to a dataclass of integers (:mod:`hub.core.metric`)."""
    gauges: Sequence[Gauge] = ()
    counts: Sequence[Count] = ()
    latencies: Sequence[Latency] = ()
    offers: Sequence[Offer] = ()
    """What it offers to other families (:mod:`hub.offers`)."""
    readiness: Mapping[str, Callable[[], Awaitable[str | None]]] = field(default_factory=dict)
    """Named checks of ``/readyz``: None when well, else what is wrong."""
    export_source: ExportSource | None = None
    """Where an export reads what the family holds; None where it holds nothing that is exported."""
    eraser: Eraser | None = None
    """Who erases one person's data from what the family holds; None where it holds none."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family. Adding a family is one folder and one line in ``channels/families.py``; its commands, if it has any, are lines of
    ``channels/commands.py``.
    """

    name: str
    build: Callable[[Context], Parts]
    """Imports what the family serves with, which commands that only read settings do without, and makes it."""
    settings: type[BaseModel] | None = None
    migrations: str | None = None
    """Package of its versions of the database, when it has tables."""
    checks: tuple[Check, ...] = ()
    """What it adds to ``hub doctor``."""
    runs_in: frozenset[ProcessRole] = EVERYWHERE
    """The processes that build it. Its settings, tables and operations exist in every process."""
    operations: Mapping[str, str] = field(default_factory=dict)
    """Its REST operations: name, such as ``/statistics/read``, to what it does, in words that follow "may not"."""
    grants: Mapping[str, Grants] = field(default_factory=dict)
    """What the built-in roles may do with it, by role (:data:`hub.security.roles.BUILT_IN`)."""
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    """Its OAuth scopes, by name."""


def of_process(families: Iterable[Family], role: str) -> tuple[Family, ...]:
    """The families that a process of the setting ``role`` builds, in their order.

    Raises:
        ValueError: no such role.
    """
    roles = process_roles(role)
    return tuple(family for family in families if family.runs_in & roles)
