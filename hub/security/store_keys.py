"""Administration of API keys and tokens, directly on the database.

Each change raises the revision in the same transaction; running nodes apply it within 2 s. A secret is returned only when it is made.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from hub.audit.models import Event
from hub.security import queries
from hub.security.changes import Kind
from hub.security.credentials import hash_secret, new_id, new_key, new_token
from hub.security.models import (
    AccessKey,
    AdminError,
    Key,
    Token,
    check_name,
)
from hub.security.roles import BUILT_IN
from hub.security.store_base import StoreBase
from hub.storage.transactions import Transaction


class KeysStore(StoreBase):
    """The administrator's view of API keys and tokens."""

    __slots__ = ()

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
            queries.check_new_key(tx, tenant, name)
            self._supervision.adds(tx, "api_keys", tenant)
            self._supervision.gives(tx, tenant, chosen)
            key = Key(new_id(), tenant, name, tuple(chosen), self._now_ms())
            tx.run(
                "INSERT INTO api_keys (id, tenant, name, hash, roles, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, tenant, name, hash_secret(secret), json.dumps(chosen), key.created_ms),
            )
            self._note(tx, Kind.NEW)
            self._audit.record(tx, Event.KEY_ADDED, tenant, f"key:{name}", after={"roles": chosen})
            return key

        return await self._transactions.write(add), secret

    async def keys(self, tenant: str | None = None) -> list[Key | AccessKey]:
        """The API keys and access keys of a tenant, or of all."""
        return [queries.key_of(row) for row in await self._all(queries.KEYS, "tenant, name", tenant)]

    async def key_page(self, tenant: str, after: str | None, limit: int) -> list[Key | AccessKey]:
        """The API keys and access keys of a tenant behind a name, by name."""
        return [queries.key_of(row) for row in await self._page(queries.KEYS, "name", tenant, after, limit)]

    async def key(self, tenant: str, name: str) -> Key | AccessKey:
        """One API key, or access key.

        Raises:
            NotThereError: no such tenant or key.
        """
        return await self._transactions.read(lambda tx: queries.key_of(queries.named(tx, queries.KEYS, "key", tenant, name)))

    async def remove_key(self, tenant: str, name: str) -> None:
        """Remove an API key, or an access key.

        Raises:
            NotThereError: no such tenant or key.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            key = queries.key_of(queries.named(tx, queries.KEYS, "key", tenant, name))
            self._supervision.gives(tx, tenant, key.roles)
            table, kind = ("access_keys", Kind.ACCESS_KEY) if isinstance(key, AccessKey) else ("api_keys", Kind.KEY)
            tx.run(f"DELETE FROM {table} WHERE id = ?", (key.id,))
            self._note(tx, kind, key.id)
            self._audit.record(tx, Event.KEY_REMOVED, tenant, f"key:{name}", before={"roles": list(key.roles)})

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
            raise AdminError(f"expires: expected a time to come, in ms since 1970 UTC, got {expires_ms}, which has passed")
        secret = new_token()
        wanted = None if roles is None else list(roles)

        def add(tx: Transaction) -> Token:
            queries.begin_change_within(tx, tenant)
            user = tx.row("SELECT id, roles FROM users WHERE tenant = ? AND name = ?", (tenant, subject))
            if not wanted and user is None:
                there = queries.some([*BUILT_IN, *queries.own_roles(tx, tenant)])
                no_user = f"since {subject} is no user of tenant {tenant}"
                raise AdminError(f"roles: expected at least one (--role), {no_user}, got none; there are: {there}")
            own = queries.check_roles(tx, tenant, wanted) if wanted else None
            self._supervision.adds(tx, "tokens", tenant)
            self._supervision.gives(tx, tenant, own or ())
            if user is not None:  # it acts in the user's name
                self._supervision.gives(tx, tenant, queries.decoded(user[1]))
            chosen = None if own is None else json.dumps(own)
            row = (new_id(), tenant, subject, None if user is None else user[0], chosen, expires_ms, self._now_ms())
            tx.run(
                "INSERT INTO tokens (id, tenant, subject, user_id, roles, expires_ms, created_ms, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, hash_secret(secret)),
            )
            self._note(tx, Kind.NEW)
            token = queries.token_of(row)
            self._audit.record(tx, Event.TOKEN_ADDED, tenant, f"token:{token.id}", after=self._of_token(token))
            return token

        return await self._transactions.write(add), secret

    async def tokens(self, tenant: str | None = None) -> list[Token]:
        """The tokens of a tenant, or of all tenants; also those that have expired."""
        return [queries.token_of(row) for row in await self._all(queries.TOKENS, "tenant, subject, created_ms, id", tenant)]

    async def token_page(self, tenant: str, after: str | None, limit: int) -> list[Token]:
        """The tokens of a tenant behind an id, by id; also those that have expired."""
        return [queries.token_of(row) for row in await self._page(queries.TOKENS, "id", tenant, after, limit)]

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

        def choose(tx: Transaction) -> Token:
            rows = queries.select(tx, queries.TOKENS, "tenant, subject, created_ms, id", tenant)
            return queries.chosen_token([queries.token_of(row) for row in rows], which)

        return await self._remove_token(choose)

    async def token_by_id(self, identifier: str, tenant: str) -> Token:
        """One token of a tenant, by its id alone.

        Raises:
            NotThereError: the tenant has no such token.
        """
        return await self._transactions.read(lambda tx: queries.token_by_id(tx, identifier, tenant))

    async def remove_token_by_id(self, identifier: str, tenant: str) -> Token:
        """Remove a token of a tenant, by its id alone; sessions that it opened end within 2 s.

        Raises:
            NotThereError: the tenant has no such token.
        """
        return await self._remove_token(lambda tx: queries.token_by_id(tx, identifier, tenant))

    async def _remove_token(self, choose: Callable[[Transaction], Token]) -> Token:
        def remove(tx: Transaction) -> Token:
            queries.begin_change(tx)
            token = choose(tx)
            roles = token.roles
            if token.user is not None:
                user = queries.user_of(queries.named(tx, queries.USERS, "user", token.tenant, token.user))
                roles = (*user.roles, *(roles or ()))
            self._supervision.gives(tx, token.tenant, roles or ())
            tx.run("DELETE FROM tokens WHERE id = ?", (token.id,))
            self._note(tx, Kind.TOKEN, token.id)
            self._audit.record(tx, Event.TOKEN_REMOVED, token.tenant, f"token:{token.id}", before=self._of_token(token))
            return token

        return await self._transactions.write(remove)

    def _of_token(self, token: Token) -> dict[str, Any]:
        """What the audit log tells of a token."""
        roles = None if token.roles is None else list(token.roles)
        return {"subject": self._audit.person(token.tenant, token.subject), "roles": roles, "expires_ms": token.expires_ms}
