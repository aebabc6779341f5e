"""Administration of tenants, roles, users, API keys and tokens, directly on the database.

Each change bumps the revision in its own transaction; running nodes follow within 2 s. Secrets are returned once, when they are made.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from hub.security import passwords
from hub.security.credentials import hash_secret, new_id, new_key, new_token
from hub.security.models import KeyRow, RevisionRow, RoleRow, TenantRow, TokenRow, UserRow
from hub.security.roles import BUILT_IN, Grant, parse_grant
from hub.storage.database import Base, Database

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff](?:[^\x00-\x1f\x7f\ud800-\udfff]{0,126}[^\x00-\x20\x7f\ud800-\udfff])?")
_RESERVED: Final = "key:"

Row = TypeVar("Row", bound=Base)


class AdminError(Exception):
    """An administrative change that is refused: the text names the field, what was expected, and what came."""


class NotThereError(AdminError):
    """What should be shown, changed or removed is not there; the text says what is."""


class ExistsError(AdminError):
    """The name is taken."""


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

    __slots__ = ("_database", "_now_ms")

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database = database
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
        async with self._database.write() as session:
            await _lock(session)
            if await session.get(TenantRow, name) is None:
                session.add(TenantRow(name=name, created_ms=self._now_ms()))
                await _bump(session)
            elif not exists_ok:
                raise ExistsError(f"tenant: expected a new name, got {name!r}, which is there already")
        return await self.tenant(name)

    async def tenants(self) -> list[Tenant]:
        """Every tenant, by name."""
        async with self._database.read() as session:
            counts = []
            for row in (UserRow, KeyRow, TokenRow):
                counted = await session.execute(select(row.tenant, func.count()).group_by(row.tenant))
                counts.append({name: count for name, count in counted})  # noqa: C416  a Row is a tuple, which dict() is not told
            users, keys, tokens = counts
            rows = await session.scalars(select(TenantRow).order_by(TenantRow.name))
            return [Tenant(r.name, r.created_ms, users.get(r.name, 0), keys.get(r.name, 0), tokens.get(r.name, 0)) for r in rows]

    async def tenant(self, name: str) -> Tenant:
        """One tenant.

        Raises:
            NotThereError: there is none of that name.
        """
        tenants = await self.tenants()
        for tenant in tenants:
            if tenant.name == name:
                return tenant
        raise NotThereError(_no_such("tenant", name, [tenant.name for tenant in tenants], "hub tenant add NAME"))

    async def remove_tenant(self, name: str, *, force: bool = False) -> None:
        """Remove a tenant; with ``force`` also one that still holds users, keys or tokens, which go with it.

        Raises:
            NotThereError: there is none of that name.
            AdminError: it still holds something.
        """
        tenant = await self.tenant(name)
        if not force and (tenant.users or tenant.keys or tenant.tokens):
            raise AdminError(
                f"tenant: {name} still has {tenant.users} users, {tenant.keys} keys and {tenant.tokens} tokens; "
                "remove them first, or force it to remove them too"
            )
        async with self._database.write() as session:
            await _bump(session)
            await session.execute(delete(TenantRow).where(TenantRow.name == name))

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
        async with self._database.write() as session:
            await self._require_tenant(session, tenant)
            if await session.get(RoleRow, (tenant, name)) is not None:
                raise ExistsError(f"role: expected a new name, got {name!r}, which tenant {tenant} has already")
            row = RoleRow(tenant=tenant, name=name, grants=[grant.to_json() for grant in grants], created_ms=self._now_ms())
            session.add(row)
            await _bump(session)
        return Role(tenant, name, tuple(grants), row.created_ms)

    async def roles(self, tenant: str | None = None) -> list[Role]:
        """The roles of a tenant's own, or of all tenants."""
        async with self._database.read() as session:
            query = select(RoleRow).order_by(RoleRow.tenant, RoleRow.name)
            rows = await session.scalars(query if tenant is None else query.where(RoleRow.tenant == tenant))
            return [Role(r.tenant, r.name, tuple(parse_grant(raw) for raw in r.grants), r.created_ms) for r in rows]

    async def remove_role(self, tenant: str, name: str) -> None:
        """Remove a role of a tenant's own.

        Raises:
            NotThereError: the tenant has no such role.
            AdminError: somebody still has it.
        """
        async with self._database.write() as session:
            await self._require_tenant(session, tenant)
            row = await session.get(RoleRow, (tenant, name))
            if row is None:
                own = await session.scalars(select(RoleRow.name).where(RoleRow.tenant == tenant).order_by(RoleRow.name))
                raise NotThereError(_no_such("role", name, list(own), f"hub role add NAME --tenant {tenant}"))
            holders = []
            for kind, column, holder in (("user", UserRow.name, UserRow), ("key", KeyRow.name, KeyRow), ("token", TokenRow.id, TokenRow)):
                held = await session.execute(select(column, holder.roles).where(holder.tenant == tenant))
                holders += [f"{kind} {who}" for who, roles in held if roles and name in roles]
            if holders:
                raise AdminError(f"role: {name} is still that of {_some(holders)}")
            await session.delete(row)
            await _bump(session)

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
        async with self._database.write() as session:
            await self._require_tenant(session, tenant)
            chosen = await _check_roles(session, tenant, roles)
            if await session.scalar(select(UserRow.id).where(UserRow.tenant == tenant, UserRow.name == name)) is not None:
                raise ExistsError(f"user: expected a new name, got {name!r}, which tenant {tenant} has already")
            row = UserRow(id=new_id(), tenant=tenant, name=name, password_hash=hashed, roles=chosen, created_ms=self._now_ms())
            session.add(row)
            await _bump(session)
        return _user(row)

    async def users(self, tenant: str | None = None) -> list[User]:
        """The users of a tenant, or of all."""
        return [_user(row) for row in await self._all(UserRow, tenant)]

    async def user(self, tenant: str, name: str) -> User:
        """One user.

        Raises:
            NotThereError: no such tenant or user.
        """
        async with self._database.read() as session:
            return _user(await self._named(session, UserRow, "user", tenant, name))

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
        async with self._database.write() as session:
            await _lock(session)
            row = await self._named(session, UserRow, "user", tenant, name)
            if hashed is not None:
                row.password_hash = hashed
            if roles is not None:
                row.roles = await _check_roles(session, tenant, roles)
            await _bump(session)
        return _user(row)

    async def remove_user(self, tenant: str, name: str) -> None:
        """Remove a user, and the tokens that were made for it.

        Raises:
            NotThereError: no such tenant or user.
        """
        async with self._database.write() as session:
            await _bump(session)
            await session.delete(await self._named(session, UserRow, "user", tenant, name))

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
        async with self._database.write() as session:
            await self._require_tenant(session, tenant)
            chosen = await _check_roles(session, tenant, roles)
            if await session.scalar(select(KeyRow.id).where(KeyRow.tenant == tenant, KeyRow.name == name)) is not None:
                raise ExistsError(f"key: expected a new name, got {name!r}, which tenant {tenant} has already")
            row = KeyRow(id=new_id(), tenant=tenant, name=name, hash=hash_secret(secret), roles=chosen, created_ms=self._now_ms())
            session.add(row)
            await _bump(session)
        return _key(row), secret

    async def keys(self, tenant: str | None = None) -> list[Key]:
        """The API keys of a tenant, or of all."""
        return [_key(row) for row in await self._all(KeyRow, tenant)]

    async def key(self, tenant: str, name: str) -> Key:
        """One API key.

        Raises:
            NotThereError: no such tenant or key.
        """
        async with self._database.read() as session:
            return _key(await self._named(session, KeyRow, "key", tenant, name))

    async def remove_key(self, tenant: str, name: str) -> None:
        """Remove an API key.

        Raises:
            NotThereError: no such tenant or key.
        """
        async with self._database.write() as session:
            await _bump(session)
            await session.delete(await self._named(session, KeyRow, "key", tenant, name))

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
        async with self._database.write() as session:
            await self._require_tenant(session, tenant)
            user = await session.scalar(select(UserRow).where(UserRow.tenant == tenant, UserRow.name == subject))
            wanted = None if roles is None else list(roles)
            if not wanted and user is None:
                raise AdminError(f"roles: expected at least one, since {subject} is no user of tenant {tenant}, got none")
            row = TokenRow(
                id=new_id(),
                tenant=tenant,
                subject=subject,
                user_id=None if user is None else user.id,
                hash=hash_secret(secret),
                roles=await _check_roles(session, tenant, wanted) if wanted else None,
                expires_ms=expires_ms,
                created_ms=self._now_ms(),
            )
            session.add(row)
            await _bump(session)
        return _token(row), secret

    async def tokens(self, tenant: str | None = None) -> list[Token]:
        """The tokens of a tenant, or of all; those that have expired too."""
        async with self._database.read() as session:
            query = select(TokenRow).order_by(TokenRow.tenant, TokenRow.subject, TokenRow.created_ms, TokenRow.id)
            return [_token(row) for row in await session.scalars(query if tenant is None else query.where(TokenRow.tenant == tenant))]

    async def token(self, which: str, tenant: str | None = None) -> Token:
        """One token, by its id, or by its subject when that has one token only.

        Raises:
            NotThereError: no such token.
            AdminError: the subject has several.
        """
        tokens = await self.tokens(tenant)
        found = [token for token in tokens if token.id == which] or [token for token in tokens if token.subject == which]
        if not found:
            raise NotThereError(_no_such("token", which, [f"{token.id} ({token.subject})" for token in tokens], "hub token add SUBJECT"))
        if len(found) > 1:
            raise AdminError(f"token: expected an id, since {which} has {len(found)} tokens: {_some([token.id for token in found])}")
        return found[0]

    async def remove_token(self, which: str, tenant: str | None = None) -> Token:
        """Remove a token, named as for :meth:`token`; sessions that it opened end within 2 s.

        Raises:
            NotThereError: no such token.
            AdminError: the subject has several.
        """
        token = await self.token(which, tenant)
        async with self._database.write() as session:
            await _bump(session)
            await session.execute(delete(TokenRow).where(TokenRow.id == token.id))
        return token

    # -- all of them ------------------------------------------------------------------------------------------------

    async def _all(self, row: type[Any], tenant: str | None) -> list[Any]:
        async with self._database.read() as session:
            query = select(row).order_by(row.tenant, row.name)
            return list(await session.scalars(query if tenant is None else query.where(row.tenant == tenant)))

    async def _require_tenant(self, session: AsyncSession, tenant: str) -> None:
        """Begin a change within a tenant."""
        await _lock(session)
        if not is_tenant_name(tenant) or await session.get(TenantRow, tenant) is None:
            known = await session.scalars(select(TenantRow.name).order_by(TenantRow.name))
            raise NotThereError(_no_such("tenant", tenant, list(known), "hub tenant add NAME"))

    async def _named(self, session: AsyncSession, row: type[Any], kind: str, tenant: str, name: str) -> Any:
        if not is_tenant_name(tenant) or await session.get(TenantRow, tenant) is None:
            known = await session.scalars(select(TenantRow.name).order_by(TenantRow.name))
            raise NotThereError(_no_such("tenant", tenant, list(known), "hub tenant add NAME"))
        found = await session.scalar(select(row).where(row.tenant == tenant, row.name == name)) if is_name(name) else None
        if found is None:
            names = await session.scalars(select(row.name).where(row.tenant == tenant).order_by(row.name))
            raise NotThereError(_no_such(kind, name, list(names), f"hub {kind} add NAME --tenant {tenant}"))
        return found


