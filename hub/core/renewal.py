"""Newer credentials on live sessions, and the notice that the present one ends soon (docs/protocol/credentials.md#a-newer-credential)."""

from __future__ import annotations

from typing import Final

from hub.core.counters import Counters
from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.core.subscriptions import Subscriptions
from hub.core.timers import Timer, Timers

MAX_REPLACED: Final = 8
"""Replaced credentials that a session remembers. A request that was under way while a newer one was shown brings the one before."""


class Renewals:
    """Has a newer credential of the same caller take the place of a session's old one, and tells sessions when theirs ends."""

    __slots__ = ("_clock", "_counters", "_limits", "_notices", "_subscriptions", "_timers")

    def __init__(self, subscriptions: Subscriptions, timers: Timers, clock: Clock, limits: Limits, counters: Counters) -> None:
        self._subscriptions = subscriptions
        self._timers = timers
        self._clock = clock
        self._limits = limits
        self._counters = counters
        # the sessions whose credential ends and that have not been told yet
        self._notices: dict[Subscriber, Timer] = {}

    # -- when a credential ends -------------------------------------------------------------------------------------

    def expires_in(self, principal: Principal) -> int | None:
        """Whole seconds until a credential ends by itself, at least 0; None if it does not."""
        if principal.expires_ms is None:
            return None
        return max(0, (principal.expires_ms - self._clock.wall_ms()) // 1000)

    def is_soon(self, left_s: int | None) -> bool:
        """Whether :meth:`expires_in` says that a credential ends within ``limits.token_expiry_notice_s``."""
        return left_s is not None and left_s <= self._limits.token_expiry_notice_s

    def arrived(self, session: Subscriber) -> None:
        """A session was let in: it is told before its credential ends."""
        expires_ms = session.principal.expires_ms
        if expires_ms is None or not self._limits.token_expiry_notice_s:
            return
        wait_s = (expires_ms - self._clock.wall_ms()) / 1000 - self._limits.token_expiry_notice_s
        self._notices[session] = self._timers.after(max(0.0, wait_s), lambda: self._tell(session))

    def left(self, session: Subscriber) -> None:
        """A session has ended."""
        timer = self._notices.pop(session, None)
        if timer is not None:
            self._timers.cancel(timer)

    def _tell(self, session: Subscriber) -> None:
        self._notices.pop(session, None)
        left = self.expires_in(session.principal)
        if left is not None and session.attached and not session.closing:
            self._counters.expiry_notices += 1
            session.tell_expiring(left)

    # -- a newer one ------------------------------------------------------------------------------------------------

    def is_news(self, session: Subscriber, shown: Principal) -> bool:
        """Whether a credential that came with a request of a session is neither its own nor one that was replaced: then
        :meth:`renew` has something to do. A credential of which the roles have grown since is news, too.
        """
        own = session.principal
        if shown.credential == own.credential:
            return shown.roles != own.roles or shown.scopes != own.scopes
        return shown.credential not in session.replaced

    async def renew(self, session: Subscriber, shown: Principal) -> None:
        """Have a good credential take the place of the session's old one: from now on the session lives as long as this one, with its
        grants. Its subscriptions that these do not cover end, and the client is told.

        The credential must have been looked up in this turn of the loop: an end that comes later finds the session by it.

        Raises:
            RefusedError: CREDENTIAL_DENIED, it is another caller's. The session goes on with its old one.
        """
        own = session.principal
        if own.anonymous or not own.same_caller(shown):
            raise self.refused("it is not of the tenant and the subject whose session this is")
        if not self.is_news(session, shown):
            return
        if shown.credential != own.credential:
            session.replaced = (*session.replaced, own.credential)[-MAX_REPLACED:]
        session.principal = own.succeeded_by(shown)
        self._counters.renewed += 1
        self.left(session)
        self.arrived(session)
        if shown.roles == own.roles and shown.scopes == own.scopes:  # the same questions have the same answers
            return
        ended = await self._subscriptions.check_again(session)
        if ended and session.attached:
            session.tell_unsubscribed(ended)

    def refused(self, detail: str) -> RefusedError:
        """What a session is answered whose newer credential was not taken; counted here."""
        self._counters.renewals_refused += 1
        return RefusedError(WireError.CREDENTIAL_DENIED, detail)
