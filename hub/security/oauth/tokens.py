"""The token endpoint (RFC 6749 section 3.2): who gets which tokens for what."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from hub.security.credentials import hash_secret, new_id, new_token
from hub.security.oauth.clients import must_have
from hub.security.oauth.device import DeviceCode, DeviceStore, Pacing, check_polled
from hub.security.oauth.errors import OAuthError, invalid_grant, said
from hub.security.oauth.models import Client, Code, Family, Grant, Issued, NewTokens, Person
from hub.security.oauth.parameters import Parameters
from hub.security.oauth.pkce import check_verifier
from hub.security.oauth.ports import Asker, OAuthStore, Users
from hub.security.oauth.scopes import OPENID, narrowed, parse_scope

REFRESH_PREFIX: Final = "hubr_"

MAX_TOKEN: Final = 1024
"""Characters of a code or token at most; a longer one is not looked for."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to the token endpoint."""

    parameters: Parameters
    authorization: list[str]
    """The values of the header ``Authorization``."""
    address: str
    """Where it comes from, for the limit on failed passwords."""


@dataclass(frozen=True, slots=True)
class IdTokenRequest:
    """What an ID token is to say."""

    client: Client
    person: Person
    scopes: tuple[str, ...]
    nonce: str | None
    auth_time_s: int
    access_token: str


