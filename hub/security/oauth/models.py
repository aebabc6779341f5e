"""What the authorization server knows: clients, codes, families of tokens, and the answers of their store."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Grant(StrEnum):
    """The ways to a token (RFC 6749 section 1.3)."""

    AUTHORIZATION_CODE = "authorization_code"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105
    CLIENT_CREDENTIALS = "client_credentials"
    PASSWORD = "password"  # noqa: S105
    DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


GRANTS: Final = tuple(Grant)
"""The grants that the token endpoint answers."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what a client gets is good, in seconds."""

    access_s: int = 12 * 3600
    refresh_idle_s: int = 30 * 86400
    """A refresh token that is not used."""
    refresh_max_s: int = 90 * 86400
    """A family of tokens, however often it is refreshed."""
    code_s: int = 60


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client."""

    id: str
    tenant: str
    name: str
    public: bool
    """Whether it has no secret, as an application in a browser (RFC 6749 section 2.1)."""
    grants: frozenset[Grant]
    secrets: tuple[str, ...] = ()
    """The hashes of its secrets: two while the secret is being changed."""
    roles: tuple[str, ...] | None = None
    """Its tokens have no other roles of a user than these; the client by itself has them. None: all roles of a user, and none itself."""
    redirect_uris: tuple[str, ...] = ()
    post_logout_uris: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    frame_origins: tuple[str, ...] = ()
    pkce: bool = False
    """Whether a confidential client has to prove itself by PKCE too; a public one always has."""
    consent: bool = False
    lifetimes: Lifetimes = field(default_factory=Lifetimes)

    @property
    def needs_pkce(self) -> bool:
        """Whether its authorization requests need a code challenge."""
        return self.public or self.pkce


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the authorization server tells of it."""

    id: str
    """The id of the row: never used again (OpenID Connect Core section 5.3.2, ``sub``)."""
    tenant: str
    name: str
    number: int | None
    """The ``dbid``."""
    roles: frozenset[str] = frozenset()
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None
    generation: int = 0
    """Rises when the password changes and when the user signs out everywhere; what was issued before ends."""


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code, as it is stored."""

    client: str
    redirect_uri: str
    challenge: str | None
    user: str
    """The id of the user who signed in."""
    generation: int
    scopes: tuple[str, ...]
    nonce: str | None
    auth_time_s: int
    """When the user signed in, in seconds since 1970 UTC (OpenID Connect Core section 2)."""
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Family:
    """One grant: the access and refresh tokens that came of it. When it ends, they all end."""

    id: str
    tenant: str
    client: str
    user: str | None
    """None for a client by itself."""
    scopes: tuple[str, ...]
    auth_time_s: int
    expires_ms: int
    """The end of it, however often it is refreshed."""


@dataclass(frozen=True, slots=True)
class NewTokens:
    """Tokens to be stored, by their hashes."""

    family: Family
    access_hash: str
    access_expires_ms: int
    access_scopes: tuple[str, ...]
    refresh_hash: str | None = None
    refresh_expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """Tokens as the client gets them."""

    access_token: str
    expires_in: int
    scopes: tuple[str, ...]
    refresh_token: str | None = None
    id_token: str | None = None

    def members(self) -> dict[str, object]:
        """The JSON object of the answer (RFC 6749 section 5.1). ``token_type`` is in lower case, as docs/protocol/oauth.md#tokens says."""
        answer: dict[str, object] = {"access_token": self.access_token, "token_type": "bearer", "expires_in": self.expires_in}
        if self.refresh_token is not None:
            answer["refresh_token"] = self.refresh_token
        answer["scope"] = " ".join(self.scopes)
        if self.id_token is not None:
            answer["id_token"] = self.id_token
        return answer
