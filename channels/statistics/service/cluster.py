"""The stat server of a hub of several nodes: of this process for the tenants that it owns, of their owners for all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import structlog

from channels.statistics.service.counters import RemoteCounters
from channels.statistics.service.follower import Follower
from channels.statistics.service.guests import Guests
from channels.statistics.service.interface import (
    SERVICE,
    UPDATES,
    VALUES,
    Login,
    Readings,
    Report,
    ServiceState,
    UnansweredError,
    UnavailableError,
)
from channels.statistics.service.local import LocalStatServer
from channels.statistics.service.node_calls import KIND as LOGINS
from channels.statistics.service.node_calls import Host
from channels.statistics.service.payloads import service_state_change, without
from channels.statistics.service.remote import Answerer, RemoteStatServer, report_of
from channels.statistics.service.value_channels import parse_values_channel
from channels.statistics.service.wire import KIND, NotOwnerError
from channels.statistics.service.wire import Values as SomeValues
from hub.bus.interface import BusError
from hub.cluster.cluster import Cluster
from hub.cluster.ownership import Ownership
from hub.cluster.ports import LinkError, NodeGoneError
from hub.core.fetches import Fetch
from hub.core.hub import Hub
from hub.core.message import Topic
from hub.core.ports import Clock

T = TypeVar("T")

TRIES = 2

FETCHES = 3
"""How often the present values of a login are asked for, if more changes of them come meanwhile than a queue may hold."""

_log = structlog.get_logger(__name__)


class ClusterStatServer:
    """:class:`channels.statistics.service.interface.StatServer` of one of several nodes, and a service."""

    def __init__(
        self,
        local: LocalStatServer,
        guests: Guests,
        *,
        hub: Hub,
        cluster: Cluster,
        ownership: Ownership,
        clock: Clock,
        answer_s: float,
    ) -> None:
        """``answer_s``: seconds within which the stat server of another node must answer."""
        self.counters = RemoteCounters()
        self._local = local
        self._guests = guests
        self._hub = hub
        self._nodes = cluster.nodes
        self._links = cluster.links
        self._me = cluster.nodes.me.incarnation
        self._ownership = ownership
        self._answer_s = answer_s
        self.remote = RemoteStatServer(cluster.links, clock, self.counters, answer_s)
        self._host = Host(guests, ownership, local.service_state, self._send_values_of)
        self._followers: dict[str, Follower] = {}
        # tenants of which a value was withheld, since UNAVAILABLE was told
        self._withheld: set[str] = set()
        hub.publisher.withheld = self._is_withheld
        local.on_state.append(self._local_state_changed)
        ownership.on_changed.append(self._owner_changed)
        hub.logins.on_came.append(self._login_came)
        hub.logins.on_gone.append(self._login_gone)
        cluster.links.serve(KIND, Answerer(local, ownership, hub.fetches).answer)
        cluster.links.serve(LOGINS, self._host.serve)

    async def start(self) -> None:
        """Nothing: a tenant is followed from its first use on."""

    async def stop(self) -> None:
        """End the calls to the owners."""
        await asyncio.gather(*(follower.stop() for follower in self._followers.values()))

    # -- requests ---------------------------------------------------------------------------------------------------

    async def open_subscription(
        self, login: Login, subscription_id: str | None, items: Sequence[object], *, verbose: bool = True
    ) -> Readings:
        """See :meth:`StatServer.open_subscription`."""
        return await self._do(
            login.tenant,
            lambda: self._local.open_subscription(login, subscription_id, items, verbose=verbose),
            lambda node: self.remote.readings(node, "open_subscription", login, subscription_id, list(items), verbose),
            again=subscription_id is not None,
        )

    async def peek_subscription(self, login: Login, subscription_id: str, statistic_ids: Sequence[str]) -> Readings:
        """See :meth:`StatServer.peek_subscription`."""
        return await self._do(
            login.tenant,
            lambda: self._local.peek_subscription(login, subscription_id, statistic_ids),
            lambda node: self.remote.readings(node, "peek_subscription", login, subscription_id, list(statistic_ids)),
        )

    async def close_subscription(self, login: Login, subscription_id: str) -> None:
        """See :meth:`StatServer.close_subscription`."""
        try:
            await self._do(
                login.tenant,
                lambda: self._local.close_subscription(login, subscription_id),
                lambda node: self.remote.result(node, "close_subscription", login.tenant, subscription_id, login=login),
            )
        except UnavailableError:
            pass  # the service is unavailable, and so has no subscription

    async def read(self, login: Login, items: Sequence[object]) -> Readings:
        """See :meth:`StatServer.read`."""
        return await self._do(
            login.tenant, lambda: self._local.read(login, items), lambda node: self.remote.readings(node, "read", login, list(items))
        )

    async def present_updates(self, tenant: str, login: str) -> bytes | None:
        """See :meth:`StatServer.present_updates`."""
        try:
            return await self._do(
                tenant,
                lambda: self._local.present_updates(tenant, login),
                lambda node: self._fetch_updates(node, tenant, login),
            )
        except (UnavailableError, UnansweredError):
            return None

    async def _fetch_updates(self, node: str, tenant: str, login: str) -> bytes | None:
        """The present values of a login from another node, without those of which newer ones have come here."""
        found: bytes | None = None
        for _ in range(FETCHES):
            with self._hub.fetches.fetch(tenant, login) as fetch:
                found, stamp = await self.remote.updates(node, tenant, login)
                if found is None or stamp is None:
                    return found
                await self._settle(tenant)
                if fetch.too_many:
                    continue
                if newer := fetch.newer(UPDATES, stamp):
                    found, overtaken = without(found, newer)
                    self.counters.overtaken += overtaken
                return found
        self.counters.unsettled += 1
        return found

    async def present_values(self, tenant: str, pattern: str) -> AsyncGenerator[list[tuple[str, bytes]], None]:
        """See :meth:`StatServer.present_values`."""
        owner = await self._ownership.find(tenant)
        if owner is None:
            return
        if owner.node == self._me:
            async with aclosing(self._local.present_values(tenant, pattern)) as here:
                async for piece in here:
                    yield piece
            return
        try:
            with self._hub.fetches.fetch(tenant, "") as fetch:
                is_settled = False
                async with aclosing(self.remote.values(owner.node, tenant, pattern)) as there:
                    async for some in there:
                        if some.stamp is not None and not is_settled:
                            await self._settle(tenant)
                            is_settled = True
                        yield self._not_overtaken(some, fetch)
        except (LinkError, NotOwnerError, UnansweredError) as error:
            # the state goes UNAVAILABLE, and all values are sent when it comes back
            _log.warning("values_not_read", tenant=tenant, pattern=pattern, error=str(error) or type(error).__name__)

    def _not_overtaken(self, piece: SomeValues, fetch: Fetch) -> list[tuple[str, bytes]]:
        """The values of which no newer ones have come here."""
        stamp = piece.stamp
        if stamp is None:
            return piece.pairs
        kept = [(channel, data) for channel, data in piece.pairs if not fetch.newer(channel, stamp)]
        self.counters.overtaken += len(piece.pairs) - len(kept)
        return kept

    async def _settle(self, tenant: str) -> None:
        """Wait until nothing that is older than the owner's answer can still come over the bus."""
        try:
            await self._hub.fetches.settle(tenant)
        except BusError:
            # when this node hears Redis again it is told of a gap, and all present values are sent again
            self.counters.unsettled += 1

    async def objects(self, tenant: str, object_type: str) -> list[str]:
        """See :meth:`StatServer.objects`."""
        found: list[str] = await self._do(
            tenant,
            lambda: self._local.objects(tenant, object_type),
            lambda node: self.remote.result(node, "objects", tenant, object_type),
        )
        return found

    async def clear_interaction(self, tenant: str, interaction_id: str) -> bool:
        """See :meth:`StatServer.clear_interaction`."""
        return bool(
            await self._do(
                tenant,
                lambda: self._local.clear_interaction(tenant, interaction_id),
                lambda node: self.remote.result(node, "clear_interaction", tenant, interaction_id),
                again=False,
            )
        )

    async def report(self, tenant: str) -> Report:
        """See :meth:`StatServer.report`."""

        async def ask(node: str) -> Report:
            return report_of(await self.remote.result(node, "report", tenant))

        return await self._do(tenant, lambda: self._local.report(tenant), ask)

    async def start_service(self, tenant: str) -> None:
        """See :meth:`StatServer.start_service`."""
        await self._do(tenant, lambda: self._local.start_service(tenant), lambda node: self.remote.result(node, "start_service", tenant))

    async def stop_service(self, tenant: str) -> None:
        """See :meth:`StatServer.stop_service`."""
        await self._do(tenant, lambda: self._local.stop_service(tenant), lambda node: self.remote.result(node, "stop_service", tenant))

    async def _do(self, tenant: str, here: Callable[[], Awaitable[T]], there: Callable[[str], Awaitable[T]], *, again: bool = True) -> T:
        """Have the owner of a tenant do something. ``again``: it may be repeated if its answer was lost.

        Raises:
            UnavailableError: there is no owner, or it cannot be reached.
            UnansweredError: the owner does not answer in time.
        """
        for _ in range(TRIES):
            owner = await self._ownership.find(tenant)
            if owner is None:
                self.counters.no_owner += 1
                raise UnavailableError("no stat server has the tenant now; its state is told on /statistics/v3/service")
            if owner.node == self._me:
                return await here()
            try:
                return await there(owner.node)
            except (NotOwnerError, NodeGoneError):
                self.counters.not_owner += 1
            except LinkError as error:
                if not again:
                    # the caller is not told the addresses of nodes, which the error names
                    raise UnavailableError("the stat server cannot be reached, or broke off; what was asked may have been done") from error
            await self._ownership.refresh()
        raise UnavailableError("the stat server cannot be reached; its state is told on /statistics/v3/service")

    # -- what this node knows, and tells --------------------------------------------------------------------------------

    async def watch(self, tenant: str, channel: str) -> None:
        """See :meth:`StatServer.watch`."""
        parse_values_channel(channel)
        await self._follower(tenant).watch(channel)

    def unwatch(self, tenant: str, channel: str) -> None:
        """See :meth:`StatServer.unwatch`."""
        self._follower(tenant).unwatch(channel)

    def service_state(self, tenant: str) -> ServiceState:
        """See :meth:`StatServer.service_state`."""
        return self._follower(tenant).state or ServiceState.UNAVAILABLE

    async def present_state(self, tenant: str) -> ServiceState:
        """See :meth:`StatServer.present_state`."""
        return await self._follower(tenant).known(self._answer_s)

    @property
    def followed(self) -> int:
        """How many tenants this node follows."""
        return len(self._followers)

    def _follower(self, tenant: str) -> Follower:
        found = self._followers.get(tenant)
        if found is None:
            found = self._followers[tenant] = Follower(
                tenant,
                me=self._me,
                ownership=self._ownership,
                links=self._links,
                guests=self._guests,
                local_state=self._local.service_state,
                logins=self._hub.logins.of_tenant,
                tell=self._tell,
                opened=self._send_values_of,
                back=self._send_present_values,
                broken=self._count_broken,
                watch_s=self._answer_s,
            )
            self._ownership.want(tenant)
            found.start()
        return found

    def _tell(self, tenant: str, state: ServiceState) -> None:
        self._hub.publisher.emit_here(tenant, SERVICE, service_state_change(state))

    def _send_present_values(self, tenant: str) -> None:
        # whoever is subscribed to a pattern has no channel open by itself
        if tenant in self._withheld or self._follower(tenant).watched:
            self._withheld.discard(tenant)
            self._hub.loop.spawn(self._send_present(tenant))

    async def _send_present(self, tenant: str) -> None:
        """Send the present values of all values channels to their subscribers here."""
        async with aclosing(self.present_values(tenant, f"{VALUES}/**")) as pieces:
            async for piece in pieces:
                for channel, data in piece:
                    self._hub.publisher.emit_here(tenant, channel, data)

    def _is_withheld(self, topic: Topic) -> bool:
        """Whether a message is the value of an owner that this node's clients were told to be gone, or that is not told yet."""
        if not topic.channel.startswith(f"{VALUES}/"):
            return False
        follower = self._followers.get(topic.tenant)
        if follower is None or follower.state is not ServiceState.UNAVAILABLE:
            return False
        self.counters.withheld += 1
        self._withheld.add(topic.tenant)
        return True

    def _count_broken(self) -> None:
        self.counters.watches_broken += 1

    def _owner_changed(self, tenant: str) -> None:
        if not self._ownership.serves(tenant):
            self._host.drop(tenant)
        if (follower := self._followers.get(tenant)) is not None:
            follower.owner_changed()

    def _local_state_changed(self, tenant: str, state: ServiceState) -> None:
        self._host.tell(tenant, state)
        if (follower := self._followers.get(tenant)) is not None:
            follower.local_state_changed(state)

    def _login_came(self, tenant: str, login: str) -> None:
        self._follower(tenant).login_came(login)

    def _login_gone(self, tenant: str, login: str) -> None:
        # a node that stops sends its clients to others: the owner keeps their subscriptions until they are there
        if not self._nodes.me.draining:
            self._follower(tenant).login_gone(login)

    def _send_values_of(self, tenant: str, channels: list[str]) -> None:
        self._hub.loop.spawn(self._local.send_values(tenant, channels))
