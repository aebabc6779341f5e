"""A family: one folder of ``channels/`` and one line in ``channels/families.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # a family's settings and commands are read without what it serves with
    from fastapi import APIRouter
    from pydantic import BaseModel
    from starlette.routing import BaseRoute

    from hub.core.delivery import ChannelDeclaration
    from hub.core.hub import Hub
    from hub.core.ports import Clock
    from hub.doctor.inspection import Check
    from hub.eventlog.interface import EventLog
    from hub.ops.hot_paths import HotPath, OpenPath
    from hub.ops.settings import Settings
    from hub.outbox.models import Recorder
    from hub.security.gate import Gate
    from hub.security.hosts import Hosts
    from hub.storage.transactions import Transactions


class Service(Protocol):
    """Something that runs as long as the hub runs."""

    async def start(self) -> None:
        """Called before the doors open, in the order of the families."""
        ...

    async def stop(self) -> None:
        """Called after the doors closed, in the reverse order."""
        ...


def _no_hosts() -> Hosts:
    from hub.security.hosts import Hosts  # with FastAPI

    return Hosts()


@dataclass(slots=True)
class Context:
    """What the composition root hands to a family when it builds it."""

    settings: Settings
    hub: Hub
    eventlog: EventLog
    gate: Gate
    clock: Clock
    transactions: Transactions
    """What must not be lost; open from ``start`` on."""
    outbox: Recorder
    """For events that must be delivered."""
    roles: dict[str, list[Any]] = field(default_factory=dict)
    """Services by role, of every family. Complete only when all are built: look things up in ``start`` or later."""
    hosts: Hosts = field(default_factory=_no_hosts)
    """By which names clients reach the hub; links are made by it."""

    def section(self, family: str) -> Any:
        """The family's own settings, an instance of ``Family.settings``."""
        return getattr(self.settings, family)

    def of_role(self, role: str) -> list[Any]:
        """The services that play a role, in the order of the families."""
        return self.roles.get(role, [])


@dataclass(slots=True)
class Parts:
    """What a family puts into a running hub."""

    routers: Sequence[APIRouter] = ()
    hot_paths: Sequence[HotPath] = ()
    """Operations of the routers that come by the thousand."""
    open_paths: Sequence[OpenPath] = ()
    """Those of the routes that anybody may ask for."""
    routes: Sequence[BaseRoute] = ()
    """Plain Starlette routes beside the REST API: pages and files."""
    channels: Sequence[ChannelDeclaration] = ()
    services: Sequence[Service] = ()
    roles: dict[str, Any] = field(default_factory=dict)
    """What it offers to others, by role."""
    readiness: dict[str, Callable[[], Awaitable[str | None]]] = field(default_factory=dict)
    """Named checks of ``/readyz``: None when well, else what is wrong."""


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
    """Package of its Alembic versions, when it has tables."""
    checks: tuple[Check, ...] = ()
    """What it adds to ``hub doctor``."""


def migrations_of(families: Iterable[Family]) -> tuple[str, ...]:
    """The packages of all versions of a hub with these families."""
    from hub.storage.migrations import HUB  # with Alembic, which only those need who open a database

    return (*HUB, *(family.migrations for family in families if family.migrations is not None))
