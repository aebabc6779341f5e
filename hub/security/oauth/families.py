"""Ending and describing tokens: revocation (RFC 7009) and introspection (RFC 7662), for clients that have shown who they are."""

from __future__ import annotations

from typing import Any, Protocol

from hub.security.credentials import hash_secret
from hub.security.oauth.claims import introspection
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Client
from hub.security.oauth.parameters import Parameters
from hub.security.oauth.ports import Asker, OAuthStore, Shown
from hub.security.oauth.tokens import MAX_TOKEN, TokenRequest


async def revoke(client: Client, request: TokenRequest, store: OAuthStore) -> None:
    """End the family of a token, of either kind. A token that is unknown, has ended, or is another client's changes nothing, and the client
    is not told (RFC 7009 section 2.2). ``token_type_hint`` is not needed: both kinds are found by their hash.

    Raises:
        OAuthError: there is no ``token``.
    """
    shown = await _find(request.parameters.require("token"), store)
    if shown is not None and shown.family is not None and shown.family.client == client.id:
        await store.end_family(shown.family.id, Asker(client.id, request.address))


class ClientsAndTokens(Protocol):
    """Where clients and tokens are found: the store, or what remembers some of it."""

    async def client(self, client_id: str) -> Client | None:
        """See :meth:`hub.security.oauth.ports.OAuthStore.client`."""
        ...

    async def client_and_token(self, client_id: str, digest: str) -> tuple[Client | None, Shown | None]:
        """See :meth:`hub.security.oauth.ports.OAuthStore.client_and_token`."""
        ...


class ClientAndToken:
    """The client of a request and the token that it names, read at once: a server may ask about every request of its own."""

    __slots__ = ("_store", "_token", "shown")

    def __init__(self, store: ClientsAndTokens, parameters: Parameters) -> None:
        self._store = store
        self._token = parameters.get("token")
        self.shown: Shown | None = None
        """The token, as :meth:`client` has found it; None if it is not good."""

    async def client(self, client_id: str) -> Client | None:
        """Find a client, and the token with it."""
        if self._token is None or len(self._token) > MAX_TOKEN:
            return await self._store.client(client_id)
        client, self.shown = await self._store.client_and_token(client_id, hash_secret(self._token))
        return client


def introspect(client: Client, request: TokenRequest, shown: Shown | None, issuer: str) -> dict[str, Any]:
    """What a token is: for confidential clients, and of their tenant alone. ``shown`` is that of :class:`ClientAndToken`.

    Raises:
        OAuthError: the client is public, or there is no ``token``.
    """
    if client.public:
        raise OAuthError("unauthorized_client", "introspection is for clients with a secret")
    request.parameters.require("token")
    return introspection(shown if shown is not None and shown.tenant == client.tenant else None, issuer)


async def _find(token: str, store: OAuthStore) -> Shown | None:
    return await store.show(hash_secret(token)) if len(token) <= MAX_TOKEN else None
