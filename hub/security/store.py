"""Administration of tenants, roles, users, API keys and tokens, directly on the database.

Each change bumps the revision in its own transaction; running nodes follow within 2 s. Secrets are returned once, when they are made.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.security import passwords
from hub.security.credentials import hash_secret, new_id, new_key, new_token
from hub.security.roles import BUILT_IN, Grant, parse_grant
from hub.storage.transactions import Row, Transaction, Transactions

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff](?:[^\x00-\x1f\x7f\ud800-\udfff]{0,126}[^\x00-\x20\x7f\ud800-\udfff])?")
_RESERVED: Final = "key:"

_USERS: Final = "SELECT id, tenant, name, roles, created_ms FROM users"
_KEYS: Final = "SELECT id, tenant, name, roles, created_ms FROM api_keys"
_TOKENS: Final = "SELECT id, tenant, subject, user_id, roles, expires_ms, created_ms FROM tokens"


class AdminError(Exception):
    """An administrative change that is refused: the text names the field, what was expected, and what came."""


class NotThereError(AdminError):
    """The object to show, change or remove does not exist; the text names those that do."""


class ExistsError(AdminError):
    """The name is taken already."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and how much it holds. ``created_ms`` is milliseconds since 1970 UTC, here and below."""

    name: str
    created_ms: int
    users: int
    keys: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a tenant's own."""

    tenant: str
    name: str
    grants: tuple[Grant, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class User:
    """A user, without the password."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, without its secret. ``roles`` is None where it has its user's."""

    id: str
    tenant: str
    subject: str
    user: str | None
    roles: tuple[str, ...] | None
    expires_ms: int | None
    created_ms: int


def is_tenant_name(name: str) -> bool:
    """Whether a text can be a tenant's name: it is part of Redis keys and topics, so it has few kinds of characters."""
    return _TENANT.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Whether a text can name a user, a key or a token's subject: 1-128 characters, no control characters, no blank at the ends."""
    return _NAME.fullmatch(name) is not None


def _check_name(field: str, name: str) -> None:
    if not is_name(name):
        raise AdminError(f"{field}: expected 1-128 characters without control characters or outer blanks, got {name!r}")
    if name.startswith(_RESERVED):
        raise AdminError(f"{field}: expected a name that does not begin with {_RESERVED!r}, which stands for API keys, got {name!r}")


class Store:
    """The administrator's view of the database."""

    __slots__ = ("_now_ms", "_transactions")

    def __init__(self, transactions: Transactions, now_ms: Callable[[], int]) -> None:
        """``now_ms``: the time of day, milliseconds since 1970 UTC."""
        self._transactions = transactions
        self._now_ms = now_ms

    # -- tenants ----------------------------------------------------------------------------------------------------

    async def add_tenant(self, name: str, *, exists_ok: bool = False) -> Tenant:
        """Add a tenant.

        Raises:
            ExistsError: it is there, unless ``exists_ok``.
            AdminError: the name cannot be a tenant's.
        """
        if not is_tenant_name(name):
            raise AdminError(f"tenant: expected 1-64 letters, digits and . _ -, a letter or digit first, got {name!r}")

        def add(tx: Transaction) -> Tenant:
            _lock(tx)
            if not _has_tenant(tx, name):
                tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, ?)", (name, self._now_ms()))
                _bump(tx)
            elif not exists_ok:
                raise ExistsError(f"tenant: expected a new name, got {name!r}, which is there already")
            return _tenant(tx, name)

        return await self._transactions.write(add)

    async def tenants(self) -> list[Tenant]:
        """Every tenant, by name."""
        return await self._transactions.read(_tenants)

    async def tenant(self, name: str) -> Tenant:
        """One tenant.

        Raises:
            NotThereError: there is none of that name.
        """
        return await self._transactions.read(lambda tx: _tenant(tx, name))

    async def remove_tenant(self, name: str, *, force: bool = False) -> None:
        """Remove a tenant; with ``force`` also one that still holds users, keys or tokens, which go with it.

        Raises:
            NotThereError: there is none of that name.
            AdminError: it still holds something.
        """

        def remove(tx: Transaction) -> None:
            _lock(tx)
            tenant = _tenant(tx, name)
            if not force and (tenant.users or tenant.keys or tenant.tokens):
                raise AdminError(
                    f"tenant: {name} still has {tenant.users} users, {tenant.keys} keys and {tenant.tokens} tokens; "
                    "remove them first, or force it to remove them too"
                )
            tx.run("DELETE FROM tenants WHERE name = ?", (name,))
            _bump(tx)

        await self._transactions.write(remove)

    # -- roles ------------------------------------------------------------------------------------------------------

    async def add_role(self, tenant: str, name: str, grants: Sequence[Grant]) -> Role:
        """Add a role of a tenant's own.

        Raises:
            ExistsError: the tenant has it, or it is a built-in one.
            NotThereError: no such tenant.
            AdminError: the name cannot be a role's, or there are no grants.
        """
        if not is_tenant_name(name):
            raise AdminError(f"role: expected 1-64 letters, digits and . _ -, a letter or digit first, got {name!r}")
        if name in BUILT_IN:
            raise ExistsError(f"role: expected a new name, got {name!r}, which is built in")
        if not grants:
            raise AdminError("grants: expected at least one, got none")

        def add(tx: Transaction) -> Role:
            _begin_within(tx, tenant)
            if name in _own_roles(tx, tenant):
                raise ExistsError(f"role: expected a new name, got {name!r}, which tenant {tenant} has already")
            role = Role(tenant, name, tuple(grants), self._now_ms())
            stored = json.dumps([grant.to_json() for grant in grants])
            tx.run("INSERT INTO roles (tenant, name, grants, created_ms) VALUES (?, ?, ?, ?)", (tenant, name, stored, role.created_ms))
            _bump(tx)
            return role

        return await self._transactions.write(add)

    async def roles(self, tenant: str | None = None) -> list[Role]:
        """The roles of a tenant's own, or of all tenants."""
        rows = await self._all("SELECT tenant, name, grants, created_ms FROM roles", "tenant, name", tenant)
        return [Role(of, name, tuple(parse_grant(raw) for raw in decoded(grants)), at_ms) for of, name, grants, at_ms in rows]

    async def remove_role(self, tenant: str, name: str) -> None:
        """Remove a role of a tenant's own.

        Raises:
            NotThereError: the tenant has no such role.
            AdminError: somebody still has it.
        """

        def remove(tx: Transaction) -> None:
            _begin_within(tx, tenant)
            own = _own_roles(tx, tenant)
            if name not in own:
                raise NotThereError(_no_such("role", name, own, f"hub role add NAME --tenant {tenant}"))
            holders = []
            for kind, query in (
                ("user", "SELECT name, roles FROM users WHERE tenant = ?"),
                ("key", "SELECT name, roles FROM api_keys WHERE tenant = ?"),
                ("token", "SELECT id, roles FROM tokens WHERE tenant = ?"),
            ):
                holders += [f"{kind} {who}" for who, roles in tx.rows(query, (tenant,)) if name in (decoded(roles) or ())]
            if holders:
                raise AdminError(f"role: {name} is still that of {_some(holders)}")
            tx.run("DELETE FROM roles WHERE tenant = ? AND name = ?", (tenant, name))
            _bump(tx)

        await self._transactions.write(remove)

    # -- users ------------------------------------------------------------------------------------------------------

    async def add_user(self, tenant: str, name: str, password: str, roles: Iterable[str]) -> User:
        """Add a user.

        Raises:
            ExistsError: the tenant has it.
            NotThereError: no such tenant or role.
            AdminError: the name or the password cannot be used.
        """
        _check_name("user", name)
        _check_password(password)
        hashed = await passwords.hash_password(password)
        wanted = list(roles)

        def add(tx: Transaction) -> User:
            _begin_within(tx, tenant)
            chosen = _check_roles(tx, tenant, wanted)
            if tx.row("SELECT 1 FROM users WHERE tenant = ? AND name = ?", (tenant, name)) is not None:
                raise ExistsError(f"user: expected a new name, got {name!r}, which tenant {tenant} has already")
            user = User(new_id(), tenant, name, tuple(chosen), self._now_ms())
            tx.run(
                "INSERT INTO users (id, tenant, name, password_hash, roles, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (user.id, tenant, name, hashed, json.dumps(chosen), user.created_ms),
            )
            _bump(tx)
            return user

        return await self._transactions.write(add)

    async def users(self, tenant: str | None = None) -> list[User]:
        """The users of a tenant, or of all."""
        return [_user(row) for row in await self._all(_USERS, "tenant, name", tenant)]

    async def user(self, tenant: str, name: str) -> User:
        """One user.

        Raises:
            NotThereError: no such tenant or user.
        """
        return await self._transactions.read(lambda tx: _user(_named(tx, _USERS, "user", tenant, name)))

    async def change_user(self, tenant: str, name: str, *, password: str | None = None, roles: Iterable[str] | None = None) -> User:
        """Give a user another password, which ends every sign-in by the old one, or other roles.

        Raises:
            NotThereError: no such tenant, user or role.
            AdminError: the password cannot be used.
        """
        hashed = None
        if password is not None:
            _check_password(password)
            hashed = await passwords.hash_password(password)
        wanted = None if roles is None else list(roles)

        def change(tx: Transaction) -> User:
            _lock(tx)
            user = _user(_named(tx, _USERS, "user", tenant, name))
            if hashed is not None:
                tx.run("UPDATE users SET password_hash = ? WHERE id = ?", (hashed, user.id))
            if wanted is not None:
                tx.run("UPDATE users SET roles = ? WHERE id = ?", (json.dumps(_check_roles(tx, tenant, wanted)), user.id))
            _bump(tx)
            return _user(_named(tx, _USERS, "user", tenant, name))

        return await self._transactions.write(change)

    async def remove_user(self, tenant: str, name: str) -> None:
        """Remove a user, and the tokens that were made for it.

        Raises:
            NotThereError: no such tenant or user.
        """

        def remove(tx: Transaction) -> None:
            _lock(tx)
            tx.run("DELETE FROM users WHERE id = ?", (_named(tx, _USERS, "user", tenant, name)[0],))
            _bump(tx)

        await self._transactions.write(remove)

    # -- API keys ---------------------------------------------------------------------------------------------------

    async def add_key(self, tenant: str, name: str, roles: Iterable[str]) -> tuple[Key, str]:
        """Add an API key; returns it with its secret, which nobody can read again.

        Raises:
            ExistsError: the tenant has a key of that name.
            NotThereError: no such tenant or role.
            AdminError: the name cannot be used.
        """
        _check_name("key", name)
        secret = new_key()
        wanted = list(roles)

        def add(tx: Transaction) -> Key:
            _begin_within(tx, tenant)
            chosen = _check_roles(tx, tenant, wanted)
            if tx.row("SELECT 1 FROM api_keys WHERE tenant = ? AND name = ?", (tenant, name)) is not None:
                raise ExistsError(f"key: expected a new name, got {name!r}, which tenant {tenant} has already")
            key = Key(new_id(), tenant, name, tuple(chosen), self._now_ms())
            tx.run(
                "INSERT INTO api_keys (id, tenant, name, hash, roles, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, tenant, name, hash_secret(secret), json.dumps(chosen), key.created_ms),
            )
            _bump(tx)
            return key

        return await self._transactions.write(add), secret

    async def keys(self, tenant: str | None = None) -> list[Key]:
        """The API keys of a tenant, or of all."""
        return [_key(row) for row in await self._all(_KEYS, "tenant, name", tenant)]

    async def key(self, tenant: str, name: str) -> Key:
        """One API key.

        Raises:
            NotThereError: no such tenant or key.
        """
        return await self._transactions.read(lambda tx: _key(_named(tx, _KEYS, "key", tenant, name)))

    async def remove_key(self, tenant: str, name: str) -> None:
        """Remove an API key.

        Raises:
            NotThereError: no such tenant or key.
        """

        def remove(tx: Transaction) -> None:
            _lock(tx)
            tx.run("DELETE FROM api_keys WHERE id = ?", (_named(tx, _KEYS, "key", tenant, name)[0],))
            _bump(tx)

        await self._transactions.write(remove)

    # -- tokens -----------------------------------------------------------------------------------------------------

    async def add_token(
        self, tenant: str, subject: str, roles: Iterable[str] | None = None, *, expires_ms: int | None = None
    ) -> tuple[Token, str]:
        """Add a bearer token for a user of the tenant, or for a name that is none; returns it with its secret, which nobody can read again.

        ``roles`` may be left out for a user: the token then has the user's, also when they change.

        Raises:
            NotThereError: no such tenant or role.
            AdminError: the subject cannot be used, has no roles, or ``expires_ms`` has passed.
        """
        _check_name("subject", subject)
        if expires_ms is not None and expires_ms <= self._now_ms():
            raise AdminError("expires: expected a time to come, got one that has passed")
        secret = new_token()
        wanted = None if roles is None else list(roles)

        def add(tx: Transaction) -> Token:
            _begin_within(tx, tenant)
            user = tx.row("SELECT id FROM users WHERE tenant = ? AND name = ?", (tenant, subject))
            if not wanted and user is None:
                raise AdminError(f"roles: expected at least one, since {subject} is no user of tenant {tenant}, got none")
            chosen = json.dumps(_check_roles(tx, tenant, wanted)) if wanted else None
            row = (new_id(), tenant, subject, None if user is None else user[0], chosen, expires_ms, self._now_ms())
            tx.run(
                "INSERT INTO tokens (id, tenant, subject, user_id, roles, expires_ms, created_ms, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, hash_secret(secret)),
            )
            _bump(tx)
            return _token(row)

        return await self._transactions.write(add), secret

    async def tokens(self, tenant: str | None = None) -> list[Token]:
        """The tokens of a tenant, or of all; those that have expired too."""
        return [_token(row) for row in await self._all(_TOKENS, "tenant, subject, created_ms, id", tenant)]

    async def token(self, which: str, tenant: str | None = None) -> Token:
        """One token, by its id, or by its subject when that has one token only.

        Raises:
            NotThereError: no such token.
            AdminError: the subject has several.
        """
        return _chosen_token(await self.tokens(tenant), which)

    async def remove_token(self, which: str, tenant: str | None = None) -> Token:
        """Remove a token, named as for :meth:`token`; sessions that it opened end within 2 s.

        Raises:
            NotThereError: no such token.
            AdminError: the subject has several.
        """

        def remove(tx: Transaction) -> Token:
            _lock(tx)
            rows = _select(tx, _TOKENS, "tenant, subject, created_ms, id", tenant)
            token = _chosen_token([_token(row) for row in rows], which)
            tx.run("DELETE FROM tokens WHERE id = ?", (token.id,))
            _bump(tx)
            return token

        return await self._transactions.write(remove)

    # -- all of them ------------------------------------------------------------------------------------------------

    async def _all(self, query: str, order: str, tenant: str | None) -> list[Row]:
        return await self._transactions.read(lambda tx: _select(tx, query, order, tenant))


