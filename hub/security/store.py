"""Administration of tenants, roles, users, API keys and tokens, directly on the database.

Each change raises the revision in the same transaction; running nodes apply it within 2 s. A secret is returned only when it is made.
"""

import json
from collections.abc import Callable, Iterable, Sequence

from hub.security import passwords, queries
from hub.security.changes import Kind
from hub.security.credentials import hash_secret, new_id, new_key, new_token
from hub.security.ends import end_of_user
from hub.security.models import AdminError, ExistsError, Key, NotThereError, Role, Tenant, Token, User, check_name, is_tenant_name
from hub.security.roles import BUILT_IN, Grant, parse_grant
from hub.storage.transactions import Row, Transaction, Transactions


class Store:
    """The administrator's view of the database."""

    __slots__ = ("_now_ms", "_transactions")

    def __init__(self, transactions: Transactions, now_ms: Callable[[], int]) -> None:
        """``now_ms`` returns the time of day, in milliseconds since 1970 UTC."""
        self._transactions = transactions
        self._now_ms = now_ms

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
        self, name: str, *, force: bool = False, also: Callable[[Transaction, str], object] = lambda _, __: None
    ) -> None:
        """Remove a tenant. With ``force``, its users, keys and tokens are removed too. ``also`` removes in the same transaction what others
        have of it.

        Raises:
            NotThereError: there is no tenant of that name.
            AdminError: without ``force``: the tenant still has users, keys or tokens.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            tenant = queries.tenant_of(tx, name)
            if not force and (tenant.users or tenant.keys or tenant.tokens):
                raise AdminError(
                    f"tenant: {name} still has {tenant.users} users, {tenant.keys} keys and {tenant.tokens} tokens; "
                    "remove them first, or force it to remove them too"
                )
            tx.run("DELETE FROM tenants WHERE name = ?", (name,))
            also(tx, name)
            self._note(tx, Kind.TENANT, name)

        await self._transactions.write(remove)

    # -- roles ------------------------------------------------------------------------------------------------------

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
                raise ExistsError(f"role: expected a new name, got {name!r}, which tenant {tenant} has already")
            role = Role(tenant, name, tuple(grants), self._now_ms())
            stored = json.dumps([grant.to_json() for grant in grants])
            tx.run("INSERT INTO roles (tenant, name, grants, created_ms) VALUES (?, ?, ?, ?)", (tenant, name, stored, role.created_ms))
            self._note(tx, Kind.NEW)
            return role

        return await self._transactions.write(add)

    async def roles(self, tenant: str | None = None) -> list[Role]:
        """The roles of a tenant's own, or of all tenants."""
        rows = await self._all("SELECT tenant, name, grants, created_ms FROM roles", "tenant, name", tenant)
        return [Role(of, name, tuple(parse_grant(raw) for raw in queries.decoded(grants)), at_ms) for of, name, grants, at_ms in rows]

    async def remove_role(self, tenant: str, name: str) -> None:
        """Remove a role of a tenant's own.

        Raises:
            NotThereError: the tenant has no such role.
            AdminError: somebody still has it.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change_within(tx, tenant)
            own = queries.own_roles(tx, tenant)
            if name not in own:
                raise NotThereError(queries.no_such("role", name, own, f"hub role add NAME --tenant {tenant}"))
            holders = []
            for kind, query in (
                ("user", "SELECT name, roles FROM users WHERE tenant = ?"),
                ("key", "SELECT name, roles FROM api_keys WHERE tenant = ?"),
                ("token", "SELECT id, roles FROM tokens WHERE tenant = ?"),
            ):
                holders += [f"{kind} {who}" for who, roles in tx.rows(query, (tenant,)) if name in (queries.decoded(roles) or ())]
            if holders:
                raise AdminError(f"role: {name} is still that of {queries.some(holders)}")
            tx.run("DELETE FROM roles WHERE tenant = ? AND name = ?", (tenant, name))
            self._note(tx, Kind.ROLE, tenant)

        await self._transactions.write(remove)

    # -- users ------------------------------------------------------------------------------------------------------

    async def add_user(self, tenant: str, name: str, password: str, roles: Iterable[str]) -> User:
        """Add a user.

        Raises:
            ExistsError: the tenant has a user of that name.
            NotThereError: no such tenant or role.
            AdminError: the name or the password is not valid.
        """
        check_name("user", name)
        queries.check_password(password)
        hashed = await passwords.hash_password(password)
        wanted = list(roles)

        def add(tx: Transaction) -> User:
            queries.begin_change_within(tx, tenant)
            chosen = queries.check_roles(tx, tenant, wanted)
            if tx.row("SELECT 1 FROM users WHERE tenant = ? AND name = ?", (tenant, name)) is not None:
                raise ExistsError(f"user: expected a new name, got {name!r}, which tenant {tenant} has already")
            user = User(new_id(), tenant, name, tuple(chosen), self._now_ms())
            tx.run(
                "INSERT INTO users (id, tenant, name, password_hash, roles, created_ms, number) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (user.id, tenant, name, hashed, json.dumps(chosen), user.created_ms, queries.next_user_number(tx)),
            )
            self._note(tx, Kind.NEW)
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

    async def change_user(self, tenant: str, name: str, *, password: str | None = None, roles: Iterable[str] | None = None) -> User:
        """Give a user another password, which ends every sign-in and every token of the user, or other roles.

        Raises:
            NotThereError: no such tenant, user or role.
            AdminError: the password is not valid.
        """
        hashed = None
        if password is not None:
            queries.check_password(password)
            hashed = await passwords.hash_password(password)
        wanted = None if roles is None else list(roles)

        def change(tx: Transaction) -> User:
            queries.begin_change(tx)
            user = queries.user_of(queries.named(tx, queries.USERS, "user", tenant, name))
            if hashed is not None:
                tx.run("UPDATE users SET password_hash = ? WHERE id = ?", (hashed, user.id))
                end_of_user(tx, user.id, self._now_ms())
            if wanted is not None:
                tx.run("UPDATE users SET roles = ? WHERE id = ?", (json.dumps(queries.check_roles(tx, tenant, wanted)), user.id))
            self._note(tx, Kind.USER, user.id)
            return queries.user_of(queries.named(tx, queries.USERS, "user", tenant, name))

        return await self._transactions.write(change)

    async def remove_user(self, tenant: str, name: str) -> None:
        """Remove a user, and the tokens that were made for it.

        Raises:
            NotThereError: no such tenant or user.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            identifier = queries.named(tx, queries.USERS, "user", tenant, name)[0]
            tx.run("DELETE FROM users WHERE id = ?", (identifier,))
            self._note(tx, Kind.USER, identifier)

        await self._transactions.write(remove)

    # -- API keys ---------------------------------------------------------------------------------------------------

    async def add_key(self, tenant: str, name: str, roles: Iterable[str]) -> tuple[Key, str]:
        """Add an API key; returns it with its secret, which nobody can read again.

        Raises:
            ExistsError: the tenant has a key of that name.
            NotThereError: no such tenant or role.
            AdminError: the name is not valid.
        """
        check_name("key", name)
        secret = new_key()
        wanted = list(roles)

        def add(tx: Transaction) -> Key:
            queries.begin_change_within(tx, tenant)
            chosen = queries.check_roles(tx, tenant, wanted)
            if tx.row("SELECT 1 FROM api_keys WHERE tenant = ? AND name = ?", (tenant, name)) is not None:
                raise ExistsError(f"key: expected a new name, got {name!r}, which tenant {tenant} has already")
            key = Key(new_id(), tenant, name, tuple(chosen), self._now_ms())
            tx.run(
                "INSERT INTO api_keys (id, tenant, name, hash, roles, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, tenant, name, hash_secret(secret), json.dumps(chosen), key.created_ms),
            )
            self._note(tx, Kind.NEW)
            return key

        return await self._transactions.write(add), secret

    async def keys(self, tenant: str | None = None) -> list[Key]:
        """The API keys of a tenant, or of all."""
        return [queries.key_of(row) for row in await self._all(queries.KEYS, "tenant, name", tenant)]

    async def key(self, tenant: str, name: str) -> Key:
        """One API key.

        Raises:
            NotThereError: no such tenant or key.
        """
        return await self._transactions.read(lambda tx: queries.key_of(queries.named(tx, queries.KEYS, "key", tenant, name)))

    async def remove_key(self, tenant: str, name: str) -> None:
        """Remove an API key.

        Raises:
            NotThereError: no such tenant or key.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            identifier = queries.named(tx, queries.KEYS, "key", tenant, name)[0]
            tx.run("DELETE FROM api_keys WHERE id = ?", (identifier,))
            self._note(tx, Kind.KEY, identifier)

        await self._transactions.write(remove)

    # -- tokens -----------------------------------------------------------------------------------------------------

    async def add_token(
        self, tenant: str, subject: str, roles: Iterable[str] | None = None, *, expires_ms: int | None = None
    ) -> tuple[Token, str]:
        """Add a bearer token for a user of the tenant, or for another name. Returns it with its secret, which nobody can read again.

        For a user, ``roles`` may be left out: the token then has the user's roles, also after they change.

        Raises:
            NotThereError: no such tenant or role.
            AdminError: the subject is not valid or has no roles, or ``expires_ms`` has passed.
        """
        check_name("subject", subject)
        if expires_ms is not None and expires_ms <= self._now_ms():
            raise AdminError("expires: expected a time to come, got one that has passed")
        secret = new_token()
        wanted = None if roles is None else list(roles)

        def add(tx: Transaction) -> Token:
            queries.begin_change_within(tx, tenant)
            user = tx.row("SELECT id FROM users WHERE tenant = ? AND name = ?", (tenant, subject))
            if not wanted and user is None:
                raise AdminError(f"roles: expected at least one, since {subject} is no user of tenant {tenant}, got none")
            chosen = json.dumps(queries.check_roles(tx, tenant, wanted)) if wanted else None
            row = (new_id(), tenant, subject, None if user is None else user[0], chosen, expires_ms, self._now_ms())
            tx.run(
                "INSERT INTO tokens (id, tenant, subject, user_id, roles, expires_ms, created_ms, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, hash_secret(secret)),
            )
            self._note(tx, Kind.NEW)
            return queries.token_of(row)

        return await self._transactions.write(add), secret

    async def tokens(self, tenant: str | None = None) -> list[Token]:
        """The tokens of a tenant, or of all tenants; also those that have expired."""
        return [queries.token_of(row) for row in await self._all(queries.TOKENS, "tenant, subject, created_ms, id", tenant)]

    async def token(self, which: str, tenant: str | None = None) -> Token:
        """One token, by its id, or by its subject when that has one token only.

        Raises:
            NotThereError: no such token.
            AdminError: the subject has several.
        """
        return queries.chosen_token(await self.tokens(tenant), which)

    async def remove_token(self, which: str, tenant: str | None = None) -> Token:
        """Remove a token, named as for :meth:`token`; sessions that it opened end within 2 s.

        Raises:
            NotThereError: no such token.
            AdminError: the subject has several.
        """

        def remove(tx: Transaction) -> Token:
            queries.begin_change(tx)
            rows = queries.select(tx, queries.TOKENS, "tenant, subject, created_ms, id", tenant)
            token = queries.chosen_token([queries.token_of(row) for row in rows], which)
            tx.run("DELETE FROM tokens WHERE id = ?", (token.id,))
            self._note(tx, Kind.TOKEN, token.id)
            return token

        return await self._transactions.write(remove)

    def _note(self, tx: Transaction, kind: Kind, ref: str = "") -> None:
        queries.note_change(tx, kind, ref, self._now_ms())

    # -- all of them ------------------------------------------------------------------------------------------------

    async def _all(self, query: str, order: str, tenant: str | None) -> list[Row]:
        return await self._transactions.read(lambda tx: queries.select(tx, query, order, tenant))
