"""Administration of OAuth clients, directly on the database (docs/authentication.md#clients)."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Final

from hub.audit.changes import differences
from hub.audit.log import Recorder
from hub.audit.models import Event
from hub.security import queries
from hub.security.changes import Kind
from hub.security.clients_queries import CLIENTS, DEMO_CLIENT, client_of, insert_client, update_client
from hub.security.credentials import hash_secret
from hub.security.delegation import Supervision, Unsupervised
from hub.security.models import AdminError, ClientRow, ExistsError, NotThereError, check_name
from hub.security.oauth.models import GRANTS, Client, Grant, Lifetimes
from hub.security.oauth.redirects import RedirectError, check_redirect_uri
from hub.storage.transactions import Transaction, Transactions

SECRET_PREFIX: Final = "hubc_"  # noqa: S105
MAX_SECRETS: Final = 2
"""Secrets of a client at a time: the old one and the new one, while it is changed."""
MAX_URIS: Final = 32

_ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""Scheme, host and port (RFC 6454 section 6.2)."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class NewClient:
    """What an administrator says of a new client."""

    DEFAULT_GRANTS: ClassVar = (Grant.AUTHORIZATION_CODE, Grant.REFRESH_TOKEN)

    id: str
    tenant: str
    name: str = ""
    public: bool = False
    grants: Sequence[str] = DEFAULT_GRANTS
    roles: Sequence[str] | None = None
    redirect_uris: Sequence[str] = ()
    post_logout_uris: Sequence[str] = ()
    origins: Sequence[str] = ()
    frame_origins: Sequence[str] = ()
    pkce: bool = False
    consent: bool = False
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


@dataclass(frozen=True, slots=True)
class ClientChange:
    """The fields to set. None leaves one as it is."""

    name: str | None = None
    grants: Sequence[str] | None = None
    roles: Sequence[str] | None = None
    redirect_uris: Sequence[str] | None = None
    post_logout_uris: Sequence[str] | None = None
    origins: Sequence[str] | None = None
    frame_origins: Sequence[str] | None = None
    pkce: bool | None = None
    consent: bool | None = None
    access_s: int | None = None
    every_role: bool = False
    """Whether it gives up its roles: its tokens have all those of their users."""

    def of(self, client: Client) -> NewClient:
        """A client with these fields, to be checked as a new one is."""
        lifetimes = client.lifetimes if self.access_s is None else replace(client.lifetimes, access_s=self.access_s)
        roles = client.roles if self.roles is None else self.roles
        return NewClient(
            id=client.id,
            tenant=client.tenant,
            name=client.name if self.name is None else self.name,
            public=client.public,
            grants=sorted(client.grants) if self.grants is None else self.grants,
            roles=None if self.every_role else roles,
            redirect_uris=client.redirect_uris if self.redirect_uris is None else self.redirect_uris,
            post_logout_uris=client.post_logout_uris if self.post_logout_uris is None else self.post_logout_uris,
            origins=client.origins if self.origins is None else self.origins,
            frame_origins=client.frame_origins if self.frame_origins is None else self.frame_origins,
            pkce=client.pkce if self.pkce is None else self.pkce,
            consent=client.consent if self.consent is None else self.consent,
            lifetimes=lifetimes,
        )


class ClientsStore:
    """The administrator's view of clients."""

    __slots__ = ("_audit", "_local", "_now_ms", "_supervision", "_tenant", "_transactions")

    def __init__(
        self,
        transactions: Transactions,
        now_ms: Callable[[], int],
        audit: Recorder,
        supervision: Supervision | None = None,
        *,
        tenant: str | None = None,
        local: bool = False,
    ) -> None:
        """``now_ms`` returns the time of day, in ms since 1970 UTC; ``audit`` records who changes what; ``supervision`` is that of
        :class:`hub.security.store.Store`. With ``tenant``, clients of others are not found; with ``local``, redirects to
        ``http://localhost`` are allowed.
        """
        self._supervision: Supervision = supervision or Unsupervised()
        self._tenant = tenant
        self._audit = audit
        self._transactions = transactions
        self._now_ms = now_ms
        self._local = local

    async def add(self, new: NewClient) -> tuple[Client, str | None]:
        """Add a client; returns it with its secret, which nobody can read again, or None for a public one.

        Raises:
            ExistsError: there is a client of this id.
            NotThereError: no such tenant or role.
            AdminError: something of it is not valid, or contradicts itself.
        """
        secret = None if new.public else new_secret()
        client = self._checked(new, () if secret is None else (hash_secret(secret),))

        def add(tx: Transaction) -> Client:
            queries.begin_change_within(tx, client.tenant)
            made = client if client.roles is None else replace(client, roles=tuple(queries.check_roles(tx, client.tenant, client.roles)))
            if tx.row("SELECT 1 FROM clients WHERE id = ?", (client.id,)) is not None:
                raise ExistsError(f"client: expected a new id, got {client.id!r}, which is there already")
            self._supervision.adds(tx, "clients", client.tenant)
            self._supervision.registers(tx, client.tenant, len(made.origins))
            self._supervision.gives(tx, client.tenant, made.roles)
            insert_client(tx, made, self._now_ms())
            queries.note_change(tx, Kind.NEW, "", self._now_ms())
            self._audit.record(tx, Event.CLIENT_ADDED, made.tenant, f"client:{made.id}", after=_told(made))
            return made

        return await self._transactions.write(add), secret

    async def all(self, tenant: str | None = None) -> list[Client]:
        """The clients of a tenant, or of all."""
        return await self._transactions.read(lambda tx: [client_of(row) for row in queries.select(tx, CLIENTS, "tenant, id", tenant)])

    async def page(self, tenant: str, after: str | None, limit: int) -> list[Client]:
        """The clients of a tenant behind an id, by id."""
        return await self._transactions.read(lambda tx: [client_of(row) for row in queries.page(tx, CLIENTS, "id", tenant, after, limit)])

    async def one(self, client_id: str) -> Client:
        """One client.

        Raises:
            NotThereError: there is none of this id.
        """
        return await self._transactions.read(lambda tx: self._find(tx, client_id))

    async def change(self, client_id: str, change: ClientChange) -> Client:
        """Change a client. Tokens that it has got before hold, with the roles that it has now.

        Raises:
            NotThereError: no such client or role.
            AdminError: something of it is not valid, or contradicts the rest.
        """

        def write(tx: Transaction) -> Client:
            queries.begin_change(tx)
            client = self._to_change(tx, client_id)
            made = self._checked(change.of(client), client.secrets)
            if made.roles is not None:
                made = replace(made, roles=tuple(queries.check_roles(tx, made.tenant, made.roles)))
            self._supervision.gives(tx, made.tenant, made.roles)
            self._supervision.registers(tx, made.tenant, len(made.origins) - len(client.origins))
            if client.roles is not None and made.roles is not None:
                self._supervision.drops(tx, made.tenant, set(client.roles) - set(made.roles))
            before, after = differences(_told(client), _told(made))
            if after:
                update_client(tx, made)
                queries.note_change(tx, Kind.CLIENT, made.id, self._now_ms())
                self._audit.record(tx, Event.CLIENT_CHANGED, made.tenant, f"client:{made.id}", before=before, after=after)
            return made

        return await self._transactions.write(write)

    async def add_secret(self, client_id: str) -> tuple[Client, str]:
        """Give a client another secret; the old one is good until :meth:`drop_old_secret`.

        Raises:
            NotThereError: there is no such client.
            AdminError: it is public, or has two secrets already.
        """
        secret = new_secret()

        def change(tx: Transaction) -> Client:
            queries.begin_change(tx)
            client = self._to_change(tx, client_id)
            if client.public:
                raise AdminError(f"client: expected one with a secret, got {client_id!r}, which is public")
            if len(client.secrets) >= MAX_SECRETS:
                raise AdminError(f"client: {client_id} has {MAX_SECRETS} secrets; drop the old one first: hub client secret --drop-old")
            return self._with_secrets(tx, client, (*client.secrets, hash_secret(secret)))

        return await self._transactions.write(change), secret

    async def drop_old_secret(self, client_id: str) -> Client:
        """Take the older of two secrets back.

        Raises:
            NotThereError: there is no such client.
            AdminError: it has one secret or none.
        """

        def change(tx: Transaction) -> Client:
            queries.begin_change(tx)
            client = self._to_change(tx, client_id)
            if len(client.secrets) < MAX_SECRETS:
                raise AdminError(f"client: expected one with two secrets, got {client_id!r}, which has {len(client.secrets)}")
            return self._with_secrets(tx, client, client.secrets[1:])

        return await self._transactions.write(change)

    async def remove(self, client_id: str) -> None:
        """Remove a client; every token that it got ends within 2 s.

        Raises:
            NotThereError: there is none of this id.
        """

        def remove(tx: Transaction) -> None:
            queries.begin_change(tx)
            client = self._to_change(tx, client_id)
            tx.run("DELETE FROM clients WHERE id = ?", (client.id,))
            queries.note_change(tx, Kind.CLIENT, client_id, self._now_ms())
            self._audit.record(tx, Event.CLIENT_REMOVED, client.tenant, f"client:{client.id}", before=_told(client))

        await self._transactions.write(remove)

    def _find(self, tx: Transaction, client_id: str) -> Client:
        of, where = ((), "") if self._tenant is None else ((self._tenant,), " AND tenant = ?")
        row = tx.row(f"{CLIENTS} WHERE id = ?{where}", (client_id, *of)) if _ID.fullmatch(client_id) else None
        if row is None:
            known = [each[0] for each in queries.select(tx, "SELECT id FROM clients", "id", self._tenant)]
            raise NotThereError(queries.no_such("client", client_id, known, "hub client add NAME --redirect-uri URI"))
        return client_of(row)

    def _to_change(self, tx: Transaction, client_id: str) -> Client:
        client = self._find(tx, client_id)
        self._supervision.gives(tx, client.tenant, client.roles)
        return client

    def _with_secrets(self, tx: Transaction, client: Client, hashes: tuple[str, ...]) -> Client:
        tx.run("UPDATE clients SET secrets = ? WHERE id = ?", (json.dumps(hashes), client.id))
        made = replace(client, secrets=hashes)
        before, after = differences(_told(client), _told(made))
        self._audit.record(tx, Event.CLIENT_CHANGED, client.tenant, f"client:{client.id}", before=before, after=after)
        return made

    def _checked(self, new: NewClient, secrets: tuple[str, ...]) -> Client:
        if not _ID.fullmatch(new.id):
            raise AdminError(f"client: expected 1-128 letters, digits and . _ -, a letter or digit first, got {new.id!r}")
        if new.id == DEMO_CLIENT:
            raise AdminError(f"client: expected an id other than {DEMO_CLIENT}, which is the client of hub serve --demo")
        name = new.name or new.id
        check_name("name", name)
        grants = frozenset(_grant(each) for each in new.grants)
        if not grants:
            raise AdminError("grants: expected at least one, got none")
        if Grant.CLIENT_CREDENTIALS in grants and new.public:
            raise AdminError("grants: client_credentials is for a client with a secret, and a public one has none: leave --public out")
        if Grant.CLIENT_CREDENTIALS in grants and not new.roles:
            raise AdminError("grants: client_credentials is for a client with roles of its own, got none: --role")
        if Grant.AUTHORIZATION_CODE in grants and not new.redirect_uris:
            raise AdminError("redirect URI: expected at least one for the grant authorization_code, got none")
        for uris in (new.redirect_uris, new.post_logout_uris):
            if len(uris) > MAX_URIS:
                raise AdminError(f"redirect URI: expected at most {MAX_URIS}, got {len(uris)}")
        return Client(
            id=new.id,
            tenant=new.tenant,
            name=name,
            public=new.public,
            grants=grants,
            secrets=secrets,
            roles=None if new.roles is None else tuple(new.roles),
            redirect_uris=self._uris(new.redirect_uris),
            post_logout_uris=self._uris(new.post_logout_uris),
            origins=_origins("origin", new.origins),
            frame_origins=_origins("frame origin", new.frame_origins),
            pkce=new.pkce,
            consent=new.consent,
            lifetimes=new.lifetimes,
        )

    def _uris(self, uris: Iterable[str]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(check_redirect_uri(each, local=self._local) for each in uris))
        except RedirectError as error:
            raise AdminError(str(error)) from error


def new_secret() -> str:
    """A client's secret of 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def _grant(text: str) -> Grant:
    for grant in GRANTS:
        if text in (grant, grant.name.lower()):
            return grant
    raise AdminError(f"grants: expected some of {', '.join(grant.name.lower() for grant in GRANTS)}, got {text!r}")


def _origins(what: str, origins: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise AdminError(f"{what}: expected scheme and host such as https://app.example.com, got {origin[:120]!r}")
        found[origin.lower()] = None
    return tuple(found)


def _told(client: Client) -> dict[str, Any]:
    """What the audit log tells of a client: all but its secrets, of which it tells the number."""
    told = asdict(ClientRow.of(client))
    del told["id"], told["tenant"]
    return told
