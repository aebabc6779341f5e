"""Administration of access keys, on the database itself. :class:`hub.security.store.Store` lists, shows and removes them with API keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from hub.audit.log import Recorder
from hub.audit.models import Event
from hub.security import queries
from hub.security.access_keys import AccessKeySecrets, new_access_key_id
from hub.security.changes import Kind
from hub.security.delegation import Supervision, Unsupervised
from hub.security.models import AccessKey, AdminError, check_name
from hub.storage.transactions import Transaction, Transactions


class AccessKeysStore:
    """The administrator's view of access keys."""

    __slots__ = ("_audit", "_now_ms", "_secrets", "_supervision", "_transactions")

    def __init__(
        self,
        transactions: Transactions,
        now_ms: Callable[[], int],
        audit: Recorder,
        secrets: AccessKeySecrets,
        supervision: Supervision | None = None,
    ) -> None:
        """As :class:`hub.security.store.Store`; ``secrets`` derives those of the keys."""
        self._transactions = transactions
        self._now_ms = now_ms
        self._audit = audit
        self._secrets = secrets
        self._supervision: Supervision = supervision or Unsupervised()

    async def add(self, tenant: str, name: str, roles: Iterable[str]) -> tuple[AccessKey, str]:
        """Add an access key; returns it with its secret.

        Raises:
            ExistsError: the tenant has a key of that name, of either kind.
            NotThereError: no such tenant or role.
            AdminError: the name is not valid.
        """
        check_name("key", name)
        wanted = list(roles)

        def add(tx: Transaction) -> AccessKey:
            queries.begin_change_within(tx, tenant)
            chosen = queries.check_roles(tx, tenant, wanted)
            queries.check_new_key(tx, tenant, name)
            self._supervision.adds(tx, "access_keys", tenant)
            self._supervision.gives(tx, tenant, chosen)
            key = AccessKey(new_access_key_id(), tenant, name, tuple(chosen), self._now_ms(), 1)
            tx.run(
                "INSERT INTO access_keys (id, tenant, name, generation, roles, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, tenant, name, key.generation, json.dumps(chosen), key.created_ms),
            )
            queries.note_change(tx, Kind.NEW, "", self._now_ms())
            self._audit.record(tx, Event.KEY_ADDED, tenant, f"key:{name}", after={"roles": chosen, "access_key": key.id})
            return key

        made = await self._transactions.write(add)
        return made, self._secrets.of(made.id, made.generation)

    async def rotate(self, tenant: str, name: str) -> tuple[AccessKey, str]:
        """Give an access key another secret; the old one is good for 2 s at most. Returns the key, whose id stays, with the new secret.

        Raises:
            NotThereError: no such tenant or key.
            AdminError: the key of that name is an API key.
        """

        def rotate(tx: Transaction) -> AccessKey:
            queries.begin_change(tx)
            key = queries.key_of(queries.named(tx, queries.KEYS, "key", tenant, name))
            if not isinstance(key, AccessKey):
                raise AdminError(f"key: expected an access key, got {name!r}, which is an API key: add another one, then remove this")
            self._supervision.gives(tx, tenant, key.roles)  # who knows the secret can act as the key
            made = replace(key, generation=key.generation + 1, rotated_ms=self._now_ms())
            tx.run("UPDATE access_keys SET generation = ?, rotated_ms = ? WHERE id = ?", (made.generation, made.rotated_ms, key.id))
            queries.note_change(tx, Kind.ACCESS_KEY, key.id, self._now_ms())
            before, after = {"generation": key.generation}, {"generation": made.generation}
            self._audit.record(tx, Event.KEY_ROTATED, tenant, f"key:{name}", before=before, after=after)
            return made

        made = await self._transactions.write(rotate)
        return made, self._secrets.of(made.id, made.generation)