async def _bump(session: AsyncSession) -> None:
    """Tell running nodes. The row's lock lets administrative transactions of PostgreSQL pass one by one, as SQLite's do anyway."""
    await session.execute(update(RevisionRow).values(number=RevisionRow.number + 1))


async def _lock(session: AsyncSession) -> None:
    await session.execute(select(RevisionRow).with_for_update())


async def _check_roles(session: AsyncSession, tenant: str, roles: Iterable[str]) -> list[str]:
    chosen = sorted(set(roles))
    if not chosen:
        raise AdminError(f"roles: expected at least one of {', '.join(BUILT_IN)} or of the tenant's own, got none")
    own = set(await session.scalars(select(RoleRow.name).where(RoleRow.tenant == tenant)))
    for role in chosen:
        if role not in BUILT_IN and role not in own:
            raise NotThereError(_no_such("role", role, [*BUILT_IN, *sorted(own)], f"hub role add NAME --tenant {tenant}"))
    return chosen


def _check_password(password: str) -> None:
    if not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        raise AdminError(f"password: expected {passwords.SHORTEST}-{passwords.LONGEST} characters, got {len(password)}")


def _user(row: UserRow) -> User:
    return User(row.id, row.tenant, row.name, tuple(row.roles), row.created_ms)


def _key(row: KeyRow) -> Key:
    return Key(row.id, row.tenant, row.name, tuple(row.roles), row.created_ms)


def _token(row: TokenRow) -> Token:
    roles = None if row.roles is None else tuple(row.roles)
    user = row.subject if row.user_id is not None else None
    return Token(row.id, row.tenant, row.subject, user, roles, row.expires_ms, row.created_ms)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _no_such(kind: str, name: str, known: Sequence[str], how: str) -> str:
    there = f"there are: {_some(known)}" if known else f"there is none; add one with: {how}"
    return f"{kind}: no {kind} {name!r}; {there}"
