"""Reads and checks the rows of tenants, roles, users, API keys and tokens. All of it runs inside transactions."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from hub.security import passwords
from hub.security.changes import Kind
from hub.security.models import (
    AccessKey,
    AdminError,
    ExistsError,
    Key,
    NotThereError,
    Tenant,
    Token,
    UnknownRoleError,
    User,
    is_name,
    is_tenant_name,
)
from hub.security.roles import BUILT_IN
from hub.storage.transactions import Row, Transaction, marks

USERS: Final = "SELECT id, tenant, name, roles, created_ms, number, given_name, family_name, email, disabled FROM users"
KEYS: Final = (
    "SELECT id, tenant, name, roles, created_ms, generation, rotated_ms FROM ("
    "SELECT id, tenant, name, roles, created_ms, NULL AS generation, NULL AS rotated_ms FROM api_keys UNION ALL "
    "SELECT id, tenant, name, roles, created_ms, generation, rotated_ms FROM access_keys) every_key"
)
"""API keys and access keys; no two of a tenant have one name. The former have no generation."""
TOKENS: Final = "SELECT id, tenant, subject, user_id, roles, expires_ms, created_ms FROM tokens"


def decoded(stored: Any) -> Any:
    """The value of a JSON column. psycopg decodes PostgreSQL's ``json`` by itself; SQLite returns the text."""
    return json.loads(stored) if isinstance(stored, str) else stored


def begin_change(tx: Transaction) -> None:
    """Begin a change. It locks a row, so that administrative transactions run one after another on PostgreSQL too. Every change takes this
    lock before any other, so that there are no deadlocks.
    """
    tx.run("UPDATE revision SET number = number")


def begin_change_within(tx: Transaction, tenant: str) -> None:
    """Begin a change within a tenant."""
    begin_change(tx)
    check_tenant(tx, tenant)


def note_change(tx: Transaction, kind: Kind, ref: str, now_ms: int) -> None:
    """Note what has changed or ended, so that running nodes look at what depends on it. The caller holds the lock of :func:`begin_change`:
    the numbers become visible in their order, and a node that has read one has read all before it.
    """
    row = tx.row("UPDATE revision SET number = number + 1 RETURNING number")
    assert row is not None
    tx.run("INSERT INTO revocations (number, kind, ref, at_ms) VALUES (?, ?, ?, ?)", (row[0], kind, ref, now_ms))


def next_user_number(tx: Transaction) -> int:
    """A number for a new user, which no user has had before."""
    row = tx.row("UPDATE revision SET last_user = last_user + 1 RETURNING last_user")
    assert row is not None
    return int(row[0])


def number_users(tx: Transaction) -> None:
    """Number the users that have no number yet: a hub of version 0.1.0 that still runs beside this one may add some."""
    for (identifier,) in tx.rows("SELECT id FROM users WHERE number IS NULL ORDER BY created_ms, id"):
        tx.run("UPDATE users SET number = ? WHERE id = ?", (next_user_number(tx), identifier))


def has_tenant(tx: Transaction, name: str) -> bool:
    """Whether there is a tenant of this name."""
    return is_tenant_name(name) and tx.row("SELECT 1 FROM tenants WHERE name = ?", (name,)) is not None


def known_tenants(tx: Transaction, names: Collection[str]) -> set[str]:
    """Those of ``names``, each of which can be a tenant's, that are tenants."""
    if not names:
        return set()
    query = f"SELECT name FROM tenants WHERE name IN ({marks(list(names))})"  # noqa: S608 - as many marks as names
    return {name for (name,) in tx.rows(query, list(names))}


def check_tenant(tx: Transaction, name: str) -> None:
    """Check that there is a tenant of this name.

    Raises:
        NotThereError: there is none.
    """
    if not has_tenant(tx, name):
        known = [each for (each,) in tx.rows("SELECT name FROM tenants ORDER BY name")]
        raise NotThereError(no_such("tenant", name, known, "hub tenant add NAME"))


def count_by_tenant(tx: Transaction, table: str) -> dict[str, int]:
    """The number of rows of a table by tenant; a tenant without rows is left out."""
    rows = tx.rows(f"SELECT tenant, count(*) FROM {table} GROUP BY tenant")  # noqa: S608  the hub's own table name
    return {tenant: count for tenant, count in rows}  # noqa: C416  to mypy the rows are tuples of any length


def count_of_tenant(tx: Transaction, table: str, tenant: str) -> int:
    """The number of rows of a table that one tenant has."""
    row = tx.row(f"SELECT count(*) FROM {table} WHERE tenant = ?", (tenant,))  # noqa: S608  a table's name of the hub's own families
    assert row is not None
    return int(row[0])


def all_tenants(tx: Transaction) -> list[Tenant]:
    """Every tenant, by name."""
    users, keys, access_keys, tokens, clients = (
        count_by_tenant(tx, table) for table in ("users", "api_keys", "access_keys", "tokens", "clients")
    )
    rows = tx.rows("SELECT name, created_ms FROM tenants ORDER BY name")
    return [
        Tenant(
            name,
            at_ms,
            users=users.get(name, 0),
            keys=keys.get(name, 0) + access_keys.get(name, 0),
            tokens=tokens.get(name, 0),
            clients=clients.get(name, 0),
        )
        for name, at_ms in rows
    ]


def tenant_of(tx: Transaction, name: str) -> Tenant:
    """One tenant.

    Raises:
        NotThereError: there is no tenant of that name.
    """
    tenants = all_tenants(tx)
    for tenant in tenants:
        if tenant.name == name:
            return tenant
    raise NotThereError(no_such("tenant", name, [tenant.name for tenant in tenants], "hub tenant add NAME"))


