"""The queries of the gate: credentials by hash, by id and by user name, roles, and the revision."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from hub.core.errors import RefusedError, WireError
from hub.security.changes import MAX_CHANGES, Change, Changes, Kind
from hub.security.credentials import CLIENT_SUBJECT, Credential
from hub.security.oauth.scopes import limits
from hub.security.queries import decoded
from hub.security.roles import LATER, Grants, parse_grant
from hub.storage.transactions import Operation, Row, StorageError, T, Transaction, Transactions, marks

_CHUNK: Final = 500
"""Ids in one query at most: both databases limit the number of parameters."""

_TOKENS: Final = (
    "SELECT t.id, t.tenant, t.subject, t.hash, t.roles, t.expires_ms, t.user_id, u.roles FROM tokens t "
    "LEFT JOIN users u ON u.id = t.user_id WHERE (u.disabled IS NULL OR u.disabled = 0)"
)
_ACCESS_TOKENS: Final = (
    "SELECT a.id, f.tenant, a.hash, a.expires_ms, f.user_id, u.name, u.roles, f.id, a.scopes, c.id, c.roles FROM access_tokens a "
    "JOIN families f ON f.id = a.family JOIN clients c ON c.id = f.client LEFT JOIN users u ON u.id = f.user_id "
    "WHERE (u.disabled IS NULL OR u.disabled = 0)"
)
_EXTERNAL: Final = "SELECT id, tenant, subject, hash, roles, expires_ms, session FROM external_tokens"
_KEYS: Final = "SELECT id, tenant, name, hash, roles FROM api_keys"
_ACCESS_KEYS: Final = "SELECT id, tenant, name, generation, roles FROM access_keys"
_USERS: Final = "SELECT id, tenant, name, password_hash, roles, generation FROM users WHERE disabled = 0"
_ROLES: Final = "SELECT name, grants FROM roles WHERE tenant = ?"


class LookupUnavailableError(StorageError, RefusedError):
    """The database does not answer: HTTP 503, or ``503::unavailable`` for Bayeux and dashboards."""

    def __init__(self, reason: str) -> None:
        RefusedError.__init__(self, WireError.UNAVAILABLE)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Lookup(Protocol):
    """A source of credentials: the database, or the built-in credentials of ``--demo``."""

    async def changes(self, after: int | None) -> Changes:
        """What has changed since the change ``after``; with None the number of the newest one alone."""
        ...

    async def ended_sign_ins(self) -> Sequence[tuple[str, int]]:
        """The browsers' sign-ins that were ended, as :class:`hub.security.changes.Kind` has them, and when, in milliseconds since 1970 UTC;
        the oldest first.
        """
        ...

    async def client_origins(self) -> Sequence[tuple[str, str]]:
        """The origins that clients have registered, each with the tenant of its client; the oldest clients first."""
        ...

    async def by_token(self, digest: str) -> Credential | None:
        """The credential of a bearer token, found by the token's hash."""
        ...

    def accept_issuers(self, fingerprints: frozenset[str]) -> None:
        """Find external tokens that were taken under these settings of their issuers; others are as if they were not there."""
        ...

    async def by_key(self, digest: str) -> Credential | None:
        """The credential of an API key, found by the key's hash."""
        ...

    async def by_access_key(self, key_id: str) -> Credential | None:
        """The credential of an access key, found by its id; its generation is that of the secret that is good."""
        ...

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        """The credential of a user; its fingerprint is the password's argon2 hash."""
        ...

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        """Read these credentials again; the result lacks those that were removed."""
        ...

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        """The grants of all these roles together. A role that was removed has no grants."""
        ...