def decoded(stored: Any) -> Any:
    """What a JSON column holds. psycopg decodes PostgreSQL's ``json`` by itself; SQLite gives the text."""
    return json.loads(stored) if isinstance(stored, str) else stored


def _bump(tx: Transaction) -> None:
    """Raise the revision, so that running nodes notice a change."""
    tx.run("UPDATE revision SET number = number + 1")


def _lock(tx: Transaction) -> None:
    """Begin a change: administrative transactions of PostgreSQL pass one by one, as SQLite's do anyway. Every change takes this lock
    before any other, so that two of them cannot wait for one another.
    """
    tx.run("UPDATE revision SET number = number")


def _begin_within(tx: Transaction, tenant: str) -> None:
    """Begin a change within a tenant."""
    _lock(tx)
    _check_tenant(tx, tenant)


def _has_tenant(tx: Transaction, name: str) -> bool:
    return is_tenant_name(name) and tx.row("SELECT 1 FROM tenants WHERE name = ?", (name,)) is not None


def _check_tenant(tx: Transaction, name: str) -> None:
    if not _has_tenant(tx, name):
        known = [each for (each,) in tx.rows("SELECT name FROM tenants ORDER BY name")]
        raise NotThereError(_no_such("tenant", name, known, "hub tenant add NAME"))


