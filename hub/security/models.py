"""Tenants, roles, users, API keys and tokens as administrators see them, without their secrets, and the rules for their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hub.security.oauth.models import Client
from hub.security.roles import Grant

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff](?:[^\x00-\x1f\x7f\ud800-\udfff]{0,126}[^\x00-\x20\x7f\ud800-\udfff])?")
_RESERVED: Final = ("key:", "client:")


class AdminError(Exception):
    """An administrative change was refused. The text names the field, what was expected, and what came."""


class NotThereError(AdminError):
    """The object to show, change or remove does not exist; the text names those that exist."""


class ExistsError(AdminError):
    """The name is taken already."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, and how many users, keys and tokens it has. ``created_ms`` is in milliseconds since 1970 UTC, here and below."""

    name: str
    created_ms: int
    users: int
    keys: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a tenant's own."""

    tenant: str
    name: str
    grants: tuple[Grant, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class User:
    """A user, without the password."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, without its secret. ``roles`` is None if it has the roles of its user."""

    id: str
    tenant: str
    subject: str
    user: str | None
    roles: tuple[str, ...] | None
    expires_ms: int | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class ClientRow:
    """An OAuth client, without its secrets. ``roles`` is None if its tokens have all roles of their users."""

    id: str
    tenant: str
    name: str
    public: bool
    grants: tuple[str, ...]
    roles: tuple[str, ...] | None
    redirect_uris: tuple[str, ...]
    post_logout_uris: tuple[str, ...]
    origins: tuple[str, ...]
    frame_origins: tuple[str, ...]
    pkce: bool
    consent: bool
    secrets: int
    """How many secrets are good."""
    access_s: int
    """For how long its access tokens are good."""

    @classmethod
    def of(cls, client: Client) -> ClientRow:
        """The row of a client."""
        return cls(
            *(client.id, client.tenant, client.name, client.public, tuple(sorted(grant.name.lower() for grant in client.grants))),
            *(client.roles, client.redirect_uris, client.post_logout_uris, client.origins, client.frame_origins),
            *(client.needs_pkce, client.consent, len(client.secrets), client.lifetimes.access_s),
        )


def is_tenant_name(name: str) -> bool:
    """Whether a text can be a tenant's name. Few characters are allowed, since the name is part of Redis keys and topics."""
    return _TENANT.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Whether a text can name a user, a key or a token's subject: 1-128 characters, no control characters, no blank at the ends."""
    return _NAME.fullmatch(name) is not None


def check_name(field: str, name: str) -> None:
    """Check the name of a user, a key or a token's subject; ``field`` is what the error calls it.

    Raises:
        AdminError: the name is not valid.
    """
    if not is_name(name):
        raise AdminError(f"{field}: expected 1-128 characters without control characters or outer blanks, got {name!r}")
    if name.startswith(_RESERVED):
        reserved = " or ".join(map(repr, _RESERVED))
        raise AdminError(f"{field}: expected a name that does not begin with {reserved}, which stand for keys and clients, got {name!r}")