class DatabaseLookup:
    """The tables of tenants, roles, users, keys and tokens (docs/security.md)."""

    __slots__ = ("_built_in", "_issuers", "_transactions")

    def __init__(self, transactions: Transactions, built_in: Mapping[str, Grants]) -> None:
        """``built_in``: the grants of the built-in roles (:attr:`hub.security.access.Access.roles`)."""
        self._transactions = transactions
        self._built_in = built_in
        self._issuers: list[str] = []

    async def changes(self, after: int | None) -> Changes:
        def read(tx: Transaction) -> Changes:
            row = tx.row("SELECT number FROM revision")
            number = 0 if row is None else int(row[0])
            if after is None or number == after:
                return Changes(number, ())
            if not 0 < number - after <= MAX_CHANGES:
                return Changes(number, None)
            rows = tx.rows("SELECT kind, ref FROM revocations WHERE number > ? AND number <= ? ORDER BY number", (after, number))
            return Changes(number, [Change(*each) for each in rows] if len(rows) == number - after else None)

        return await self._read(read)

    async def ended_sign_ins(self) -> Sequence[tuple[str, int]]:
        query = "SELECT ref, at_ms FROM revocations WHERE kind = ? ORDER BY number"
        return await self._read(lambda tx: [(ref, at_ms) for ref, at_ms in tx.rows(query, (Kind.SIGN_IN,))])

    def accept_issuers(self, fingerprints: frozenset[str]) -> None:
        self._issuers = sorted(fingerprints)

    async def client_origins(self) -> Sequence[tuple[str, str]]:
        query = "SELECT tenant, origins FROM clients WHERE CAST(origins AS TEXT) <> '[]' ORDER BY created_ms, id"
        return await self._read(lambda tx: [(origin, tenant) for tenant, some in tx.rows(query) for origin in decoded(some)])

    async def by_token(self, digest: str) -> Credential | None:
        def find(tx: Transaction) -> Credential | None:
            row = tx.row(f"{_TOKENS} AND t.hash = ?", (digest,))
            if row is not None:
                return self._with_grants(tx, _of_token(row))
            row = tx.row(f"{_ACCESS_TOKENS} AND a.hash = ?", (digest,))
            if row is not None:
                return self._with_grants(tx, _of_access_token(row))
            row = tx.row(f"{self._external} AND hash = ?", (*self._issuers, digest)) if self._issuers else None
            return None if row is None else self._with_grants(tx, _of_external(row))

        return await self._read(find)

    async def by_key(self, digest: str) -> Credential | None:
        return await self._one(f"{_KEYS} WHERE hash = ?", (digest,), _of_key)

    async def by_access_key(self, key_id: str) -> Credential | None:
        return await self._one(f"{_ACCESS_KEYS} WHERE id = ?", (key_id,), _of_access_key)

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        return await self._one(f"{_USERS} AND tenant = ? AND name = ?", (tenant, name), _of_user)

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        wanted: dict[str, list[str]] = {"token": [], "access": [], "external": [], "key": [], "aws": [], "user": []}
        for each in ids:
            kind, _, number = each.partition(":")
            wanted[kind].append(number)
        if not self._issuers:  # nobody trusts what they issued any more
            wanted["external"].clear()

        def find(tx: Transaction) -> dict[str, Credential]:
            found: list[Credential] = []
            for kind, query, make, leading in (
                ("token", f"{_TOKENS} AND t.id", _of_token, ()),
                ("access", f"{_ACCESS_TOKENS} AND a.id", _of_access_token, ()),
                ("key", f"{_KEYS} WHERE id", _of_key, ()),
                ("aws", f"{_ACCESS_KEYS} WHERE id", _of_access_key, ()),
                ("user", f"{_USERS} AND id", _of_user, ()),
                ("external", f"{self._external} AND id", _of_external, self._issuers),
            ):
                for start in range(0, len(wanted[kind]), _CHUNK):
                    chunk = wanted[kind][start : start + _CHUNK]
                    rows = tx.rows(f"{query} IN ({marks(chunk)})", (*leading, *chunk))
                    found.extend(make(row) for row in rows)
            # many have the same roles: those are read once
            grants = {place: self.grants_within(tx, *place) for place in {(each.tenant, each.roles) for each in found}}
            return {each.id: replace(each, grants=grants[each.tenant, each.roles]) for each in found}

        return await self._read(find)

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        return await self._read(lambda tx: self.grants_within(tx, tenant, roles))

    async def _one(self, query: str, parameters: tuple[str, ...], make: Callable[[Row], Credential]) -> Credential | None:
        def find(tx: Transaction) -> Credential | None:
            row = tx.row(query, parameters)
            return None if row is None else self._with_grants(tx, make(row))

        return await self._read(find)

    async def _read(self, operation: Operation[T]) -> T:
        try:
            return await self._transactions.read(operation)
        except StorageError as error:
            raise LookupUnavailableError(str(error)) from error

    @property
    def _external(self) -> str:
        return f"{_EXTERNAL} WHERE issuer IN ({marks(self._issuers)})"

    def grants_within(self, tx: Transaction, tenant: str, roles: frozenset[str]) -> Grants:
        """The same as :meth:`grants`, inside a transaction."""
        own = sorted(roles - (self._built_in.keys() - LATER))
        if not own:
            return tuple(grant for role in sorted(roles) for grant in self._built_in[role])
        stored = tx.rows(f"{_ROLES} AND name IN ({marks(own)}) ORDER BY name", (tenant, *own))
        built_in = sorted(roles - {name for name, _ in stored})
        return (
            *(grant for role in built_in for grant in self._built_in.get(role, ())),
            *(parse_grant(raw) for _, grants in stored for raw in decoded(grants)),
        )

    def _with_grants(self, tx: Transaction, credential: Credential) -> Credential:
        return replace(credential, grants=self.grants_within(tx, credential.tenant, credential.roles))