def select(tx: Transaction, query: str, order: str, tenant: str | None) -> list[Row]:
    """The rows of a query, of one tenant or of all."""
    if tenant is None:
        return tx.rows(f"{query} ORDER BY {order}")
    return tx.rows(f"{query} WHERE tenant = ? ORDER BY {order}", (tenant,))


def page(tx: Transaction, query: str, key: str, tenant: str, after: str | None, limit: int) -> list[Row]:
    """Rows of a tenant behind a key, in the order of the key; ``after`` None: from the beginning."""
    if after is None:
        return tx.rows(f"{query} WHERE tenant = ? ORDER BY {key} LIMIT ?", (tenant, limit))
    return tx.rows(f"{query} WHERE tenant = ? AND {key} > ? ORDER BY {key} LIMIT ?", (tenant, after, limit))


def named(tx: Transaction, query: str, kind: str, tenant: str, name: str) -> Row:
    """The row of a tenant's user or key of that name; ``query`` selects id, tenant and name first."""
    check_tenant(tx, tenant)
    found = tx.row(f"{query} WHERE tenant = ? AND name = ?", (tenant, name)) if is_name(name) else None
    if found is None:
        names = [row[2] for row in select(tx, query, "name", tenant)]
        raise NotThereError(no_such(kind, name, names, f"hub {kind} add NAME --tenant {tenant}"))
    return found


def check_new_key(tx: Transaction, tenant: str, name: str) -> None:
    """Check that a tenant has no key of this name, of either kind.

    Raises:
        ExistsError: it has.
    """
    if tx.row(f"{KEYS} WHERE tenant = ? AND name = ?", (tenant, name)) is not None:
        raise ExistsError(f"key: expected a new name, got {name!r}, which tenant {tenant} has already")


def own_roles(tx: Transaction, tenant: str) -> list[str]:
    """The names of the roles of a tenant's own, sorted."""
    return [name for (name,) in tx.rows("SELECT name FROM roles WHERE tenant = ? ORDER BY name", (tenant,))]


def check_roles(tx: Transaction, tenant: str, roles: Iterable[str]) -> list[str]:
    """Check roles that a credential is to get; returns them sorted, each once.

    Raises:
        NotThereError: the tenant has no such role.
        AdminError: ``roles`` is empty.
    """
    chosen = sorted(set(roles))
    if not chosen:
        raise AdminError(f"roles: expected at least one of {', '.join(BUILT_IN)} or of the tenant's own, got none")
    own = own_roles(tx, tenant)
    for role in chosen:
        if role not in BUILT_IN and role not in own:
            raise UnknownRoleError(no_such("role", role, [*BUILT_IN, *own], f"hub role add NAME --tenant {tenant}"))
    return chosen


def check_password(password: str) -> None:
    """Check a password's length.

    Raises:
        AdminError: it is too short or too long.
    """
    if not passwords.MIN_LENGTH <= len(password) <= passwords.MAX_LENGTH:
        raise AdminError(f"password: expected {passwords.MIN_LENGTH}-{passwords.MAX_LENGTH} characters, got {len(password)}")


def chosen_token(tokens: Sequence[Token], which: str) -> Token:
    """The token with this id, or that of this subject if the subject has one token only.

    Raises:
        NotThereError: there is none.
        AdminError: the subject has several.
    """
    found = [token for token in tokens if token.id == which] or [token for token in tokens if token.subject == which]
    if not found:
        raise NotThereError(no_such("token", which, [f"{token.id} ({token.subject})" for token in tokens], "hub token add SUBJECT"))
    if len(found) > 1:
        raise AdminError(f"token: expected an id, since {which} has {len(found)} tokens: {some([token.id for token in found])}")
    return found[0]


def token_by_id(tx: Transaction, identifier: str, tenant: str) -> Token:
    """The token of a tenant with this id.

    Raises:
        NotThereError: there is none.
    """
    row = tx.row(f"{TOKENS} WHERE id = ? AND tenant = ?", (identifier, tenant))
    if row is None:
        raise NotThereError(f"token: no token {identifier!r}")
    return token_of(row)


def user_of(row: Row) -> User:
    """The user of a row of :data:`USERS`."""
    identifier, tenant, name, roles, created_ms, number, given_name, family_name, email, disabled = row
    return User(identifier, tenant, name, tuple(decoded(roles)), created_ms, number, given_name, family_name, email, bool(disabled))


def key_of(row: Row) -> Key | AccessKey:
    """The key of a row of :data:`KEYS`."""
    identifier, tenant, name, roles, created_ms, generation, rotated_ms = row
    if generation is None:
        return Key(identifier, tenant, name, tuple(decoded(roles)), created_ms)
    return AccessKey(identifier, tenant, name, tuple(decoded(roles)), created_ms, generation, rotated_ms)


def token_of(row: Row) -> Token:
    """The token of a row of :data:`TOKENS`."""
    identifier, tenant, subject, user_id, roles, expires_ms, created_ms = row
    own = None if roles is None else tuple(decoded(roles))
    return Token(identifier, tenant, subject, None if user_id is None else subject, own, expires_ms, created_ms)


def some(names: Sequence[str]) -> str:
    """The first ten of some names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def no_such(kind: str, name: str, known: Sequence[str], how: str) -> str:
    """The error text for a name that does not exist: it lists the names that do, or says how to add one."""
    there = f"there are: {some(known)}" if known else f"there is none; add one with: {how}"
    return f"{kind}: no {kind} {name!r}; {there}"