def _count_by_tenant(tx: Transaction, table: str) -> dict[str, int]:
    rows = tx.rows(f"SELECT tenant, count(*) FROM {table} GROUP BY tenant")
    return {tenant: count for tenant, count in rows}  # noqa: C416  the rows are tuples of any length to mypy


def _tenants(tx: Transaction) -> list[Tenant]:
    users, keys, tokens = (_count_by_tenant(tx, table) for table in ("users", "api_keys", "tokens"))
    rows = tx.rows("SELECT name, created_ms FROM tenants ORDER BY name")
    return [Tenant(name, at_ms, users.get(name, 0), keys.get(name, 0), tokens.get(name, 0)) for name, at_ms in rows]


def _tenant(tx: Transaction, name: str) -> Tenant:
    tenants = _tenants(tx)
    for tenant in tenants:
        if tenant.name == name:
            return tenant
    raise NotThereError(_no_such("tenant", name, [tenant.name for tenant in tenants], "hub tenant add NAME"))


def _select(tx: Transaction, query: str, order: str, tenant: str | None) -> list[Row]:
    """The rows of a query, of one tenant or of all."""
    if tenant is None:
        return tx.rows(f"{query} ORDER BY {order}")
    return tx.rows(f"{query} WHERE tenant = ? ORDER BY {order}", (tenant,))