class TokenEndpoint:
    """Answers token requests."""

    __slots__ = ("_devices", "_grants", "_id_token", "_now_ms", "_pacing", "_scopes", "_store", "_users")

    def __init__(
        self,
        store: OAuthStore,
        users: Users,
        now_ms: Callable[[], int],
        scopes: Collection[str],
        id_token: Callable[[IdTokenRequest], Awaitable[str]],
        devices: DeviceStore,
        pacing: Pacing,
    ) -> None:
        """``now_ms`` is the time of day in milliseconds since 1970 UTC, ``scopes`` are those that families have registered, ``id_token``
        signs an ID token, ``pacing`` limits how often devices ask.
        """
        self._devices = devices
        self._pacing = pacing
        self._store = store
        self._users = users
        self._now_ms = now_ms
        self._scopes = scopes
        self._id_token = id_token
        self._grants = {
            Grant.AUTHORIZATION_CODE: self._code,
            Grant.REFRESH_TOKEN: self._refresh,
            Grant.CLIENT_CREDENTIALS: self._client,
            Grant.PASSWORD: self._password,
            Grant.DEVICE_CODE: self._device,
        }

    async def answer(self, client: Client, request: TokenRequest) -> Issued:
        """The tokens that a request of a client gets, which has shown who it is (:func:`hub.security.oauth.clients.authenticate`).

        Raises:
            OAuthError: it gets none.
        """
        wanted = request.parameters.require("grant_type")
        found = next((grant for grant in self._grants if grant == wanted), None)
        if found is None:
            raise OAuthError("unsupported_grant_type", f"grant_type: expected one of {', '.join(self._grants)}, got {said(wanted)}")
        must_have(client, found)
        return await self._grants[found](client, request)

    async def _code(self, client: Client, request: TokenRequest) -> Issued:
        parameters = request.parameters
        shown = parameters.require("code")
        redirect_uri, verifier = parameters.require("redirect_uri"), parameters.get("code_verifier")
        made = _Made()

        def issue(code: Code, person: Person) -> NewTokens:
            if code.client != client.id:
                raise invalid_grant()
            if code.redirect_uri != redirect_uri:
                raise invalid_grant("redirect_uri: expected the one of the authorization request")
            check_verifier(code.challenge, verifier)
            if code.generation != person.generation:
                raise invalid_grant()
            return made.first(client, person.id, code.scopes, code.auth_time_s, self._now_ms(), refresh=True)

        code, person = await self._store.redeem_code(_hash(shown), issue, Asker(client.id, request.address))
        return await self._issued(made, code.scopes, client, person, code.nonce, code.auth_time_s)

    async def _refresh(self, client: Client, request: TokenRequest) -> Issued:
        parameters = request.parameters
        shown, asked = parameters.require("refresh_token"), parameters.get("scope")
        made = _Made()

        def issue(family: Family, _: Person | None) -> NewTokens:
            if family.client != client.id:
                raise invalid_grant()
            return made.next(client, family, narrowed(asked, family.scopes), self._now_ms())

        family, person = await self._store.rotate(_hash(shown), issue, Asker(client.id, request.address))
        return await self._issued(made, narrowed(asked, family.scopes), client, person, None, family.auth_time_s)

    async def _client(self, client: Client, request: TokenRequest) -> Issued:
        if client.public:
            raise OAuthError("unauthorized_client", "grant_type: client_credentials is for clients with a secret")
        scopes = parse_scope(request.parameters.get("scope"), self._scopes)
        if OPENID in scopes:
            raise OAuthError("invalid_scope", "scope: openid tells of a user, and here is none")
        made, now_ms = _Made(), self._now_ms()
        tokens = made.first(client, None, scopes, now_ms // 1000, now_ms, refresh=False)
        await self._store.add_tokens(tokens, Asker(client.id, request.address))
        return await self._issued(made, scopes, client, None, None, now_ms // 1000)

    async def _password(self, client: Client, request: TokenRequest) -> Issued:
        parameters = request.parameters
        name, password = parameters.require("username"), parameters.require("password")
        scopes = parse_scope(parameters.get("scope"), self._scopes)
        tenant, backslash, user = name.partition("\\")
        if not backslash:
            tenant, user = client.tenant, name
        person = await self._users.check(client, tenant, user, password, request.address)
        if person is None:
            raise invalid_grant()
        made, now_ms = _Made(), self._now_ms()
        tokens = made.first(client, person.id, scopes, now_ms // 1000, now_ms, refresh=True)
        await self._store.add_tokens(tokens, Asker(client.id, request.address))
        return await self._issued(made, scopes, client, person, None, now_ms // 1000)

    async def _device(self, client: Client, request: TokenRequest) -> Issued:
        digest = _hash(request.parameters.require("device_code"))
        device = await self._devices.find(digest)
        if device is not None and device.client == client.id:  # others must not slow a device down
            self._pacing.asked(digest, self._now_ms())
        try:
            check_polled(device, client.id, self._now_ms())
        except OAuthError as error:
            if error.error != "authorization_pending":
                self._pacing.forget(digest)
            raise
        made = _Made()

        def issue(found: DeviceCode, person: Person) -> NewTokens:
            if found.generation != person.generation:
                raise invalid_grant()
            return made.first(client, person.id, found.scopes, found.auth_time_s, self._now_ms(), refresh=True)

        self._pacing.forget(digest)
        claimed, person = await self._devices.redeem(digest, issue, Asker(client.id, request.address))
        return await self._issued(made, claimed.scopes, client, person, None, claimed.auth_time_s)

    async def _issued(
        self, made: _Made, scopes: tuple[str, ...], client: Client, person: Person | None, nonce: str | None, auth_time_s: int
    ) -> Issued:
        id_token = None
        if person is not None and OPENID in scopes:
            id_token = await self._id_token(IdTokenRequest(client, person, scopes, nonce, auth_time_s, made.access))
        return Issued(made.access, made.expires_in, scopes, made.refresh, id_token)


class _Made:
    """The secrets of one answer. They are made before the transaction, which stores their hashes."""

    __slots__ = ("access", "expires_in", "refresh")

    def __init__(self) -> None:
        self.access = new_token()
        self.refresh: str | None = None
        self.expires_in = 0

    def first(
        self, client: Client, user: str | None, scopes: tuple[str, ...], auth_time_s: int, now_ms: int, *, refresh: bool
    ) -> NewTokens:
        """The first tokens of a new family. ``refresh``: with a refresh token, if the client may use one."""
        refreshed = refresh and Grant.REFRESH_TOKEN in client.grants
        lasts_s = client.lifetimes.refresh_max_s if refreshed else client.lifetimes.access_s
        family = Family(new_id(), client.tenant, client.id, user, scopes, auth_time_s, now_ms + lasts_s * 1000)
        return self._of(client, family, scopes, now_ms, refresh=refreshed)

    def next(self, client: Client, family: Family, scopes: tuple[str, ...], now_ms: int) -> NewTokens:
        """The tokens that follow on a refresh token of a family."""
        return self._of(client, family, scopes, now_ms, refresh=True)

    def _of(self, client: Client, family: Family, scopes: tuple[str, ...], now_ms: int, *, refresh: bool) -> NewTokens:
        expires_ms = min(now_ms + client.lifetimes.access_s * 1000, family.expires_ms)
        self.expires_in = (expires_ms - now_ms) // 1000
        if not refresh:
            return NewTokens(family, hash_secret(self.access), expires_ms, scopes)
        self.refresh = REFRESH_PREFIX + secrets.token_urlsafe(32)
        refresh_expires_ms = min(now_ms + client.lifetimes.refresh_idle_s * 1000, family.expires_ms)
        return NewTokens(family, hash_secret(self.access), expires_ms, scopes, hash_secret(self.refresh), refresh_expires_ms)


def _hash(shown: str) -> str:
    """The hash of a code or token that came in a request.

    Raises:
        OAuthError: ``invalid_grant``, it is too long for one of this server's.
    """
    if len(shown) > MAX_TOKEN:
        raise invalid_grant()
    return hash_secret(shown)