def _of_token(row: Row) -> Credential:
    identifier, tenant, subject, digest, own, expires_ms, user, of_user = row
    roles = frozenset(decoded(own if own is not None else of_user) or ())
    return Credential(f"token:{identifier}", tenant, subject, roles, (), digest, expires_ms, user)


def _of_access_token(row: Row) -> Credential:
    """The credential of an OAuth token: the present roles of its user, of those its client's, if it has any; or the client's own."""
    identifier, tenant, digest, expires_ms, user, name, of_user, family, scopes, client, of_client = row
    roles = frozenset(decoded(of_client if user is None else of_user) or ())
    if of_client is not None:
        roles &= frozenset(decoded(of_client))
    subject = f"{CLIENT_SUBJECT}{client}" if user is None else name
    limited = limits(tuple(scopes.split()))
    return Credential(f"access:{identifier}", tenant, subject, roles, (), digest, expires_ms, user, family, limited, client)


def _of_external(row: Row) -> Credential:
    """The credential of an external token; the issuer's session names its logins."""
    identifier, tenant, subject, digest, roles, expires_ms, session = row
    family = None if session is None else f"external:{session}"
    return Credential(f"external:{identifier}", tenant, subject, frozenset(decoded(roles)), (), digest, expires_ms, family=family)


def _of_key(row: Row) -> Credential:
    identifier, tenant, name, digest, roles = row
    return Credential(f"key:{identifier}", tenant, f"key:{name}", frozenset(decoded(roles)), (), digest)


def _of_access_key(row: Row) -> Credential:
    """The credential of an access key. Its fingerprint is its id, by which it is looked up; another generation is another secret."""
    identifier, tenant, name, generation, roles = row
    return Credential(f"aws:{identifier}", tenant, f"key:{name}", frozenset(decoded(roles)), (), identifier, generation=generation)


def _of_user(row: Row) -> Credential:
    identifier, tenant, name, password_hash, roles, generation = row
    own = frozenset(decoded(roles))
    return Credential(f"user:{identifier}", tenant, name, own, (), password_hash, user=identifier, generation=generation)
