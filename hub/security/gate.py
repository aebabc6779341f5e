"""Identifies callers and decides what they may do, for every protocol (docs/protocol/credentials.md)."""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.types import Scope

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.principal import Principal, login_key
from hub.http.errors import ApiError
from hub.security import demo
from hub.security.access import Scope as OAuthScope
from hub.security.access_keys import AccessKeySecrets
from hub.security.brake import SignInBrake
from hub.security.connections import RETRY_AFTER_S, connection_of
from hub.security.cookies import SIGN_IN_COOKIE, CookieSigner, SignedIn, read_cookies, set_cookie, statistics_cookie
from hub.security.credentials import MAX_SECRET_LENGTH, Credential, hash_secret
from hub.security.decisions import Decisions
from hub.security.devices import DeviceSigner
from hub.security.directory import Directory, Gone
from hub.security.following import REFRESH_S, Following
from hub.security.origin import from_own_page, header
from hub.security.passwords import HashQueue, PasswordHashes, hashes_of
from hub.security.roles import ANONYMOUS
from hub.security.settings import PasswordHashSettings
from hub.security.signed_requests import SignedRequests
from hub.security.tickets import Opened, Tickets, credential_version
from hub.security.tickets_memory import MemoryTickets
from hub.security.token_sign_ins import TokenSignIns

TICKET_PATHS: Final = ("/ws", "/events")

_TOKEN_SCHEMES: Final = frozenset({b"bearer", b"oauth"})

_ORIGINS_LOGGED: Final = 100
"""Refused origins that are logged, once each. There is a limit because clients choose the origins."""

_MAX_ORIGIN_LENGTH: Final = 200

_SHARE_TAKEN: Final = "this tenant has its share of the server's connections (limits.tenant_share_percent of limits.max_connections)"

_log = structlog.get_logger(__name__)


class Failure(Enum):
    """Why there is no principal."""

    MISSING = "expected a credential, got none"
    BAD_TOKEN = "the token is unknown, expired or malformed"  # noqa: S105
    NO_SCHEME = "Authorization: expected a scheme before the token, as in `Authorization: Bearer TOKEN`, got one word alone"
    UNKNOWN_KEY = "the API key is unknown"
    TENANT_MISMATCH = "the API key and the token are of different tenants"
    BAD_TICKET = "the ticket is unknown, used or expired"
    FOREIGN_ORIGIN = "the sign-in cookie came from a page of another origin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The result of :meth:`Gate.identify`: a principal, or the reason why there is none."""

    principal: Principal | None
    failure: Failure | None
    by_cookie: bool = False
    """Whether the credential was the sign-in cookie, which a browser sends with requests of any page."""
    ticket: Opened | None = None
    """The ticket, if it was the credential. The code that opens its stream must report begin and end to :attr:`Gate.tickets`."""

    @property
    def authenticated(self) -> bool:
        """Whether the caller showed a valid credential."""
        return self.principal is not None and not self.principal.anonymous


def _failed(failure: Failure, *, by_cookie: bool = False) -> Caller:
    return Caller(None, failure, by_cookie)


