"""Administration of roles, directly on the database.

Each change raises the revision in the same transaction; running nodes apply it within 2 s. A secret is returned only when it is made.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hub.audit.models import Event
from hub.security import queries
from hub.security.changes import Kind
from hub.security.models import (
    AdminError,
    BuiltInError,
    ExistsError,
    InUseError,
    NotThereError,
    Role,
    is_tenant_name,
)
from hub.security.roles import BUILT_IN, Grant, parse_grant
from hub.security.store_base import StoreBase
from hub.storage.transactions import Row, Transaction


class RolesStore(StoreBase):
    """The administrator's view of roles."""

    __slots__ = ()

    async def add_role(self, tenant: str, name: str, grants: Sequence[Grant]) -> Role:
        """Add a role of a tenant's own.

        Raises:
            ExistsError: the tenant has a role of that name, or it is that of a built-in role.
            NotThereError: there is no such tenant.
            AdminError: the name is not valid for a role, or there are no grants.
        """
        if not is_tenant_name(name):
            raise AdminError(f"role: expected 1-64 letters, digits and . _ -, a letter or digit first, got {name!r}")
        if name in BUILT_IN:
            raise ExistsError(f"role: expected a new name, got {name!r}, which is built in")
        if not grants:
            raise AdminError("grants: expected at least one, got none")

        def add(tx: Transaction) -> Role:
            queries.begin_change_within(tx, tenant)
            if name in queries.own_roles(tx, tenant):
                raise ExistsError(
                    f"role: expected a new name, got {name!r}, which tenant {tenant} has already; to change it: hub role change {name}"
                )
            self._supervision.adds(tx, "roles", tenant)
            self._supervision.defines(tx, (), tuple(grants))
            role = Role(tenant, name, tuple(grants), self._now_ms())
            stored = json.dumps([grant.to_json() for grant in grants])
            tx.run("INSERT INTO roles (tenant, name, grants, created_ms) VALUES (?, ?, ?, ?)", (tenant, name, stored, role.created_ms))
            self._note(tx, Kind.NEW)
            self._audit.record(tx, Event.ROLE_ADDED, tenant, f"role:{name}", after={"grants": [grant.to_json() for grant in grants]})
            return role

        return await self._transactions.write(add)

    async def roles(self, tenant: str | None = None) -> list[Role]:
        """The roles of a tenant's own, or of all tenants."""
        rows = await self._all("SELECT tenant, name, grants, created_ms FROM roles", "tenant, name", tenant)
        return [_role_of(row) for row in rows]

    async def role_page(self, tenant: str, after: str | None, limit: int) -> list[Role]:
        """The roles of a tenant's own behind a name, by name."""
        query = "SELECT tenant, name, grants, created_ms FROM roles"
        return [_role_of(row) for row in await self._page(query, "name", tenant, after, limit)]

    async def role(self, tenant: str, name: str) -> Role:
        """One role of a tenant's own.

        Raises:
            NotThereError: the tenant has no such role.
            BuiltInError: it has none, but it is a built-in one.
        """
        return await self._transactions.read(lambda tx: _own_role(tx, tenant, name))

    async def change_role(self, tenant: str, name: str, grants: Sequence[Grant]) -> Role:
        """Give a role of a tenant's own other grants. Who has the role may do from then on what the new ones say; sessions that may do less
        end within 2 s.

        Raises:
            NotThereError: the tenant has no such role.
            BuiltInError: it has none, but it is a built-in one.
            AdminError: there are no grants.
        """
        if not grants:
            raise AdminError("grants: expected at least one, got none")

        def change(tx: Transaction) -> Role:
            queries.begin_change_within(tx, tenant)
            role = _own_role(tx, tenant, name)
            self._supervision.defines(tx, role.grants, tuple(grants))
            made = replace(role, grants=tuple(grants))
            if made != role:
                tx.run("UPDATE roles SET grants = ? WHERE tenant = ? AND name = ?", (json.dumps(_stored(made)), tenant, name))
                self._note(tx, Kind.ROLE, tenant)
                before, after = {"grants": _stored(role)}, {"grants": _stored(made)}
                self._audit.record(tx, Event.ROLE_CHANGED, tenant, f"role:{name}", before=before, after=after)
            return made

        return await self._transactions.write(change)

    async def remove_role(self, tenant: str, name: str) -> None:
        """Remove a role of a tenant's own.

        Raises:
            NotThereError: the tenant has no such role.
            BuiltInError: it has none, but it is a built-in one.
            AdminError: somebody still has it.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change_within(tx, tenant)
            self._supervision.defines(tx, _own_role(tx, tenant, name).grants, ())
            holders = []
            for kind, query in (
                ("user", "SELECT name, roles FROM users WHERE tenant = ?"),
                ("key", f"SELECT name, roles FROM ({queries.KEYS} WHERE tenant = ?) keys_of_tenant"),
                ("token", "SELECT id, roles FROM tokens WHERE tenant = ?"),
                ("client", "SELECT id, roles FROM clients WHERE tenant = ?"),
            ):
                holders += [f"{kind} {who}" for who, roles in tx.rows(query, (tenant,)) if name in (queries.decoded(roles) or ())]
            if holders:
                raise InUseError(f"role: {name} is still that of {queries.some(holders)}; to change what it allows: hub role change {name}")
            removed = tx.row("DELETE FROM roles WHERE tenant = ? AND name = ? RETURNING grants", (tenant, name))
            assert removed is not None
            self._note(tx, Kind.ROLE, tenant)
            self._audit.record(tx, Event.ROLE_REMOVED, tenant, f"role:{name}", before={"grants": queries.decoded(removed[0])})

        await self._transactions.write(remove)


def _role_of(row: Row) -> Role:
    tenant, name, grants, created_ms = row
    return Role(tenant, name, tuple(parse_grant(raw) for raw in queries.decoded(grants)), created_ms)


def _own_role(tx: Transaction, tenant: str, name: str) -> Role:
    query = "SELECT tenant, name, grants, created_ms FROM roles WHERE tenant = ? AND name = ?"
    row = tx.row(query, (tenant, name)) if is_tenant_name(name) else None
    if row is None:
        if name in BUILT_IN:
            raise BuiltInError(f"role: expected one of tenant {tenant}'s own, got {name!r}, which is built in and stays as it is")
        own = queries.own_roles(tx, tenant)
        raise NotThereError(queries.no_such("role", name, own, f"hub role add NAME --tenant {tenant}"))
    return _role_of(row)


def _stored(role: Role) -> list[dict[str, Any]]:
    return [grant.to_json() for grant in role.grants]
