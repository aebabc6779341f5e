"""Codes, families and tokens of OAuth in the database (docs/protocol/oauth.md#tokens).

Each step is one transaction, in which a code or refresh token is claimed by a single statement, so that of many requests at once one gets
the tokens. Issuing tokens raises no revision: running nodes need not look again at what they know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from hub.audit.log import AuditLog
from hub.audit.models import Entry, Event
from hub.security.changes import Kind
from hub.security.clients_queries import CLIENTS, client_of
from hub.security.credentials import CLIENT_SUBJECT, new_id
from hub.security.grants_bounds import (
    GrantBounds,
    GrantCounters,
    drop_older_codes,
    end_older_access_tokens,
    forget_older_refresh_tokens,
)
from hub.security.oauth.errors import OAuthError, invalid_grant
from hub.security.oauth.models import Client, Code, Family, NewTokens, Person
from hub.security.oauth.ports import Asker, IssueForCode, IssueForRefresh, Shown
from hub.security.queries import begin_change, decoded, note_change
from hub.storage.transactions import Row, Transaction, Transactions

_CODES: Final = "client, redirect_uri, challenge, user_id, generation, scopes, nonce, auth_time_s, expires_ms"
_FAMILIES: Final = "SELECT id, tenant, client, user_id, scopes, auth_time_s, expires_ms FROM families"
_TOKENS: Final = "SELECT tenant, subject, user_id, NULL, '*', created_ms, expires_ms FROM tokens"
_ACCESS_TOKENS: Final = (
    "SELECT f.tenant, '', f.user_id, f.id, a.scopes, a.created_ms, a.expires_ms FROM access_tokens a JOIN families f ON f.id = a.family"
)
_EXTERNAL: Final = "SELECT tenant, subject, NULL, NULL, '*', created_ms, expires_ms FROM external_tokens"
_REFRESH_TOKENS: Final = (
    "SELECT f.tenant, '', f.user_id, f.id, f.scopes, f.used_ms, r.expires_ms FROM refresh_tokens r JOIN families f ON f.id = r.family"
)
_PEOPLE: Final = "SELECT id, tenant, name, number, roles, given_name, family_name, email, generation FROM users"

_BOUNDS: Final = GrantBounds()

T = TypeVar("T")


class GrantsStore:
    """The store of :mod:`hub.security.oauth` (:class:`hub.security.oauth.ports.OAuthStore`)."""

    __slots__ = ("_audit", "_bounds", "_leeway_ms", "_now_ms", "_transactions", "counters", "ended")

    def __init__(
        self,
        transactions: Transactions,
        now_ms: Callable[[], int],
        audit: AuditLog,
        *,
        leeway_s: float = 0,
        bounds: GrantBounds = _BOUNDS,
    ) -> None:
        """``now_ms`` returns the time of day, in milliseconds since 1970 UTC; ``audit`` is told of every token. A refresh
        token that comes a second time within ``leeway_s`` is refused, but ends nothing. ``bounds`` are those of each grant.
        """
        self.counters = GrantCounters()
        self.ended = 0
        """Steps of this store that may have ended tokens."""
        self._bounds = bounds
        self._audit = audit
        self._transactions = transactions
        self._now_ms = now_ms
        self._leeway_ms = int(leeway_s * 1000)

    async def client(self, client_id: str) -> Client | None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.client`."""

        return await self._transactions.read(lambda tx: _client(tx, client_id))

    async def client_and_token(self, client_id: str, digest: str) -> tuple[Client | None, Shown | None]:
        """See :meth:`hub.security.oauth.ports.OAuthStore.client_and_token`."""
        return await self._transactions.read(lambda tx: (_client(tx, client_id), self._show(tx, digest)))

    async def add_code(self, digest: str, code: Code) -> None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.add_code`."""
        values = (digest, code.client, code.redirect_uri, code.challenge, code.user, code.generation)
        more = (" ".join(code.scopes), code.nonce, code.auth_time_s, code.expires_ms)

        def add(tx: Transaction) -> int:
            begin_change(tx)  # of two that remove rows of the same user none waits for the other
            dropped = drop_older_codes(tx, code.user, code.client, self._bounds.codes - 1)
            tx.run(f"INSERT INTO codes (hash, {_CODES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, *more))
            return dropped

        self.counters.codes_dropped += await self._transactions.write(add)

    async def redeem_code(self, digest: str, issue: IssueForCode, asker: Asker) -> tuple[Code, Person]:
        """See :meth:`hub.security.oauth.ports.OAuthStore.redeem_code`."""

        def redeem(tx: Transaction) -> tuple[Code, Person]:
            begin_change(tx)  # a removal of the client or user, which takes the same lock first, comes before or after
            row = tx.row(
                f"UPDATE codes SET used_ms = ? WHERE hash = ? AND used_ms IS NULL RETURNING {_CODES}",
                (self._now_ms(), digest),
            )
            if row is None:
                used = tx.row("SELECT family FROM codes WHERE hash = ?", (digest,))
                if used is not None and used[0] is not None:
                    self._end_family(tx, used[0], Event.TOKEN_REUSE, asker)
                raise invalid_grant()
            code = _code_of(row)
            person = person_of(tx, code.user)
            if code.expires_ms <= self._now_ms() or person is None:
                raise invalid_grant()
            tokens = issue(code, person)
            add_family(tx, tokens, self._now_ms())
            add_tokens(tx, tokens, self._now_ms())
            tx.run("UPDATE codes SET family = ? WHERE hash = ?", (tokens.family.id, digest))
            tell_of_tokens(self._audit, tx, Event.TOKEN_ISSUED, tokens, person, asker)
            return code, person

        return await self._write(redeem)

    async def rotate(self, digest: str, issue: IssueForRefresh, asker: Asker) -> tuple[Family, Person | None]:
        """See :meth:`hub.security.oauth.ports.OAuthStore.rotate`."""

        def rotate(tx: Transaction) -> tuple[Family, Person | None, int, int]:
            begin_change(tx)
            now = self._now_ms()
            row = tx.row(
                "UPDATE refresh_tokens SET used_ms = ? WHERE hash = ? AND used_ms IS NULL RETURNING family, expires_ms", (now, digest)
            )
            if row is None:
                used = tx.row("SELECT family, used_ms FROM refresh_tokens WHERE hash = ?", (digest,))
                if used is not None and now - used[1] >= self._leeway_ms:
                    self._end_family(tx, used[0], Event.TOKEN_REUSE, asker)
                raise invalid_grant()
            family = _family_of(tx, row[0])
            person = None if family is None or family.user is None else person_of(tx, family.user)
            if family is None or min(row[1], family.expires_ms) <= now or (family.user is not None and person is None):
                raise invalid_grant()
            tokens = issue(family, person)
            tx.run("UPDATE families SET used_ms = ? WHERE id = ?", (now, family.id))
            ended = end_older_access_tokens(tx, family.id, self._bounds.access_tokens - 1, now)
            forgotten = forget_older_refresh_tokens(tx, family.id, self._bounds.used_refresh_tokens)
            add_tokens(tx, tokens, now)
            tell_of_tokens(self._audit, tx, Event.TOKEN_REFRESHED, tokens, person, asker)
            return family, person, ended, forgotten

        family, person, ended, forgotten = await self._write(rotate)
        self.ended += ended > 0
        self.counters.access_tokens_ended += ended
        self.counters.refresh_tokens_forgotten += forgotten
        return family, person

    async def add_tokens(self, tokens: NewTokens, asker: Asker) -> None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.add_tokens`."""

        def add(tx: Transaction) -> None:
            begin_change(tx)
            family = tokens.family
            person = None if family.user is None else person_of(tx, family.user)
            if family.user is not None and person is None:  # removed since the password was checked
                raise invalid_grant()
            add_family(tx, tokens, self._now_ms())
            add_tokens(tx, tokens, self._now_ms())
            tell_of_tokens(self._audit, tx, Event.TOKEN_ISSUED, tokens, person, asker)

        await self._write(add)

    async def show(self, digest: str) -> Shown | None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.show`."""

        return await self._transactions.read(lambda tx: self._show(tx, digest))

    def _show(self, tx: Transaction, digest: str) -> Shown | None:
        found = self._shown(tx, tx.row(f"{_ACCESS_TOKENS} WHERE a.hash = ?", (digest,)))
        if found is not None:
            return found
        found = self._shown(tx, tx.row(f"{_REFRESH_TOKENS} WHERE r.hash = ? AND r.used_ms IS NULL", (digest,)), refresh=True)
        return found or self._shown(tx, tx.row(f"{_TOKENS} WHERE hash = ?", (digest,)))

    async def show_credential(self, credential: str) -> Shown | None:
        """A token that is good, by the id of its credential; None if there is none, or it has ended."""
        kind, _, identifier = credential.partition(":")
        queries = {
            "token": f"{_TOKENS} WHERE id = ?",
            "access": f"{_ACCESS_TOKENS} WHERE a.id = ?",
            "external": f"{_EXTERNAL} WHERE id = ?",
        }
        query = queries.get(kind)
        return None if query is None else await self._transactions.read(lambda tx: self._shown(tx, tx.row(query, (identifier,))))

    async def person(self, user: str) -> Person | None:
        """A user who may sign in, by the id of the row."""
        return await self._transactions.read(lambda tx: person_of(tx, user))

    async def person_named(self, tenant: str, name: str) -> Person | None:
        """A user who may sign in, by tenant and name."""

        def find(tx: Transaction) -> Person | None:
            row = tx.row("SELECT id FROM users WHERE tenant = ? AND name = ?", (tenant, name))
            return None if row is None else person_of(tx, row[0])

        return await self._transactions.read(find)

    def _shown(self, tx: Transaction, row: Row | None, *, refresh: bool = False) -> Shown | None:
        if row is None:
            return None
        tenant, subject, user, family_id, scopes, created_ms, expires_ms = row
        family = None if family_id is None else _family_of(tx, family_id)
        person = None if user is None else person_of(tx, user)
        if (expires_ms is not None and expires_ms <= self._now_ms()) or (user is not None and person is None):
            return None
        if family is not None:
            subject = _subject(family, person)
        return Shown(family, tenant, subject, tuple(scopes.split()), created_ms, expires_ms, person, refresh)

    async def end_family(self, family: str, asker: Asker) -> None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.end_family`."""
        await self._transactions.write(lambda tx: self._end_family(tx, family, Event.TOKEN_REVOKED, asker))
        self.ended += 1

    async def _write(self, step: Callable[[Transaction], T]) -> T:
        """Run a step. What it did before an ``invalid_grant`` is kept: a code or token that came with a wrong proof is used up, and what
        came of one that was used before has ended. Any other refusal keeps nothing, so that the client may correct its request.
        """

        def kept(tx: Transaction) -> T | OAuthError:
            try:
                return step(tx)
            except OAuthError as error:
                if error.error != "invalid_grant":
                    raise
                return error

        result = await self._transactions.write(kept)
        if isinstance(result, OAuthError):
            self.ended += 1
            raise result
        return result

    def _end_family(self, tx: Transaction, family: str, event: Event, asker: Asker) -> None:
        begin_change(tx)
        ended = tx.row("DELETE FROM families WHERE id = ? RETURNING tenant", (family,))
        if ended is not None:
            note_change(tx, Kind.FAMILY, family, self._now_ms())
            by = self._audit.caller(ended[0], asker.subject or f"{CLIENT_SUBJECT}{asker.client}", asker.address, asker.client)
            self._audit.record_within_share(tx, by, Entry(event, ended[0], f"family:{family}"))


def tell_of_tokens(audit: AuditLog, tx: Transaction, event: Event, tokens: NewTokens, person: Person | None, asker: Asker) -> None:
    """Tell the audit log of tokens, in the transaction that stores them."""
    family = tokens.family
    by = audit.caller(family.tenant, _subject(family, person), asker.address, family.client)
    after = {"scopes": list(tokens.access_scopes)}
    audit.record_within_share(tx, by, Entry(event, family.tenant, f"family:{family.id}", after=after))


def add_family(tx: Transaction, tokens: NewTokens, now_ms: int) -> None:
    """Store the family of the first tokens of a grant."""
    family = tokens.family
    tx.run(
        "INSERT INTO families (id, tenant, client, user_id, scopes, auth_time_s, used_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(family.id, family.tenant, family.client, family.user, " ".join(family.scopes)),
            *(family.auth_time_s, now_ms, family.expires_ms),
        ),
    )


def add_tokens(tx: Transaction, tokens: NewTokens, now_ms: int) -> None:
    """Store tokens of a family that is stored."""
    family = tokens.family
    tx.run(
        "INSERT INTO access_tokens (id, hash, family, scopes, expires_ms, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
        (*(new_id(), tokens.access_hash, family.id, " ".join(tokens.access_scopes)), *(tokens.access_expires_ms, now_ms)),
    )
    if tokens.refresh_hash is not None:
        tx.run(
            "INSERT INTO refresh_tokens (hash, family, expires_ms) VALUES (?, ?, ?)",
            (tokens.refresh_hash, family.id, tokens.refresh_expires_ms),
        )


def _client(tx: Transaction, client_id: str) -> Client | None:
    row = tx.row(f"{CLIENTS} WHERE id = ?", (client_id,))
    return None if row is None else client_of(row)


def person_of(tx: Transaction, user: str) -> Person | None:
    """A user who may sign in, by the id of the row."""
    row = tx.row(f"{_PEOPLE} WHERE id = ? AND disabled = 0", (user,))
    if row is None:
        return None
    identifier, tenant, name, number, roles, given_name, family_name, email, generation = row
    return Person(identifier, tenant, name, number, frozenset(decoded(roles)), given_name, family_name, email, generation)


def _subject(family: Family, person: Person | None) -> str:
    return f"{CLIENT_SUBJECT}{family.client}" if person is None else person.name


def _family_of(tx: Transaction, family: str) -> Family | None:
    row = tx.row(f"{_FAMILIES} WHERE id = ?", (family,))
    if row is None:
        return None
    identifier, tenant, client, user, scopes, auth_time_s, expires_ms = row
    return Family(identifier, tenant, client, user, tuple(scopes.split()), auth_time_s, expires_ms)


def _code_of(row: Row) -> Code:
    client, redirect_uri, challenge, user, generation, scopes, nonce, auth_time_s, expires_ms = row
    return Code(client, redirect_uri, challenge, user, generation, tuple(scopes.split()), nonce, auth_time_s, expires_ms)
