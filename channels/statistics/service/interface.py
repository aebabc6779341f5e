"""The stat server as its callers see it: the port that the REST API and the channels use (docs/protocol/statistics.md#statistics-server).

Arguments and results are plain data, so that the stat server of a tenant may run in another process. The one of this process is
:class:`channels.statistics.service.local.LocalStatServer`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from channels.statistics.service.requests import Refusal

UPDATES = "/statistics/v3/updates"
"""``StatisticUpdate`` of the caller's own subscriptions."""

SERVICE = "/statistics/v3/service"
"""``ServiceStateChange``."""

VALUES = "/statistics/v3/values"
"""``{objectType}/{objectId}/{name}`` below it: the value of a predefined statistic."""


class ServiceState(Enum):
    """What ``/statistics/v3/service`` says (docs/protocol/statistics.md#service-state)."""

    AVAILABLE = "AVAILABLE"
    UNAVAILABLE = "UNAVAILABLE"


class Login(NamedTuple):
    """The login whose subscriptions are meant: its tenant, its key, and the key of the same caller's login by token alone
    (docs/protocol/statistics.md#logins).
    """

    tenant: str
    key: str
    token_key: str
    subject: str = ""
    """The user or program that has the login. It may have several logins."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One statistic and its value, as docs/protocol/statistics.md#values has it; ``timestamp`` in ms."""

    statistic_id: str
    name: str | None
    object_type: str
    object_id: str
    value: dict[str, Any]
    timestamp: int
    empty: bool = False
    """An average or a percentage of nothing."""
    encoded: bytes = b""
    """``value`` as JSON where it is large and was encoded in slices; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The answer to a request for several statistics: the values, and what was refused."""

    readings: list[Reading]
    refusals: list[Refusal] = field(default_factory=list)
    subscription_id: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a tenant's stat server, for administrators. Times are ms since 1970; None where there was none yet."""

    state: ServiceState
    statistics: int
    subscriptions: int
    logins: int
    values: int
    objects: int
    """Agents, queues, groups and staging areas that events named."""
    interactions: int
    """Interactions in which something goes on."""
    position: int
    """Position of the last event that was taken."""
    now_ms: int | None
    held: int
    """Events that wait for their time."""
    events_applied: int
    events_refused: int
    snapshot_position: int
    snapshot_ms: int | None


class UnavailableError(Exception):
    """The tenant's stat server is stopped, is being restored, or cannot be reached."""


class UnansweredError(Exception):
    """The tenant's stat server is there, on another node, and did not answer in time. What was asked may have been done."""


class UnknownSubscriptionError(Exception):
    """The login has no subscription of that id."""


class LimitError(Exception):
    """A request would go over a limit; ``field`` names what of the request is too much."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class StatServer(Protocol):
    """The stat server of all tenants.

    Every coroutine raises :class:`UnavailableError` while the tenant's service state is UNAVAILABLE, unless its description says
    otherwise. A stat server of another process may repeat a request whose answer was lost if its description says that it may be repeated.
    Methods that are no coroutines return at once and never raise: a stat server of another process answers them from what it knows, or
    queues them in order.
    """

    async def open_subscription(
        self, login: Login, subscription_id: str | None, items: Sequence[object], *, verbose: bool = True
    ) -> Readings:
        """Open the statistics that ``items`` describe (elements of ``data.statistics``) under one subscription.

        A subscription of the same id and login is replaced, unless every item fails. Nothing is opened when every item fails. With a
        ``subscription_id`` it may be repeated.

        Raises:
            LimitError: too many statistics or subscriptions.
        """
        ...

    async def peek_subscription(self, login: Login, subscription_id: str, statistic_ids: Sequence[str]) -> Readings:
        """The present values of a subscription, or of the named statistics of it.

        Each of ``statistic_ids`` is an id or several, joined by commas. It may be repeated.

        Raises:
            UnknownSubscriptionError: the login has no such subscription.
        """
        ...

    async def close_subscription(self, login: Login, subscription_id: str) -> None:
        """End a subscription. It is no error if there is none, or if the service is unavailable and so has none. It may be repeated."""
        ...

    async def read(self, login: Login, items: Sequence[object]) -> Readings:
        """The present values of predefined statistics, without a subscription; ``items`` hold name, objectId and objectType. It may be
        repeated.

        Raises:
            LimitError: too many statistics.
        """
        ...

    async def present_updates(self, tenant: str, login: str) -> bytes | None:
        """One ``StatisticUpdate`` with the present value of every open statistic of a login, as ASCII JSON. None if the login has none, and
        while the service is unavailable.
        """
        ...

    async def watch(self, tenant: str, channel: str) -> None:
        """Open the statistic of a values channel. While the service is unavailable it is noted, and opened when the service comes back. It
        may be repeated.

        Raises:
            RefusedError: SUBSCRIPTION_INVALID, no such statistic; RATE_LIMITED, too many channels are open.
        """
        ...

    def unwatch(self, tenant: str, channel: str) -> None:
        """Close what :meth:`watch` opened. Calls of the two for one channel take effect in the order in which they are made."""
        ...

    def present_values(self, tenant: str, pattern: str) -> AsyncGenerator[list[tuple[str, bytes]], None]:
        """The present ``(channel, data)`` of the open values channels that a pattern stands for, some at a time; nothing while the service
        is unavailable. No newer value of these channels is sent before the generator is at its end or closed.
        """
        ...

    async def objects(self, tenant: str, object_type: str) -> list[str]:
        """The ids of the objects of one type that events have named, and the built-in groups.

        Raises:
            DefinitionError: no such object type.
        """
        ...

    async def clear_interaction(self, tenant: str, interaction_id: str) -> bool:
        """End an interaction in the statistics alone: nothing waits or goes on in it from now on, also after a restart. False if nothing
        goes on in an interaction of this id.
        """
        ...

    def service_state(self, tenant: str) -> ServiceState:
        """The present state, as this process knows it."""
        ...

    async def present_state(self, tenant: str) -> ServiceState:
        """The present state, for a client that begins to hear of its changes. A stat server of another node is asked; if it does not answer
        within some seconds, the state is UNAVAILABLE.
        """
        ...

    async def report(self, tenant: str) -> Report:
        """The state of the stat server, for administrators; also while the service is unavailable."""
        ...

    async def start_service(self, tenant: str) -> None:
        """Restore the tenant's state from its log and go AVAILABLE. Does nothing if it is AVAILABLE already.

        Raises:
            EventLogError: the log cannot be read; the service stays unavailable.
        """
        ...

    async def stop_service(self, tenant: str) -> None:
        """Go UNAVAILABLE and drop all subscriptions. Does nothing if it is UNAVAILABLE already."""
        ...