def _named(tx: Transaction, query: str, kind: str, tenant: str, name: str) -> Row:
    """The row of a tenant's user or key of that name; ``query`` selects id, tenant and name first."""
    _check_tenant(tx, tenant)
    found = tx.row(f"{query} WHERE tenant = ? AND name = ?", (tenant, name)) if is_name(name) else None
    if found is None:
        names = [row[2] for row in _select(tx, query, "name", tenant)]
        raise NotThereError(_no_such(kind, name, names, f"hub {kind} add NAME --tenant {tenant}"))
    return found


def _own_roles(tx: Transaction, tenant: str) -> list[str]:
    return [name for (name,) in tx.rows("SELECT name FROM roles WHERE tenant = ? ORDER BY name", (tenant,))]


def _check_roles(tx: Transaction, tenant: str, roles: Iterable[str]) -> list[str]:
    chosen = sorted(set(roles))
    if not chosen:
        raise AdminError(f"roles: expected at least one of {', '.join(BUILT_IN)} or of the tenant's own, got none")
    own = _own_roles(tx, tenant)
    for role in chosen:
        if role not in BUILT_IN and role not in own:
            raise NotThereError(_no_such("role", role, [*BUILT_IN, *own], f"hub role add NAME --tenant {tenant}"))
    return chosen


