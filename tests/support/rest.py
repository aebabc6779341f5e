"""What the REST calls of a family need around them: who may call, a clock, a stat server that takes events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from channels.events import ACCEPTED, DUPLICATE, Event
from hub.core.principal import Action
from hub.security.changes import Changes
from hub.security.credentials import Credential, hash_secret
from hub.security.roles import Grant, Grants

Callers = Mapping[str, tuple[str, tuple[str, ...]]]
"""By name: tenant and operations."""


class Lookup:
    """Credentials in place of the database's: tokens, and API keys of the same text, by name with their tenant and operations."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._by_name = {
            name: Credential(f"token:{name}", tenant, name, frozenset({name}), self._grants_of(name), hash_secret(name))
            for name, (tenant, _) in callers.items()
        }

    def _grants_of(self, name: str) -> Grants:
        return (Grant(Action.CALL, self._callers[name][1]),)

    async def changes(self, after: int | None) -> Changes:
        return Changes(0, ())

    async def client_origins(self) -> list[tuple[str, str]]:
        return []

    async def ended_sign_ins(self) -> list[tuple[str, int]]:
        return []

    async def by_token(self, digest: str) -> Credential | None:
        return next((each for each in self._by_name.values() if each.fingerprint == digest), None)

    by_key = by_token

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        return None

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        return {each.id: each for each in self._by_name.values() if each.id in set(ids)}

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        return tuple(grant for role in roles for grant in self._grants_of(role))


class Clock:
    """Time stands still until the test moves it."""

    def __init__(self) -> None:
        self.now_ms = 1_772_366_400_000

    def monotonic(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    def wall_us(self) -> int:
        return self.now_ms * 1000


class Sink:
    """An event sink that keeps what it takes, knows repeats, and refuses what is older than ``since_ms``."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Event]] = []
        self.since_ms = 0
        self.fault: Exception | None = None
        self._known: set[tuple[str, str]] = set()

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        if self.fault is not None:
            raise self.fault
        return [self._take(tenant, event) for event in events]

    def _take(self, tenant: str, event: Event) -> str:
        if (event.source, event.id) in self._known:
            return DUPLICATE
        if event.time_ms < self.since_ms:
            return "time: expected later, got earlier"
        self._known.add((event.source, event.id))
        self.taken.append((tenant, event))
        return ACCEPTED
