"""What the Authentication API does, below its routes (docs/protocol/oauth.md)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from channels.auth.counters import AuthCounters
from channels.auth.guesses import CodeGuesses
from channels.auth.introspected import IntrospectedTokens
from channels.auth.settings import AuthSettings
from hub.audit.log import AuditLog, Recorder
from hub.audit.sign_ins import SignInLog
from hub.core.limits import Limits as HubLimits
from hub.core.ports import Clock
from hub.core.principal import Action, Principal
from hub.core.rates import RateLimit
from hub.security.access import Scope as OAuthScope
from hub.security.connections import address_key
from hub.security.credentials import Credential, hash_secret
from hub.security.demo import TOKEN_ID as DEMO_TOKEN_ID
from hub.security.devices_store import DeviceLimits, DevicesStore
from hub.security.ends import Ends
from hub.security.gate import Gate
from hub.security.grants_bounds import GrantBounds
from hub.security.grants_store import GrantsStore
from hub.security.issuers.store import ExternalStore
from hub.security.oauth.authorization import AuthorizationRequest
from hub.security.oauth.claims import Privileges, id_token
from hub.security.oauth.device import DeviceCode, Pacing
from hub.security.oauth.keys import RS256
from hub.security.oauth.models import Client, Code, Person
from hub.security.oauth.ports import Asker, Shown
from hub.security.oauth.scopes import ALL
from hub.security.oauth.tokens import IdTokenRequest, TokenEndpoint
from hub.security.sign_in import find_user, sign_in
from hub.security.sign_out import SignOut
from hub.security.signing import SigningKeys
from hub.storage.transactions import StorageError, Transactions


class AuthService:
    """Sign-ins, codes, tokens and user information of one hub."""

    __slots__ = (
        "_audit",
        "_clock",
        "_ends",
        "counters",
        "devices",
        "external",
        "gate",
        "guesses",
        "introspected",
        "keys",
        "limits",
        "pacing",
        "scopes",
        "settings",
        "sign_in_log",
        "sign_out_browser",
        "store",
    )

    def __init__(
        self,
        *,
        transactions: Transactions,
        gate: Gate,
        clock: Clock,
        settings: AuthSettings,
        limits: HubLimits,
        scopes: Mapping[str, OAuthScope],
        secret: bytes,
        audit: AuditLog,
    ) -> None:
        """``limits`` are those of the hub; ``scopes`` are those that families have registered; ``secret`` is ``HUB_SECRET``;
        ``audit`` is told of sign-ins and tokens.
        """
        self._audit = audit
        self._clock = clock
        self._ends = Ends(transactions, clock.wall_ms, audit)
        self.counters = AuthCounters()
        self.gate = gate
        self.guesses = CodeGuesses(clock, limits)
        self.keys = SigningKeys(transactions, secret, clock.wall_ms, Recorder(audit), settings.rsa_bits)
        self.limits = Limits(clock, settings)
        self.scopes = scopes
        self.settings = settings
        most = DeviceLimits(settings.max_tenant_device_codes, settings.max_client_device_codes, settings.max_address_device_codes)
        self.devices = DevicesStore(transactions, clock.wall_ms, audit, most)
        self.external = ExternalStore(transactions, clock.wall_ms, settings.max_external_tokens)
        self.pacing = Pacing(settings.device_poll_s)
        self.sign_in_log = SignInLog(transactions, audit)
        self.sign_out_browser = SignOut(gate, self._ends, audit)
        bounds = GrantBounds(settings.max_family_access_tokens, settings.max_family_used_tokens, settings.max_user_codes)
        self.store = GrantsStore(transactions, clock.wall_ms, audit, leeway_s=settings.refresh_leeway_s, bounds=bounds)
        self.introspected = IntrospectedTokens(self.store, gate, clock, self.counters, settings.max_introspected)

    def now_s(self) -> int:
        """The time of day, in seconds since 1970 UTC."""
        return self._clock.wall_ms() // 1000

    def token_endpoint(self, issuer: str) -> TokenEndpoint:
        """The token endpoint of the server under one name."""

        async def sign(asked: IdTokenRequest) -> str:
            claims = id_token(
                *(issuer, asked.client, asked.person, asked.scopes, asked.nonce, asked.auth_time_s, asked.access_token, self.now_s())
            )
            return await self.keys.sign(RS256, "JWT", claims)

        return TokenEndpoint(self.store, self, self._clock.wall_ms, self.scopes, sign, self.devices, self.pacing)

    # -- users --------------------------------------------------------------------------------------------------------

    async def check(self, client: Client, tenant: str, name: str, password: str, address: str) -> Person | None:
        """See :meth:`hub.security.oauth.ports.Users.check`."""
        credential = await self.sign_in(tenant, name, password, address, client)
        return None if credential is None else await self.person_of(credential)

    async def sign_in(
        self, tenant: str, name: str, password: str, address: str, client: Client | None = None, device: str | None = None
    ) -> Credential | None:
        """The credential of a user whose password is right. ``client`` is the one for which the user signs in, and who is of another tenant
        is nobody there; ``device``: see :func:`hub.security.sign_in.trying`.

        Raises:
            TooManyTriesError: see :func:`hub.security.sign_in.sign_in`.
        """
        credential = await sign_in(
            *(self.gate, self.sign_in_log, address, tenant, name, password),
            *("" if client is None else client.id, device),
            within=None if client is None else client.tenant,
        )
        if credential is None:
            self.counters.sign_ins_failed += 1
        else:
            self.counters.sign_ins += 1
        return credential

    async def person_of(self, credential: Credential) -> Person | None:
        """The user of a credential; None if it stands for none, or the user has been removed."""
        if credential.user is not None:
            return await self.store.person(credential.user)
        if credential.id.startswith("user:"):  # of the demo, whose row has the same name
            return await self.store.person_named(credential.tenant, credential.subject)
        return None

    async def signed_in(self, scope: Any) -> tuple[Person, int, Credential] | None:
        """The user who signed in in a browser with a password, and since when, in seconds since 1970 UTC.

        A browser may also be signed in with a token (``POST /api/v1/sign-in``). That is no user's sign-in: a token may be limited to some
        scopes and roles, and the next one that a client gets must not allow more.
        """
        found = await self.gate.signed_in(scope)
        if found is None or not found[1].id.startswith("user:"):
            return None
        sign_in_of, credential = found
        person = await self.person_of(credential)
        return None if person is None else (person, sign_in_of.at_s, credential)

    async def privileges(self, principal: Principal) -> Privileges:
        """The operations that each role of a caller allows."""
        found: dict[str, list[str]] = {}
        for role in principal.roles:
            alone = replace(principal, roles=frozenset({role}), scopes=None)
            found[role] = [
                operation
                for operation in self.gate.decisions.operations
                if (await self.gate.decisions.decide(alone, Action.CALL, operation)).allowed
            ]
        return found

    async def shown(self, principal: Principal) -> Shown | None:
        """The token of a caller, with its user and family; None if it has ended since the caller was identified."""
        if principal.credential == DEMO_TOKEN_ID:
            return Shown(None, principal.tenant, principal.subject, (ALL,), 0, None, None)
        return await self.store.show_credential(principal.credential)

    # -- codes --------------------------------------------------------------------------------------------------------

    async def give_code(self, request: AuthorizationRequest, person: Person, auth_time_s: int) -> str:
        """A new code for a client (RFC 6749 section 4.1.2)."""
        secret = secrets.token_urlsafe(32)
        expires_ms = self._clock.wall_ms() + request.client.lifetimes.code_s * 1000
        code = Code(
            *(request.client.id, request.redirect_uri, request.challenge, person.id, person.generation),
            *(request.scopes, request.nonce, auth_time_s, expires_ms),
        )
        await self.store.add_code(hash_secret(secret), code)
        self.counters.codes += 1
        return secret

    # -- devices ------------------------------------------------------------------------------------------------------

    async def device_of(self, user_code: str, person: Person) -> tuple[tuple[DeviceCode, Client] | None, int]:
        """The device of a user's tenant that waits with this code, and its client; None if there is none. The second value is how many
        seconds the user has to wait after too many wrong codes.

        Raises:
            StorageError: the database does not answer. The code does not count as wrong.
        """
        wait_s = self.guesses.begin(person)
        if wait_s:
            self.counters.user_codes_refused += 1
            return None, wait_s
        try:
            device = await self.devices.find_pending(person.tenant, user_code)
            client = None if device is None else await self.store.client(device.client)
        except StorageError:
            self.guesses.take_back(person)
            raise
        if device is None or client is None:
            self.counters.user_codes_wrong += 1
            return None, 0
        self.guesses.take_back(person)
        return (device, client), 0

    async def answer_device(self, user_code: str, person: Person, auth_time_s: int, address: str, *, allow: bool) -> bool:
        """Note whether a user allows a device; False: it does not wait any more."""
        noted = await self.devices.answer(user_code, person, auth_time_s, address, allow=allow)
        if noted and allow:
            self.counters.devices_allowed += 1
        elif noted:
            self.counters.devices_denied += 1
        return noted

    # -- ends ---------------------------------------------------------------------------------------------------------

    async def sign_out(
        self, scope: Any, principal: Principal, shown: Shown | None, address: str, *, by_cookie: bool, everywhere: bool
    ) -> None:
        """End the token of a caller, which is ``shown``, or of one known by its cookie the sign-in of the browser; ``everywhere``: every
        token and sign-in of the user.

        A browser may have signed in with a token that others show too: whoever has its cookie does not end the token.
        """
        kind, _, number = principal.credential.partition(":")
        client = "" if shown is None or shown.family is None else shown.family.client
        by = self._audit.caller(principal.tenant, principal.subject, address, client)
        user = number if kind == "user" else None if shown is None or shown.person is None else shown.person.id
        if everywhere and user is not None:
            await self._ends.end_user(principal.tenant, user, by)
        elif kind == "external" and everywhere:
            await self.external.block(principal.tenant, principal.subject, self._audit.by(by))
        elif by_cookie:
            pass  # the sign-in ends below
        elif shown is not None and shown.family is not None:
            await self.store.end_family(shown.family.id, Asker(client, address, principal.subject))
        elif kind == "token":
            await self._ends.end_token(number, by)
        elif kind == "external":
            await self.external.end(number, self._audit.by(by))
        if by_cookie:
            await self.sign_out_browser.end(scope, address, client)
        self.counters.sign_outs += 1
        self.gate.refresh_soon()

    async def change_password(self, tenant: str, name: str, old: str, new: str, keep_family: str | None, address: str) -> bool:
        """Give a user another password; the family of the caller lives, all else of the user ends. False: the old password is wrong, or
        there is no such user in the database.
        """
        credential, built_in = await find_user(self.gate, tenant, name)
        stored = None if credential is None or built_in else credential.fingerprint
        if not await self.gate.passwords.verify(old, stored) or credential is None or credential.user is None:
            return False
        by = self._audit.caller(tenant, name, address)
        hashed = await self.gate.passwords.hash(new)
        changed = await self._ends.change_password(credential.user, credential.fingerprint, hashed, keep_family, by)
        self.gate.refresh_soon()
        return changed


class Limits:
    """How often clients, tenants and addresses may ask."""

    __slots__ = ("clients", "pages", "tenants")

    def __init__(self, clock: Clock, settings: AuthSettings) -> None:
        self.clients = RateLimit(clock, settings.token_requests_per_s)
        self.tenants = RateLimit(clock, settings.tenant_token_requests_per_s)
        self.pages = RateLimit(clock, settings.pages_per_s)

    def allow_page(self, address: str) -> bool:
        """Whether an address may ask for a page once more now."""
        return self.pages.allows(address_key(address))

    def allow(self, client: Client, address: str) -> bool:
        """Whether a client may ask for tokens once more now.

        Everybody can read the id of a public client, so its requests are counted by address: nobody can use up what its users may ask for.
        A client that has proved who it is counts for itself and for its tenant.
        """
        if client.public:
            return self.clients.allows(f"{client.id}\x00{address_key(address)}")
        return self.clients.allows(client.id) and self.tenants.allows(client.tenant)
