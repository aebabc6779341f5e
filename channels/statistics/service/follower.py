"""One tenant as an edge sees it: who owns it, the service state, and what the owner must know of this node."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

import structlog

from channels.statistics.service.guests import Guests
from channels.statistics.service.interface import ServiceState
from channels.statistics.service.node_calls import KIND, Login, Logout, Sender, State, Unwatch, Watch, Watched, told, whole
from channels.statistics.service.wire import error_of
from hub.cluster.ownership import Owner, Ownership
from hub.cluster.ports import LinkError, Links
from hub.core.errors import RefusedError

_log = structlog.get_logger(__name__)

AGAIN_S = (0.05, 1.0)
"""Seconds until the owner is called again after a call ended: at first, doubled each time up to the second value."""


class Follower:
    """Keeps a call to the tenant's owner, or works with this process's own stat server where this process is the owner. It tells each
    change of the service state once.
    """

    def __init__(
        self,
        tenant: str,
        *,
        me: str,
        ownership: Ownership,
        links: Links,
        guests: Guests,
        local_state: Callable[[str], ServiceState],
        logins: Callable[[str], Iterable[str]],
        tell: Callable[[str, ServiceState], object],
        opened: Callable[[str, list[str]], object],
        back: Callable[[str], object],
        broken: Callable[[], object],
        watch_s: float,
    ) -> None:
        """``logins`` are those of this process. ``tell`` gets each change of the service state. ``opened`` is that of
        :class:`channels.statistics.service.node_calls.Host`. ``back`` is called after AVAILABLE was told, if UNAVAILABLE was told before.
        ``broken`` is called when the call to the owner breaks. ``watch_s``: seconds that
        :meth:`watch` waits for the owner.
        """
        self.tenant = tenant
        self.state: ServiceState | None = None
        """What this node knows; None until it is known for the first time."""
        self.watched: dict[str, None] = {}
        """The values channels with a subscriber on this node."""
        self._me = me
        self._ownership = ownership
        self._links = links
        self._guests = guests
        self._local_state = local_state
        self._logins = logins
        self._tell = tell
        self._opened = opened
        self._back = back
        self._broken = broken
        self._watch_s = watch_s
        self._known = asyncio.Event()
        self._changed = asyncio.Event()
        self._sender: Sender | None = None
        self._local_call = 0
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Watched]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.get_running_loop().create_task(self._follow_forever(), name="statistics.follower")

    async def stop(self) -> None:
        """End the call."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def owner_changed(self) -> None:
        """The tenant has another owner, or none."""
        self._changed.set()

    def local_state_changed(self, state: ServiceState) -> None:
        """The stat server of this process has changed the tenant's state; it counts while this process is the owner."""
        if self._local_call:
            self._set(state)

    async def known(self, timeout_s: float) -> ServiceState:
        """The state, as soon as it is known; UNAVAILABLE if that takes longer than ``timeout_s`` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._known.wait()
        except TimeoutError:
            if self.state is None:
                self.state = ServiceState.UNAVAILABLE  # it is told so: a later AVAILABLE is a change
        return self.state or ServiceState.UNAVAILABLE

    # -- what this node has -----------------------------------------------------------------------------------------

    def login_came(self, login: str) -> None:
        """A login has its first session on this node."""
        if self._sender is not None:
            self._sender.send(Login(login))

    def login_gone(self, login: str) -> None:
        """The last session of a login on this node has ended."""
        if self._sender is not None:
            self._sender.send(Logout(login))

    async def watch(self, channel: str) -> None:
        """See :meth:`channels.statistics.service.interface.StatServer.watch`.

        Raises:
            RefusedError: the owner refuses it.
        """
        if channel in self.watched:
            return
        self.watched[channel] = None
        try:
            if self._local_call:
                await self._guests.watch(self.tenant, self._me, self._local_call, channel)
            elif self._sender is not None:
                await self._ask_to_watch(self._sender, channel)
        except RefusedError:
            self.watched.pop(channel, None)
            raise

    async def _ask_to_watch(self, sender: Sender, channel: str) -> None:
        number = next(self._numbers)
        answer: asyncio.Future[Watched] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        sender.send(Watch(channel, number))
        try:
            async with asyncio.timeout(self._watch_s):
                watched = await answer
        except TimeoutError:
            return  # the owner does it when it can: its value comes then
        finally:
            del self._answers[number]
        if watched.failed is not None:
            raise error_of(watched.failed)

    def unwatch(self, channel: str) -> None:
        """See :meth:`channels.statistics.service.interface.StatServer.unwatch`."""
        if channel not in self.watched:
            return
        del self.watched[channel]
        if self._local_call:
            self._guests.unwatch(self.tenant, self._me, self._local_call, channel)
        elif self._sender is not None:
            self._sender.send(Unwatch(channel))

    # -- following --------------------------------------------------------------------------------------------------

    async def _follow_forever(self) -> None:
        pause, longest = AGAIN_S
        while True:
            self._changed.clear()
            owner = self._ownership.owner(self.tenant)
            if owner is None:
                await self._be_without_owner()
                continue
            try:
                heard = await (self._follow_here() if owner.node == self._me else self._follow(owner))
            except Exception:
                heard = False
                _log.exception("owner_not_followed", tenant=self.tenant)
            if heard:
                pause = AGAIN_S[0]
            if owner == self._ownership.owner(self.tenant) and not self._changed.is_set():
                # it refuses, or cannot be reached: who is the owner now?
                await self._ownership.refresh()
                self._set(ServiceState.UNAVAILABLE)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    async def _be_without_owner(self) -> None:
        if self.state is not None:  # at first an owner is looked for
            self._set(ServiceState.UNAVAILABLE)
        await self._changed.wait()

    async def _follow_here(self) -> bool:
        self._local_call = self._guests.enter(self.tenant, self._me)
        try:
            self._set(self._local_state(self.tenant))
            if opened := await self._guests.replace(self.tenant, self._me, self._local_call, (), list(self.watched)):
                self._opened(self.tenant, opened)
            while self._ownership.serves(self.tenant):
                await self._changed.wait()
                self._changed.clear()
        finally:
            self._guests.leave(self.tenant, self._me, self._local_call)
            self._local_call = 0
        self._set(ServiceState.UNAVAILABLE)
        return True

    async def _follow(self, owner: Owner) -> bool:
        """Call the owner until the call ends; returns whether the owner said anything."""
        heard = False
        try:
            call = await self._links.open(owner.node, KIND, self.tenant.encode())
        except LinkError:
            self._broken()
            self._set(ServiceState.UNAVAILABLE)
            return False
        sender = Sender(call)
        sender.send(*whole(self._logins(self.tenant), self.watched))
        sending = asyncio.create_task(sender.run(), name="statistics.follower.send")
        self._sender = sender
        watching = asyncio.create_task(self._end_with_owner(call.cancel, owner), name="statistics.follower.owner")
        try:
            while (some := await told(call)) is not None:
                for each in some:
                    heard = True
                    if isinstance(each, State):
                        self._set(each.state)
                    elif (answer := self._answers.get(each.number)) is not None and not answer.done():
                        answer.set_result(each)
        except LinkError:
            self._broken()
        finally:
            self._sender = None
            call.cancel()
            for task in (sending, watching):
                task.cancel()
            await asyncio.wait([sending, watching])
            if not sending.cancelled():
                sending.exception()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result(Watched(0))  # it is told again to the next owner
        if heard:
            self._set(ServiceState.UNAVAILABLE)
        return heard

    async def _end_with_owner(self, cancel: Callable[[], object], owner: Owner) -> None:
        """End the call when the tenant has another owner."""
        while self._ownership.owner(self.tenant) == owner:
            await self._changed.wait()
            self._changed.clear()
        self._changed.set()
        cancel()

    def _set(self, state: ServiceState) -> None:
        before, self.state = self.state, state
        self._known.set()
        if before is not None and before is not state:
            self._tell(self.tenant, state)
            if state is ServiceState.AVAILABLE:
                self._back(self.tenant)
