"""Tokens and API keys: how they are made, how the database stores them, and the principal that they stand for."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from hub.core.principal import Principal, login_key
from hub.security.roles import Grants

TOKEN_PREFIX: Final = "hubt_"  # noqa: S105  the beginning of every token, so that secret scanners and the log's mask find them
KEY_PREFIX: Final = "hubk_"

MAX_SECRET_LENGTH: Final = 1024
"""The longest token or key, in bytes; a longer text is not one."""


def new_token() -> str:
    """A bearer token of 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_key() -> str:
    """An API key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def new_id() -> str:
    """Generate the id of a row: not secret, and short enough to type."""
    return secrets.token_hex(6)


def hash_secret(secret: str | bytes) -> str:
    """The hash of a token or key as the database stores it: SHA-256 in hexadecimal.

    A lone surrogate, which JSON can bring, is hashed as it is, and matches none.
    """
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    return hashlib.sha256(raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as it was read. If a later read yields another value, the sessions that it opened have to end."""

    id: str
    """``token:...``, ``key:...`` or ``user:...``, with the row's id."""
    tenant: str
    subject: str
    roles: frozenset[str]
    grants: Grants
    fingerprint: str
    """The stored hash of the secret. That of a password changes when the password does."""
    expires_ms: int | None = None

    def principal(self, *, statistics_session: str | None = None, discriminator: str | None = None) -> Principal:
        """The principal. ``discriminator`` tells logins of one credential apart where the secret does not (sign-in by password)."""
        own = login_key(self.tenant, self.subject, discriminator or f"token:{self.fingerprint}")
        login = login_key(self.tenant, self.subject, statistics_session) if statistics_session else own
        return Principal(self.tenant, self.subject, self.roles, login, own, credential=self.id)
