"""Tenants, roles, users, API keys and tokens as administrators see them, without their secrets, and the rules for their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hub.security.oauth.models import Client
from hub.security.roles import Grant

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff](?:[^\x00-\x1f\x7f\ud800-\udfff]{0,126}[^\x00-\x20\x7f\ud800-\udfff])?")
RESERVED: Final = ("key:", "client:", "ext:")
"""Begin the subjects of keys, of clients by themselves, and of external issuers: no user has such a name."""


class AdminError(Exception):
    """An administrative change was refused. The text names the field, what was expected, and what came."""


class NotThereError(AdminError):
    """The object to show, change or remove does not exist; the text names those that exist."""


class ExistsError(AdminError):
    """The name is taken already."""


class UnknownRoleError(NotThereError):
    """A role that is to be given does not exist."""


class BuiltInError(AdminError):
    """A role of the hub itself is to be shown, changed or removed as if it were a tenant's own."""


class InUseError(AdminError):
    """What is to be removed is still needed by others."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, and how many users, keys, tokens and clients it has. ``created_ms`` is in milliseconds since 1970 UTC, here and below."""

    name: str
    created_ms: int
    users: int
    keys: int
    tokens: int
    clients: int = 0


@dataclass(frozen=True, slots=True)
class Role:
    """A role of a tenant's own."""

    tenant: str
    name: str
    grants: tuple[Grant, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class User:
    """A user, without the password. ``number`` is the ``dbid`` of the Authentication API; None until a hub has given one."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int
    number: int | None = None
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    disabled: bool = False
    """Whether the user may not sign in, and none of the user's tokens is good."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without its secret."""

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key that signs requests, without its secret. ``generation`` counts its secrets from 1, ``rotated_ms`` is when it got the present
    one; None: it has the first.
    """

    id: str
    tenant: str
    name: str
    roles: tuple[str, ...]
    created_ms: int
    generation: int
    rotated_ms: int | None = None


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
    if name.startswith(RESERVED):
        reserved = " or ".join(map(repr, RESERVED))
        raise AdminError(f"{field}: expected a name that does not begin with {reserved}, which others have, got {name!r}")
