"""The logins that have a Bayeux session on this node: a statistics subscription ends with the last session of its login."""

from __future__ import annotations

from collections.abc import Callable

from hub.core.principal import Principal


class LocalLogins:
    """:class:`hub.core.ports.Logins` of one process: it counts the Bayeux sessions of each login."""

    __slots__ = ("_sessions", "on_came", "on_gone")

    def __init__(self) -> None:
        # Bayeux sessions of each (tenant, audience)
        self._sessions: dict[tuple[str, str], int] = {}
        self.on_came: list[Callable[[str, str], None]] = []
        self.on_gone: list[Callable[[str, str], None]] = []

    def arrived(self, principal: Principal) -> None:
        """See :meth:`hub.core.ports.Logins.arrived`."""
        for audience in principal.audiences:
            key = (principal.tenant, audience)
            before = self._sessions.get(key, 0)
            self._sessions[key] = before + 1
            if not before:
                for listener in self.on_came:
                    listener(*key)

    def left(self, principal: Principal) -> None:
        """See :meth:`hub.core.ports.Logins.left`."""
        for audience in principal.audiences:
            key = (principal.tenant, audience)
            left = self._sessions.get(key, 0) - 1
            if left > 0:
                self._sessions[key] = left
                continue
            self._sessions.pop(key, None)
            for listener in self.on_gone:
                listener(*key)

    def has(self, tenant: str, audience: str) -> bool:
        """See :meth:`hub.core.ports.Logins.has`."""
        return (tenant, audience) in self._sessions

    def of_tenant(self, tenant: str) -> list[str]:
        """See :meth:`hub.core.ports.NodeLogins.of_tenant`."""
        return [audience for of, audience in self._sessions if of == tenant]

    def __len__(self) -> int:
        """How many logins have a session."""
        return len(self._sessions)
