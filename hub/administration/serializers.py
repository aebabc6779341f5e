"""How users, roles, clients, keys and tokens look in answers. No answer has a secret but that of the call that made it."""

from __future__ import annotations

from typing import Any

from hub.security.models import AccessKey, ClientRow, Key, Role, Token, User
from hub.security.oauth.models import Client
from hub.security.roles import Grants


def user_entry(user: User) -> dict[str, Any]:
    """A user."""
    return {
        "name": user.name,
        "roles": list(user.roles),
        "dbid": user.number,
        "disabled": user.disabled,
        "givenName": user.given_name,
        "familyName": user.family_name,
        "email": user.email,
        "createdMs": user.created_ms,
    }


def role_entry(role: Role) -> dict[str, Any]:
    """A role of a tenant's own."""
    return {"name": role.name, "grants": [grant.to_json() for grant in role.grants], "createdMs": role.created_ms}


def built_in_entry(name: str, grants: Grants) -> dict[str, Any]:
    """A built-in role."""
    return {"name": name, "grants": [grant.to_json() for grant in grants], "builtIn": True}


def client_entry(client: Client) -> dict[str, Any]:
    """A client, without its secrets."""
    row = ClientRow.of(client)
    return {
        "id": row.id,
        "name": row.name,
        "public": row.public,
        "grants": list(row.grants),
        "roles": None if row.roles is None else list(row.roles),
        "redirectUris": list(row.redirect_uris),
        "postLogoutUris": list(row.post_logout_uris),
        "origins": list(row.origins),
        "frameOrigins": list(row.frame_origins),
        "pkce": row.pkce,
        "consent": row.consent,
        "secrets": row.secrets,
        "accessSeconds": row.access_s,
    }


def key_entry(key: Key | AccessKey) -> dict[str, Any]:
    """An API key or an access key, without its secret."""
    entry = {"name": key.name, "roles": list(key.roles), "createdMs": key.created_ms}
    if isinstance(key, AccessKey):
        entry |= {"accessKeyId": key.id, "generation": key.generation, "rotatedMs": key.rotated_ms}
    return entry


def token_entry(token: Token) -> dict[str, Any]:
    """A token, without its secret."""
    return {
        "id": token.id,
        "subject": token.subject,
        "user": token.user is not None,
        "roles": None if token.roles is None else list(token.roles),
        "expiresMs": token.expires_ms,
        "createdMs": token.created_ms,
    }
