"""The logins that have a Bayeux session on this node: a statistics subscription ends with the last session of its login."""

from __future__ import annotations

from collections.abc import Callable

from hub.core.principal import Principal


class LocalLogins:
    """:class:`hub.core.ports.Logins` of one process: it counts the Bayeux sessions of each login."""

    __slots__ = ("_sessions", "on_came", "on_gone")

    def __init__(self) -> None:
        # by tenant, then by audience: the number of Bayeux sessions
        self._sessions: dict[str, dict[str, int]] = {}
        self.on_came: list[Callable[[str, str], None]] = []
        """Each is called with tenant and audience after the first session of a login has begun."""
        self.on_gone: list[Callable[[str, str], None]] = []
        """See :attr:`hub.core.ports.Logins.on_gone`."""

    def arrived(self, principal: Principal) -> None:
        """See :meth:`hub.core.ports.Logins.arrived`."""
        tenant = principal.tenant
        for audience in principal.audiences:
            sessions = self._sessions.setdefault(tenant, {})
            before = sessions.get(audience, 0)
            sessions[audience] = before + 1
            if not before:
                for listener in self.on_came:
                    listener(tenant, audience)

    def left(self, principal: Principal) -> None:
        """See :meth:`hub.core.ports.Logins.left`."""
        tenant = principal.tenant
        for audience in principal.audiences:
            sessions = self._sessions.get(tenant, {})
            left = sessions.get(audience, 0) - 1
            if left > 0:
                sessions[audience] = left
                continue
            sessions.pop(audience, None)
            if not sessions:
                self._sessions.pop(tenant, None)
            for listener in self.on_gone:
                listener(tenant, audience)

    def has(self, tenant: str, audience: str) -> bool:
        """See :meth:`hub.core.ports.Logins.has`."""
        return audience in self._sessions.get(tenant, ())

    def of_tenant(self, tenant: str) -> list[str]:
        """The logins of one tenant."""
        return list(self._sessions.get(tenant, ()))

    def __len__(self) -> int:
        """How many logins have a session."""
        return sum(len(sessions) for sessions in self._sessions.values())
