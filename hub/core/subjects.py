"""Messages for all logins of one subject."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hub.core.message import Topic
from hub.core.principal import subject_audience
from hub.core.recipient import Recipient
from hub.core.router import WHOLE, Excluded, Router
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice

Key = tuple[str, str]
"""Tenant and subject."""


class SubjectSessions:
    """The sessions of each subject on this node. Once a message was addressed to a subject, the subscriptions of its sessions stand in the
    router a second time, for the audience of the subject, until its last session ends. So a subject costs nothing before. A bus brings what
    is for a subject to every node that is subscribed to anything of the tenant.
    """

    __slots__ = ("_addressed", "_router", "_sessions")

    def __init__(self, router: Router[Recipient]) -> None:
        self._router = router
        self._sessions: dict[Key, dict[Subscriber, None]] = {}
        # by subject: which of its subscriptions stand in the router, and how many publish to it now
        self._addressed: dict[Key, _Addressed] = {}

    def arrived(self, session: Subscriber) -> None:
        """Note a session that was let in."""
        self._sessions.setdefault(_key(session), {})[session] = None

    def left(self, session: Subscriber) -> None:
        """Forget a session that has ended, as its subscriptions have."""
        key = _key(session)
        sessions = self._sessions.get(key)
        if sessions is None:
            return
        sessions.pop(session, None)
        if not sessions:
            del self._sessions[key]
            self._forget(key)

    def __len__(self) -> int:
        """How many subjects with sessions have been addressed."""
        return len(self._addressed)

    def subscribed(self, session: Subscriber, pattern: str) -> None:
        """Add a subscription that began to the router, if its subject has been addressed."""
        if self._addressed and (addressed := self._addressed.get(_key(session))) is not None:
            addressed.add(self._router, session, pattern)

    def unsubscribed(self, session: Subscriber, pattern: str) -> None:
        """Remove a subscription that ended from the router."""
        if self._addressed and (addressed := self._addressed.get(_key(session))) is not None:
            addressed.remove(self._router, session, pattern)

    def narrowed(self, session: Subscriber, pattern: str) -> None:
        """A session hears more or less of a subscription than before: so it does of what is for its subject."""
        if self._addressed and (addressed := self._addressed.get(_key(session))) is not None:
            addressed.remove(self._router, session, pattern)
            addressed.add(self._router, session, pattern)

    @asynccontextmanager
    async def addressed(self, tenant: str, subject: str, make_time_slice: Callable[[], TimeSlice]) -> AsyncIterator[None]:
        """Surrounds the publishing of a message to a subject: within, all its sessions hear it, also those that come meanwhile."""
        key = tenant, subject
        addressed = self._addressed.get(key)
        if addressed is None:
            addressed = self._addressed[key] = _Addressed(key)
        addressed.publishing += 1
        try:
            if not addressed.complete:
                time_slice = make_time_slice()
                for session in list(self._sessions.get(key, ())):
                    for pattern in list(session.subscriptions):
                        if pattern in session.subscriptions:
                            addressed.add(self._router, session, pattern)
                        await time_slice.checkpoint()
                addressed.complete = True
            yield
        finally:
            addressed.publishing -= 1
            self._forget(key)

    def hear(self, tenant: str, subject: str) -> None:
        """A message to a subject came from another node: all its sessions here are about to hear it. Only the first one of a subject costs
        something, for each of its sessions.
        """
        key = tenant, subject
        sessions = self._sessions.get(key)
        if sessions is None:
            return
        addressed = self._addressed.get(key)
        if addressed is None:
            addressed = self._addressed[key] = _Addressed(key)
        if not addressed.complete:
            for session in sessions:
                for pattern in session.subscriptions:
                    addressed.add(self._router, session, pattern)
            addressed.complete = True

    def _forget(self, key: Key) -> None:
        addressed = self._addressed.get(key)
        if addressed is not None and not addressed.publishing and key not in self._sessions:
            del self._addressed[key]


class _Addressed:
    """A subject to which a message was addressed."""

    __slots__ = ("_excluded", "_key", "complete", "publishing")

    def __init__(self, key: Key) -> None:
        self._key = key
        self._excluded: dict[tuple[Subscriber, str], Excluded] = {}
        """The subscriptions that stand in the router, and what is excluded from each."""
        self.complete = False
        """Whether all subscriptions of its sessions stand there."""
        self.publishing = 0

    def add(self, router: Router[Recipient], session: Subscriber, pattern: str) -> None:
        if (session, pattern) not in self._excluded:
            excluded = self._excluded[session, pattern] = session.narrowed.get(pattern, WHOLE)
            router.add(self._topic(pattern), session, excluded)

    def remove(self, router: Router[Recipient], session: Subscriber, pattern: str) -> None:
        excluded = self._excluded.pop((session, pattern), None)
        if excluded is not None:
            router.remove(self._topic(pattern), session, excluded)

    def _topic(self, pattern: str) -> Topic:
        tenant, subject = self._key
        return Topic(tenant, subject_audience(subject), pattern)


def _key(session: Subscriber) -> Key:
    return session.principal.tenant, session.principal.subject
