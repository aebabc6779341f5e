"""What administrators do by REST: changes under their own name, within their own rights, in their own tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from starlette.requests import Request

from hub.administration.counters import AdministrationCounters
from hub.administration.settings import AdministrationSettings
from hub.audit.log import AuditLog
from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.core.rates import RateLimit
from hub.http.errors import ApiError
from hub.security.access_keys_store import AccessKeysStore
from hub.security.clients_store import ClientsStore
from hub.security.delegation import Delegate, GrantsOf
from hub.security.gate import Gate
from hub.security.origin import client_address
from hub.security.store import Store
from hub.storage.transactions import Transactions

T = TypeVar("T")


class Desk(NamedTuple):
    """What one caller administers."""

    store: Store
    clients: ClientsStore
    access_keys: AccessKeysStore


class AdministrationService:
    """The administration of one hub."""

    __slots__ = ("_audit", "_clock", "_gate", "_grants_of", "_most", "_rate", "_transactions", "counters")

    def __init__(
        self,
        transactions: Transactions,
        gate: Gate,
        clock: Clock,
        audit: AuditLog,
        grants_of: GrantsOf,
        settings: AdministrationSettings,
    ) -> None:
        """``grants_of`` reads the grants of roles in the transaction of a change."""
        self._audit = audit
        self._clock = clock
        self._gate = gate
        self._grants_of = grants_of
        self._most = settings.most()
        self._rate = RateLimit(clock, settings.changes_per_s)
        self._transactions = transactions
        self.counters = AdministrationCounters()

    async def desk(self, request: Request, caller: Principal) -> Desk:
        """The desk of a caller."""
        credential = await self._gate.credential_of(caller)
        client = "" if credential is None or credential.client is None else credential.client
        address = client_address(request.scope)
        audit = self._audit.by(self._audit.caller(caller.tenant, caller.subject, address, client))
        known = self._gate.decisions.scopes
        scopes = None if caller.scopes is None else [known[name].grants for name in sorted(caller.scopes) if name in known]
        supervision = Delegate(caller.tenant, caller.subject, caller.roles, scopes, self._grants_of, self._most)
        now_ms = self._clock.wall_ms
        return Desk(
            Store(self._transactions, now_ms, audit, self._gate.passwords, supervision),
            ClientsStore(self._transactions, now_ms, audit, supervision, tenant=caller.tenant),
            AccessKeysStore(self._transactions, now_ms, audit, self._gate.signatures.secrets, supervision),
        )

    async def change(self, request: Request, caller: Principal, work: Callable[[Desk], Awaitable[T]]) -> T:
        """Make a change; nodes apply it within 2 s, this one at once.

        Raises:
            AdminError: it is refused.
            ApiError: 429, the tenant makes too many changes.
            StorageError: the database cannot be written.
        """
        if not self._rate.allows(caller.tenant):
            self.counters.too_many += 1
            message = "too many changes of this tenant (administration.changes_per_s); try again in a second"
            raise ApiError(429, message, headers={"Retry-After": "1"})
        done = await work(await self.desk(request, caller))
        self.counters.changes += 1
        self._gate.refresh_soon()
        return done
