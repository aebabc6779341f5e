"""OAuth tokens that are limited to a scope, as the token endpoint stores them."""

from __future__ import annotations

from hub.security.clients_queries import insert_client
from hub.security.credentials import hash_secret, new_id
from hub.security.grants_store import GrantsStore
from hub.security.oauth.models import Client, Family, Grant, NewTokens
from hub.security.oauth.ports import Asker
from tests.hub.security.conftest import Access

DAY_MS = 86_400_000


async def limited_token(access: Access, user: str, scope: str) -> str:
    """A token for a user, limited to a scope."""
    client = Client("app", "acme", "App", public=True, grants=frozenset({Grant.PASSWORD}))
    now_ms = access.clock.wall_ms()
    await access.transactions.write(lambda tx: insert_client(tx, client, now_ms))
    family = Family(new_id(), "acme", "app", user, (scope,), now_ms // 1000, now_ms + DAY_MS)
    secret = "hubt_limited"
    tokens = NewTokens(family, hash_secret(secret), now_ms + DAY_MS, (scope,))
    await GrantsStore(access.transactions, access.clock.wall_ms, access.audit).add_tokens(tokens, Asker("app", "192.0.2.8"))
    return secret