class Gate:
    """Identifies callers by the rules of docs/protocol/credentials.md#order-of-credentials: the first form of credential that is present
    counts, and if it is not valid the request is refused. What they may do :attr:`decisions` decides.
    """

    __slots__ = (
        "_clock",
        "_directory",
        "_refused_origins",
        "allowed_origins",
        "cookies",
        "decisions",
        "devices",
        "following",
        "hashing",
        "open",
        "passwords",
        "sign_ins",
        "signatures",
        "tickets",
        "token_sign_ins",
    )

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        cookies: CookieSigner,
        *,
        open: bool = False,
        allowed_origins: Collection[str] = (),
        limits: Limits | None = None,
        operations: Mapping[str, str] | None = None,
        scopes: Mapping[str, OAuthScope] | None = None,
        refresh_s: float = REFRESH_S,
        tickets: Tickets | None = None,
        signatures: SignedRequests | None = None,
        passwords: PasswordHashes | None = None,
    ) -> None:
        """Make a gate. From :meth:`start` on it applies changes of credentials.

        Args:
            directory: finds credentials.
            clock: measures when tickets and failed sign-ins expire.
            cookies: signs the sign-in cookie.
            open: admit callers without a credential (``--open``).
            allowed_origins: origins whose pages may use the sign-in cookie.
            limits: the limits of tickets, of failed sign-ins, and of decisions that are remembered.
            operations: what each REST operation does, in words (:attr:`hub.security.access.Access.operations`).
            scopes: the OAuth scopes of families, by name (:attr:`hub.security.access.Access.scopes`).
            refresh_s: seconds between two checks of the database for changes.
            tickets: those that nodes share; by default they are this process's own.
            signatures: knows callers who sign their requests; by default access keys of a secret that nobody knows are good.
            passwords: checks users' passwords; by default at the cost that the settings have by default.
        """
        self._directory = directory
        self.decisions = Decisions(directory, operations=operations, scopes=scopes, limits=limits)
        """Decides what callers may do."""
        self._clock = clock
        self.allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        """Origins of other pages that may use the hub from a browser."""
        self.cookies = cookies
        self.signatures = signatures or SignedRequests(directory, AccessKeySecrets(secrets.token_bytes(32)), clock)
        """Knows callers who sign their requests. Only operations that take signatures ask it."""
        self.devices = DeviceSigner(cookies.device_key, clock)
        """Knows browsers in which users have signed in."""
        self.open = open
        self.tickets: Tickets = MemoryTickets(clock, limits) if tickets is None else tickets
        self.passwords = hashes_of(PasswordHashSettings()) if passwords is None else passwords
        """Makes and checks hashes of users' passwords."""
        self.hashing = HashQueue(limits or Limits())
        """The passwords that wait to be checked."""
        self.token_sign_ins = TokenSignIns(clock, limits or Limits())
        self.sign_ins = SignInBrake(clock, limits)
        """Limits failed sign-ins. Where nodes share a Redis it is replaced before the start by one that counts for all of them."""
        self.following = Following(directory, self.decisions, self.tickets, refresh_s=refresh_s)
        """Has changes of the database take effect."""
        self._refused_origins: set[str] = set()

    # -- identifying callers ----------------------------------------------------------------------------------------

    async def identify(self, scope: Scope, *, statistics_session: str | None = None, cookies: bool = True) -> Caller:
        """Identify who sent an HTTP request or the upgrade of a WebSocket. If it succeeds, the connection counts as having shown a
        credential.

        Args:
            scope: the ASGI scope.
            statistics_session: takes the place of the ``STATISTICS_SESSIONID`` cookie.
            cookies: whether cookies count; callback-polling must not use them.

        Raises:
            ApiError: 503, the caller's tenant already has its share of the connections.
        """
        caller = await self._identify(scope, statistics_session, cookies=cookies)
        if caller.principal is not None:
            self.count(scope, caller.principal)
        return caller

    def count(self, scope: Scope, principal: Principal) -> None:
        """Count the connection of a request as one that has shown a credential.

        Raises:
            ApiError: 503, the caller's tenant already has its share of the connections.
        """
        connection = connection_of(scope)
        if connection is None:
            return
        if not connection.identify(principal.tenant):
            raise ApiError(503, _SHARE_TAKEN, headers={"Retry-After": str(RETRY_AFTER_S)})
        connection.admit(anonymous=False, tenant=principal.tenant)

    async def key_beside(self, scope: Scope, tenant: str) -> Failure | None:
        """Check the API key, if there is one, of a request that shows another credential, of ``tenant``. Returns what is wrong with it.

        Raises:
            LookupUnavailableError: the database does not answer.
        """
        keys = [value for name, value in scope["headers"] if name == b"x-api-key"]
        if not keys:
            return None
        of_key = await self._holder_of(keys[0]) if len(keys) == 1 else None
        if of_key is None:
            return Failure.UNKNOWN_KEY
        return None if of_key.tenant == tenant else Failure.TENANT_MISMATCH

    async def _holder_of(self, key: bytes) -> Credential | None:
        return await self._directory.by_key(hash_secret(key)) if 0 < len(key) <= MAX_SECRET_LENGTH else None

    async def _identify(self, scope: Scope, statistics_session: str | None, *, cookies: bool) -> Caller:
        authorization: list[bytes] = []
        keys: list[bytes] = []
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        for name, content in headers:
            if name == b"authorization":
                authorization.append(content)
            elif name == b"x-api-key":
                keys.append(content)
        if cookies and statistics_session is None:
            statistics_session = statistics_cookie(headers)
        if authorization or keys:
            token = _bearer(authorization) if authorization else None
            if authorization and token is None:
                return _failed(Failure.NO_SCHEME if _lacks_scheme(authorization) else Failure.BAD_TOKEN)
            if len(keys) > 1:
                return _failed(Failure.UNKNOWN_KEY)
            return await self._by_secrets(token, keys[0] if keys else None, statistics_session)
        if cookies and (values := read_cookies(headers, SIGN_IN_COOKIE)):
            return await self._by_cookies(scope, values, statistics_session)
        if scope["path"].rstrip("/") in TICKET_PATHS and b"ticket=" in scope["query_string"]:
            return await self._by_ticket(scope, statistics_session)
        return _failed(Failure.MISSING)

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Caller:
        """Identify the sender of a message by ``{"token": T}`` or ``{"apiKey": K}`` (Bayeux ``ext.authentication``, the hello of
        ``/ws``).
        """
        if authentication is None:
            return _failed(Failure.MISSING)
        if not isinstance(authentication, dict):
            return _failed(Failure.BAD_TOKEN)
        token, key = authentication.get("token"), authentication.get("apiKey")
        if token is None and key is None:
            return _failed(Failure.MISSING)
        if token is not None and not isinstance(token, str):
            return _failed(Failure.BAD_TOKEN)
        if key is not None and not isinstance(key, str):
            return _failed(Failure.UNKNOWN_KEY)
        return await self._by_secrets(
            None if token is None else token.encode("utf-8", "surrogatepass"),
            None if key is None else key.encode("utf-8", "surrogatepass"),
            statistics_session,
        )

    def anonymous(self, *, discriminator: str = "") -> Principal | None:
        """The principal of a caller without a credential: a login for each ``discriminator``. None if the hub runs without ``--open``."""
        if not self.open:
            return None
        login = login_key(demo.TENANT, ANONYMOUS, discriminator or secrets.token_hex(16))
        return Principal(demo.TENANT, ANONYMOUS, frozenset({ANONYMOUS}), login, login, anonymous=True)

    async def _by_secrets(self, token: bytes | None, key: bytes | None, statistics_session: str | None) -> Caller:
        holder: Credential | None = None
        if token is not None:
            holder = await self._directory.by_bearer(token)
            if holder is None:
                return _failed(Failure.BAD_TOKEN)
        if key is not None:
            of_key = await self._holder_of(key)
            if of_key is None:
                return _failed(Failure.UNKNOWN_KEY)
            if holder is not None and holder.tenant != of_key.tenant:
                return _failed(Failure.TENANT_MISMATCH)
            holder = holder or of_key
        assert holder is not None
        return Caller(holder.principal(statistics_session=statistics_session), None)

    async def _by_cookies(self, scope: Scope, values: list[str], statistics_session: str | None) -> Caller:
        """Identify by the first valid sign-in cookie: there may be cookies of the same name from other servers on the same host."""
        origin = (header(scope, b"origin") or "").lower()
        of_client = self._directory.client_origins.tenants(origin)
        if not of_client and not self.from_own_page(scope):
            return _failed(Failure.FOREIGN_ORIGIN, by_cookie=True)
        found = await self._signed_in(values)
        if found is None:
            return _failed(Failure.BAD_TOKEN, by_cookie=True)
        signed_in, credential = found
        if of_client and credential.tenant not in of_client and not self.from_own_page(scope):
            return _failed(Failure.FOREIGN_ORIGIN, by_cookie=True)  # another tenant's client may not act for this user
        principal = credential.principal(statistics_session=statistics_session, discriminator=signed_in.discriminator)
        return Caller(principal, None, by_cookie=True)

    async def signed_in(self, scope: Scope) -> tuple[SignedIn, Credential] | None:
        """The sign-in of the browser that sent a request, and its credential; None if it is not signed in.

        Raises:
            LookupUnavailableError: the database does not answer.
        """
        return await self._signed_in(read_cookies(scope["headers"], SIGN_IN_COOKIE))

    async def _signed_in(self, values: list[str]) -> tuple[SignedIn, Credential] | None:
        for value in values:
            signed_in = self.cookies.read(value)
            if signed_in is None or self._directory.signed_out(signed_in.number):
                continue
            credential = await self._directory.by_id(signed_in.credential)
            if credential is not None and signed_in.is_of(credential):
                return signed_in, credential
        return None

    async def _by_ticket(self, scope: Scope, statistics_session: str | None) -> Caller:
        query: bytes = scope["query_string"]
        shown = [value for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name == "ticket"]
        if not shown:
            return _failed(Failure.MISSING)
        url = scope["path"].rstrip("/"), query
        safe = (
            scope.get("method") == "HEAD"
        )  # it opens no stream, so it must not use up the ticket or replace a stream (RFC 9110 section 9.2.1)
        stream = await (self.tickets.look(shown[0], url) if safe else self.tickets.redeem(shown[0], url))
        # the end of a credential is found out once a second; a stream that is opened again must not use that second
        if stream is None or not await self._still_holds(stream):
            return _failed(Failure.BAD_TICKET)
        principal = stream.principal
        if statistics_session is not None:
            principal = replace(principal, login=login_key(principal.tenant, principal.subject, statistics_session))
        return Caller(principal, None, ticket=None if safe else stream)

    async def issue_ticket(self, principal: Principal) -> str | None:
        """Issue a ticket (:meth:`hub.security.tickets.Tickets.issue`), which holds as long as the principal's credential stays as it is.

        Raises:
            LookupUnavailableError: see there.
        """
        credential = await self.credential_of(principal)
        return await self.tickets.issue(principal, "" if credential is None else credential_version(credential))

    async def _still_holds(self, stream: Opened) -> bool:
        """Whether the credential that got a ticket is valid, and has not changed since."""
        if not stream.principal.credential:
            return True
        if self._directory.login_ended(stream.principal.token_login):
            return False
        credential = await self.credential_of(stream.principal)
        return credential is not None and stream.version in ("", credential_version(credential))

    # -- signing in -------------------------------------------------------------------------------------------------

    def still_good(self, principal: Principal) -> bool:
        """See :meth:`hub.security.directory.Directory.still_good`."""
        return self._directory.still_good(principal)

    async def credential_of(self, principal: Principal) -> Credential | None:
        """The credential of a principal; None if it is no longer valid."""
        return await self._directory.by_id(principal.credential) if principal.credential else None

    def sign_in_cookie(self, credential: Credential, *, secure: bool, lifetime_s: int | None = None, kept: bool = True) -> str:
        """The ``Set-Cookie`` header that signs a browser in with a credential; ``secure`` under TLS. ``lifetime_s`` is by default that of
        the setting ``sign_in_hours``; unless it is ``kept``, the browser forgets the cookie when it is closed.
        """
        lasts_s = self.cookies.lifetime_s if lifetime_s is None else lifetime_s
        return set_cookie(SIGN_IN_COOKIE, self.cookies.sign(credential, lasts_s), max_age_s=lasts_s if kept else None, secure=secure)

    def sign_out_cookie(self, *, secure: bool) -> str:
        """The ``Set-Cookie`` header that signs out."""
        return set_cookie(SIGN_IN_COOKIE, "", max_age_s=0, secure=secure)

    async def demo_cookie(self, *, secure: bool) -> str | None:
        """The ``Set-Cookie`` header that signs a browser in as the user of ``--demo``; None if the hub runs without ``--demo``."""
        user, built_in = await self._directory.by_user(demo.TENANT, demo.USER)
        return self.sign_in_cookie(user, secure=secure) if user is not None and built_in else None

    def may_call(self, scope: Scope) -> bool:
        """Whether a request comes from a page that may read the answer: as :meth:`from_own_page`, or of an origin that a client of any
        tenant has registered. A cookie counts there for users of that tenant alone.
        """
        origin = header(scope, b"origin")
        return (origin is not None and self.allows_origin(origin)) or self.from_own_page(scope)

    def allows_origin(self, origin: str) -> bool:
        """Whether an origin is one of the setting ``allowed_origins``, or of a client."""
        origin = origin.lower()
        return origin in self.allowed_origins or origin in self._directory.client_origins

    def from_own_page(self, scope: Scope) -> bool:
        """Whether a request comes from a page of the hub, from one of an allowed origin, or from a client that is no browser."""
        allowed = from_own_page(scope, self.allowed_origins)
        if not allowed and (origin := header(scope, b"origin")) is not None:
            self._note_refused(origin)
        return allowed

    def _note_refused(self, origin: str) -> None:
        """Log a refused origin once, with the name of the setting that would allow it."""
        origin = origin[:_MAX_ORIGIN_LENGTH]
        if origin in self._refused_origins or len(self._refused_origins) >= _ORIGINS_LOGGED:
            return
        self._refused_origins.add(origin)
        _log.warning("origin_refused", origin=origin, setting="allowed_origins")

    @property
    def directory(self) -> Directory:
        """Finds credentials."""
        return self._directory

    # -- applying changes -------------------------------------------------------------------------------------------

    @property
    def on_revoked(self) -> list[Callable[[Gone], None]]:
        """See :attr:`hub.security.following.Following.on_revoked`."""
        return self.following.on_revoked

    async def start(self) -> None:
        """Begin to apply changes of the database."""
        await self.following.start()

    async def stop(self) -> None:
        """Stop applying changes."""
        await self.following.stop()

    async def refresh(self) -> None:
        """Look for credentials that changed or expired, and end what they opened."""
        await self.following.refresh()

    def refresh_soon(self) -> None:
        """Look for changes at once, since one was made here, and tell the other nodes."""
        self.following.made_change()

    async def readiness(self) -> str | None:
        """What is wrong with the database, for ``/readyz``; None if nothing is."""
        return await self.following.readiness()


def _bearer(values: list[bytes]) -> bytes | None:
    """The token of ``Authorization: Bearer T`` (RFC 6750 section 2.1; the scheme in any case), or of ``Authorization: OAuth T``, which
    clients of Salesforce send (docs/security.md). None for anything else, and if there are two headers.
    """
    if len(values) != 1:
        return None
    scheme, _, token = values[0].strip().partition(b" ")
    return token.strip() or None if scheme.lower() in _TOKEN_SCHEMES else None


def _lacks_scheme(values: list[bytes]) -> bool:
    """Whether the one ``Authorization`` header has a single word that is no scheme: most likely a token without ``Bearer``."""
    if len(values) != 1:
        return False
    words = values[0].split()
    return len(words) == 1 and words[0].lower() not in _TOKEN_SCHEMES
