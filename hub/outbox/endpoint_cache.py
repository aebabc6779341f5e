"""The copy of all endpoints that a running hub works with."""

from __future__ import annotations

from collections.abc import Iterator, KeysView

from hub.core.time_slice import TimeSlice
from hub.outbox import endpoint_store
from hub.outbox.models import ASKING_ENDPOINTS, EVERY_ENDPOINT, NO_ENDPOINT, Endpoint, OutboxEvent
from hub.storage.transactions import Transaction, Transactions


class EndpointCache:
    """Every endpoint, as this process last read it or changed it itself."""

    __slots__ = ("_by_id", "_by_tenant", "_own_changes", "_revision", "_transactions")

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._by_id: dict[str, Endpoint] = {}
        self._by_tenant: dict[str, dict[str, Endpoint]] = {}
        self._own_changes = 0
        self._revision: int | None = None

    async def refresh(self, time_slice: TimeSlice) -> bool:
        """Read the endpoints again if any has changed. Returns whether one has.

        Raises:
            StorageError: the database cannot be read.
        """

        def load(transaction: Transaction) -> tuple[int, list[Endpoint] | None]:
            row = transaction.row("SELECT number FROM outbox_revision")
            assert row is not None
            revision: int = row[0]
            return revision, None if revision == self._revision else endpoint_store.of_tenant(transaction, None)

        while True:
            own_changes = self._own_changes
            revision, endpoints = await self._transactions.read(load)
            if endpoints is None:
                return False
            by_id: dict[str, Endpoint] = {}
            by_tenant: dict[str, dict[str, Endpoint]] = {}
            endpoints.reverse()
            while endpoints:  # one by one: to free thousands of objects at once would also block the event loop
                endpoint = endpoints.pop()
                before = self._by_id.get(endpoint.id)
                if before == endpoint:
                    endpoint = before
                by_id[endpoint.id] = endpoint
                by_tenant.setdefault(endpoint.tenant, {})[endpoint.id] = endpoint
                await time_slice.checkpoint()
            if own_changes == self._own_changes:
                break  # else this process changed an endpoint meanwhile, and the rows may be older than that change
        self._revision = revision
        self._by_id = by_id
        self._by_tenant = by_tenant
        return True

    def put(self, identifier: str, endpoint: Endpoint | None) -> None:
        """Apply a change that this process made: the endpoint, or None if it was removed."""
        self._own_changes += 1
        before = self._by_id.pop(identifier, None) if endpoint is None else self._by_id.get(identifier)
        if before is not None and (endpoint is None or endpoint.tenant != before.tenant):
            of_tenant = self._by_tenant[before.tenant]
            del of_tenant[identifier]
            if not of_tenant:
                del self._by_tenant[before.tenant]
        if endpoint is not None:
            self._by_id[identifier] = endpoint
            self._by_tenant.setdefault(endpoint.tenant, {})[identifier] = endpoint

    def disable(self, identifier: str, reason: str) -> None:
        """Mark an endpoint as disabled, after this process disabled it. Rows that are being read meanwhile do not enable it again."""
        self._own_changes += 1
        endpoint = self._by_id.get(identifier)
        if endpoint is not None:
            endpoint.enabled = False
            endpoint.disabled_reason = reason

    def __getitem__(self, endpoint: str) -> Endpoint:
        """One endpoint.

        Raises:
            KeyError: there is none, or this process has not read it yet.
        """
        return self._by_id[endpoint]

    def get(self, endpoint: str) -> Endpoint | None:
        """One endpoint, or None."""
        return self._by_id.get(endpoint)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def tenants(self) -> KeysView[str]:
        """The tenants that have endpoints."""
        return self._by_tenant.keys()

    @property
    def serves_one_tenant(self) -> bool:
        """Whether at most one tenant has an endpoint that is enabled."""
        enabled = 0
        for endpoints in self._by_tenant.values():
            enabled += any(endpoint.enabled for endpoint in endpoints.values())
            if enabled > 1:
                return False
        return True

    def wanting(self, event: OutboxEvent) -> list[str]:
        """The ids of the endpoints that an event goes to. An event for one endpoint gets a delivery even while the endpoint is disabled;
        the delivery waits.
        """
        if event.endpoint == NO_ENDPOINT:
            return []
        if event.endpoint not in (EVERY_ENDPOINT, ASKING_ENDPOINTS):
            return [event.endpoint]
        of_tenant = self._by_tenant.get(event.tenant)
        return [] if of_tenant is None else [each.id for each in of_tenant.values() if each.enabled and each.wants(event)]
