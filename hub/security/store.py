"""Administration of tenants and users, directly on the database, and of what :mod:`hub.security.store_roles` and
:mod:`hub.security.store_keys` have.

Each change raises the revision in the same transaction; running nodes apply it within 2 s. A secret is returned only when it is made.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from hub.audit.changes import differences
from hub.audit.log import Recorder
from hub.audit.models import Event
from hub.security import queries
from hub.security.changes import Kind
from hub.security.credentials import new_id
from hub.security.delegation import Supervision
from hub.security.ends import end_of_user
from hub.security.models import (
    AdminError,
    ExistsError,
    Tenant,
    User,
    check_name,
    is_tenant_name,
)
from hub.security.passwords import PasswordHashes
from hub.security.store_keys import KeysStore
from hub.security.store_roles import RolesStore
from hub.security.user_details import NO_DETAILS, Details
from hub.storage.transactions import Transaction, Transactions, marks


class Store(RolesStore, KeysStore):
    """The administrator's view of the database."""

    __slots__ = ("_passwords",)

    def __init__(
        self,
        transactions: Transactions,
        now_ms: Callable[[], int],
        audit: Recorder,
        passwords: PasswordHashes,
        supervision: Supervision | None = None,
    ) -> None:
        """``passwords`` makes the hashes of users' passwords; the others: see :class:`hub.security.store_base.StoreBase`."""
        super().__init__(transactions, now_ms, audit, supervision)
        self._passwords = passwords

    # -- tenants ----------------------------------------------------------------------------------------------------

    async def add_tenant(self, name: str, *, exists_ok: bool = False) -> Tenant:
        """Add a tenant.

        Raises:
            ExistsError: the tenant exists already, unless ``exists_ok``.
            AdminError: the name is not valid for a tenant.
        """
        if not is_tenant_name(name):
            raise AdminError(f"tenant: expected 1-64 letters, digits and . _ -, a letter or digit first, got {name!r}")

        def add(tx: Transaction) -> Tenant:
            queries.begin_change(tx)
            if not queries.has_tenant(tx, name):
                tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, ?)", (name, self._now_ms()))
                self._note(tx, Kind.NEW)
                self._audit.record(tx, Event.TENANT_ADDED, name)
            elif not exists_ok:
                raise ExistsError(f"tenant: expected a new name, got {name!r}, which is there already")
            return queries.tenant_of(tx, name)

        return await self._transactions.write(add)

    async def tenants(self) -> list[Tenant]:
        """Every tenant, by name."""
        return await self._transactions.read(queries.all_tenants)

    async def tenant(self, name: str) -> Tenant:
        """One tenant.

        Raises:
            NotThereError: there is no tenant of that name.
        """
        return await self._transactions.read(lambda tx: queries.tenant_of(tx, name))

    async def remove_tenant(
        self,
        name: str,
        *,
        force: bool = False,
        also: Callable[[Transaction, str], object] = lambda _, __: None,
        held: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Remove a tenant. With ``force``, all that it has is removed too. ``also`` removes in the same transaction what others have of it.
        ``held``: see :attr:`hub.family.Family.held`, of all families.

        Raises:
            NotThereError: there is no tenant of that name.
            AdminError: without ``force``: the tenant still has something.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            tenant = queries.tenant_of(tx, name)
            has = {"user": tenant.users, "key": tenant.keys, "token": tenant.tokens, "client": tenant.clients}
            has |= {noun: queries.count_of_tenant(tx, table, name) for noun, table in held.items()}
            if not force and any(has.values()):
                told = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in has.items() if count)
                raise AdminError(f"tenant: {name} still has {told}; remove them first, or with --force all at once")
            tx.run("DELETE FROM tenants WHERE name = ?", (name,))
            also(tx, name)
            self._note(tx, Kind.TENANT, name)
            self._audit.record(tx, Event.TENANT_REMOVED, name, before={f"{noun}s": count for noun, count in has.items()})

        await self._transactions.write(remove)

    # -- users ------------------------------------------------------------------------------------------------------

    async def add_user(self, tenant: str, name: str, password: str, roles: Iterable[str], details: Details = NO_DETAILS) -> User:
        """Add a user.

        Raises:
            ExistsError: the tenant has a user of that name.
            NotThereError: no such tenant or role.
            AdminError: the name or the password is not valid.
        """
        check_name("user", name)
        queries.check_password(password)
        details.check()
        hashed = await self._passwords.hash(password)
        wanted = list(roles)

        def add(tx: Transaction) -> User:
            queries.begin_change_within(tx, tenant)
            chosen = queries.check_roles(tx, tenant, wanted)
            if tx.row("SELECT 1 FROM users WHERE tenant = ? AND name = ?", (tenant, name)) is not None:
                raise ExistsError(f"user: expected a new name, got {name!r}, which tenant {tenant} has already")
            self._supervision.adds(tx, "users", tenant)
            self._supervision.gives(tx, tenant, chosen)
            number = queries.next_user_number(tx)
            user = details.of(User(new_id(), tenant, name, tuple(chosen), self._now_ms(), number))
            tx.run(
                "INSERT INTO users (id, tenant, name, password_hash, roles, created_ms, number, given_name, family_name, email, disabled) "
                f"VALUES ({marks(range(11))})",
                (
                    *(user.id, tenant, name, hashed, json.dumps(chosen), user.created_ms, number),
                    *(user.given_name, user.family_name, user.email, int(user.disabled)),
                ),
            )
            self._note(tx, Kind.NEW)
            self._audit.record(tx, Event.USER_ADDED, tenant, self._audit.person(tenant, name), after=_of_user(user))
            return user

        return await self._transactions.write(add)

    async def users(self, tenant: str | None = None) -> list[User]:
        """The users of a tenant, or of all."""
        return [queries.user_of(row) for row in await self._all(queries.USERS, "tenant, name", tenant)]

    async def user(self, tenant: str, name: str) -> User:
        """One user.

        Raises:
            NotThereError: no such tenant or user.
        """
        return await self._transactions.read(lambda tx: queries.user_of(queries.named(tx, queries.USERS, "user", tenant, name)))

    async def user_page(self, tenant: str, after: str | None, limit: int) -> list[User]:
        """The users of a tenant behind a name, by name."""
        return [queries.user_of(row) for row in await self._page(queries.USERS, "name", tenant, after, limit)]

    async def change_user(
        self,
        tenant: str,
        name: str,
        *,
        password: str | None = None,
        roles: Iterable[str] | None = None,
        details: Details = NO_DETAILS,
    ) -> User:
        """Give a user another password, other roles, or other details. Another password, and disabling the user, end every sign-in and
        every token of the user.

        Raises:
            NotThereError: no such tenant, user or role.
            AdminError: the password or a detail is not valid.
        """
        details.check()
        hashed = None
        if password is not None:
            queries.check_password(password)
            hashed = await self._passwords.hash(password)
        wanted = None if roles is None else list(roles)

        def change(tx: Transaction) -> User:
            queries.begin_change(tx)
            user = queries.user_of(queries.named(tx, queries.USERS, "user", tenant, name))
            self._supervision.gives(tx, tenant, user.roles)  # who changes a password can sign in as the user
            made = details.of(user)
            if wanted is not None:
                made = replace(made, roles=tuple(queries.check_roles(tx, tenant, wanted)))
                self._supervision.gives(tx, tenant, made.roles)
                self._supervision.drops(tx, tenant, set(user.roles) - set(made.roles))
            if hashed is not None or (made.disabled and not user.disabled):
                end_of_user(tx, user.id, self._now_ms())
            if hashed is not None:
                tx.run("UPDATE users SET password_hash = ? WHERE id = ?", (hashed, user.id))
                self._audit.record(tx, Event.PASSWORD_CHANGED, tenant, self._audit.person(tenant, name))
            self._note(tx, Kind.USER, user.id)
            if made != user:
                tx.run(
                    "UPDATE users SET roles = ?, given_name = ?, family_name = ?, email = ?, disabled = ? WHERE id = ?",
                    (json.dumps(made.roles), made.given_name, made.family_name, made.email, int(made.disabled), user.id),
                )
                before, after = differences(_of_user(user), _of_user(made))
                after.update(details.told(user))
                self._audit.record(tx, Event.USER_CHANGED, tenant, self._audit.person(tenant, name), before=before, after=after)
            return made

        return await self._transactions.write(change)

    async def remove_user(self, tenant: str, name: str) -> None:
        """Remove a user, and the tokens that were made for it.

        Raises:
            NotThereError: no such tenant or user.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            user = queries.user_of(queries.named(tx, queries.USERS, "user", tenant, name))
            self._supervision.gives(tx, tenant, user.roles)
            tx.run("DELETE FROM users WHERE id = ?", (user.id,))
            self._note(tx, Kind.USER, user.id)
            self._audit.record(tx, Event.USER_REMOVED, tenant, self._audit.person(tenant, name), before=_of_user(user))

        await self._transactions.write(remove)


def _of_user(user: User) -> dict[str, Any]:
    """What the audit log tells of a user: nothing by which a person is known."""
    return {"roles": list(user.roles), "disabled": user.disabled}
