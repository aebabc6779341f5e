"""Ending and describing tokens: revocation (RFC 7009) and introspection (RFC 7662), for clients that have shown who they are."""

from __future__ import annotations

from typing import Any

from hub.security.credentials import hash_secret
from hub.security.oauth.claims import introspection
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Client
from hub.security.oauth.ports import OAuthStore, Shown
from hub.security.oauth.tokens import MAX_TOKEN, TokenRequest


async def revoke(client: Client, request: TokenRequest, store: OAuthStore) -> None:
    """End the family of a token, of either kind. A token that is unknown, has ended, or is another client's changes nothing, and the client
    is not told (RFC 7009 section 2.2). ``token_type_hint`` is not needed: both kinds are found by their hash.

    Raises:
        OAuthError: there is no ``token``.
    """
    shown = await _find(request.parameters.require("token"), store)
    if shown is not None and shown.family is not None and shown.family.client == client.id:
        await store.end_family(shown.family.id)


async def introspect(client: Client, request: TokenRequest, store: OAuthStore, issuer: str) -> dict[str, Any]:
    """What a token is: for confidential clients, and of their tenant alone.

    Raises:
        OAuthError: the client is public, or there is no ``token``.
    """
    if client.public:
        raise OAuthError("unauthorized_client", "introspection is for clients with a secret")
    shown = await _find(request.parameters.require("token"), store)
    return introspection(shown if shown is not None and shown.tenant == client.tenant else None, issuer)


async def _find(token: str, store: OAuthStore) -> Shown | None:
    return await store.show(hash_secret(token)) if len(token) <= MAX_TOKEN else None