def _check_password(password: str) -> None:
    if not passwords.MIN_LENGTH <= len(password) <= passwords.MAX_LENGTH:
        raise AdminError(f"password: expected {passwords.MIN_LENGTH}-{passwords.MAX_LENGTH} characters, got {len(password)}")


def _chosen_token(tokens: Sequence[Token], which: str) -> Token:
    found = [token for token in tokens if token.id == which] or [token for token in tokens if token.subject == which]
    if not found:
        raise NotThereError(_no_such("token", which, [f"{token.id} ({token.subject})" for token in tokens], "hub token add SUBJECT"))
    if len(found) > 1:
        raise AdminError(f"token: expected an id, since {which} has {len(found)} tokens: {_some([token.id for token in found])}")
    return found[0]


def _user(row: Row) -> User:
    identifier, tenant, name, roles, created_ms = row
    return User(identifier, tenant, name, tuple(decoded(roles)), created_ms)


def _key(row: Row) -> Key:
    identifier, tenant, name, roles, created_ms = row
    return Key(identifier, tenant, name, tuple(decoded(roles)), created_ms)


def _token(row: Row) -> Token:
    identifier, tenant, subject, user_id, roles, expires_ms, created_ms = row
    own = None if roles is None else tuple(decoded(roles))
    return Token(identifier, tenant, subject, None if user_id is None else subject, own, expires_ms, created_ms)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _no_such(kind: str, name: str, known: Sequence[str], how: str) -> str:
    there = f"there are: {_some(known)}" if known else f"there is none; add one with: {how}"
    return f"{kind}: no {kind} {name!r}; {there}"
