"""What the gate asks the database: credentials by hash, by id and by password, roles, and the revision."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from hub.core.errors import RefusedError, WireError
from hub.security.credentials import Credential
from hub.security.models import KeyRow, RevisionRow, RoleRow, TokenRow, UserRow
from hub.security.roles import BUILT_IN, LATER, Grants, parse_grant
from hub.storage.database import Database
from hub.storage.transactions import StorageError

_CHUNK: Final = 500
"""Ids in one query: both databases bound the number of parameters."""


class LookupUnavailableError(StorageError, RefusedError):
    """The database does not answer: 503 to who calls by HTTP, ``503::unavailable`` on the wire of Bayeux and dashboards."""

    def __init__(self, reason: str) -> None:
        RefusedError.__init__(self, WireError.UNAVAILABLE)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Lookup(Protocol):
    """Where credentials are found. The database is one; the built-in credentials of ``--demo`` are another."""

    async def revision(self) -> int:
        """A number that is another one after each change."""
        ...

    async def by_token(self, digest: str) -> Credential | None:
        """The credential of a bearer token, by the hash of it."""
        ...

    async def by_key(self, digest: str) -> Credential | None:
        """The credential of an API key, by the hash of it."""
        ...

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        """The credential of a user; its fingerprint is the password's argon2 hash."""
        ...

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        """Those of the credentials that are still there."""
        ...

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        """What roles allow, added up; a role that is gone allows nothing."""
        ...


class DatabaseLookup:
    """The tables of :mod:`hub.security.models`."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self._database.read() as session:
                yield session
        except StorageError as fault:
            raise LookupUnavailableError(str(fault)) from fault

    async def revision(self) -> int:
        async with self._read() as session:
            return await session.scalar(select(RevisionRow.number)) or 0

    async def by_token(self, digest: str) -> Credential | None:
        return await self._one(_tokens().where(TokenRow.hash == digest), _of_token)

    async def by_key(self, digest: str) -> Credential | None:
        return await self._one(select(KeyRow).where(KeyRow.hash == digest), _of_key)

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        return await self._one(select(UserRow).where(UserRow.tenant == tenant, UserRow.name == name), _of_user)

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        wanted: dict[str, list[str]] = {"token": [], "key": [], "user": []}
        for each in ids:
            kind, _, number = each.partition(":")
            wanted[kind].append(number)
        found: list[Credential] = []
        async with self._read() as session:
            for kind, query, column, make in (
                ("token", _tokens(), TokenRow.id, _of_token),
                ("key", select(KeyRow), KeyRow.id, _of_key),
                ("user", select(UserRow), UserRow.id, _of_user),
            ):
                for start in range(0, len(wanted[kind]), _CHUNK):
                    chunk = wanted[kind][start : start + _CHUNK]
                    for row in await session.execute(query.where(column.in_(chunk))):
                        credential = make(row)
                        found.append(_with_grants(credential, await self._grants(session, credential.tenant, credential.roles)))
        return {credential.id: credential for credential in found}

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        async with self._read() as session:
            return await self._grants(session, tenant, roles)

    async def _one(self, query: Select[*tuple[Any, ...]], make: Any) -> Credential | None:
        async with self._read() as session:
            row = (await session.execute(query)).one_or_none()
            if row is None:
                return None
            credential: Credential = make(row)
            return _with_grants(credential, await self._grants(session, credential.tenant, credential.roles))

    async def _grants(self, session: Any, tenant: str, roles: frozenset[str]) -> Grants:
        own = sorted(roles - (BUILT_IN.keys() - LATER))
        if not own:
            return tuple(grant for role in sorted(roles) for grant in BUILT_IN[role])
        stored: Sequence[RoleRow] = (
            await session.scalars(select(RoleRow).where(RoleRow.tenant == tenant, RoleRow.name.in_(own)).order_by(RoleRow.name))
        ).all()
        built_in = sorted(roles - {row.name for row in stored})
        return (
            *(grant for role in built_in for grant in BUILT_IN.get(role, ())),
            *(parse_grant(raw) for row in stored for raw in row.grants),
        )


def _tokens() -> Select[*tuple[Any, ...]]:
    return select(TokenRow, UserRow.roles).outerjoin(UserRow, UserRow.id == TokenRow.user_id)


def _with_grants(credential: Credential, grants: Grants) -> Credential:
    return Credential(
        credential.id, credential.tenant, credential.subject, credential.roles, grants, credential.fingerprint, credential.expires_ms
    )


def _of_token(row: Any) -> Credential:
    token, user_roles = row
    roles = token.roles if token.roles is not None else user_roles or ()
    return Credential(f"token:{token.id}", token.tenant, token.subject, frozenset(roles), (), token.hash, token.expires_ms)


def _of_key(row: Any) -> Credential:
    (key,) = row
    return Credential(f"key:{key.id}", key.tenant, f"key:{key.name}", frozenset(key.roles), (), key.hash)


def _of_user(row: Any) -> Credential:
    (user,) = row
    return Credential(f"user:{user.id}", user.tenant, user.name, frozenset(user.roles), (), user.password_hash)
