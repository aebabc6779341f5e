"""Tokens and API keys: makes them, hashes them for the database, and makes the principal that they stand for."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from hub.core.principal import Principal, login_key
from hub.security.roles import Grants

TOKEN_PREFIX: Final = "hubt_"  # noqa: S105  every token begins so: secret scanners, and the masking of logs, recognise it
KEY_PREFIX: Final = "hubk_"

CLIENT_SUBJECT: Final = "client:"
"""Begins the subject of an OAuth client by itself; no user's name begins so (RFC 9700 section 4.15)."""

MAX_SECRET_LENGTH: Final = 1024
"""Length of a token or key in bytes at most; a longer text is refused."""


def new_token() -> str:
    """A bearer token of 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_key() -> str:
    """An API key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def new_id() -> str:
    """Generate the id of a row. It is not secret, and short enough to type."""
    return secrets.token_hex(6)


def sign_in_discriminator(number: str) -> str:
    """Tells the logins of one user apart: each sign-in of a browser is one."""
    return f"sign-in:{number}"


def hash_secret(secret: str | bytes) -> str:
    """The hash of a token or key as the database stores it: SHA-256 in hexadecimal.

    A lone surrogate, which a JSON text can contain, is hashed too; no token or key has this hash.
    """
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    return hashlib.sha256(raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as it was read from the database. If a later read gives another value, the sessions that it opened must end."""

    id: str
    """``token:``, ``access:`` (a token of OAuth), ``key:``, ``aws:`` (an access key) or ``user:`` with the row's id."""
    tenant: str
    subject: str
    roles: frozenset[str]
    grants: Grants
    fingerprint: str
    """The stored hash of the secret. That of a password changes when the password does."""
    expires_ms: int | None = None
    user: str | None = None
    """The id of the user whom it stands for; None for keys, clients and tokens of other subjects."""
    family: str | None = None
    """The family of an OAuth token: it ends with that, and names its logins, so that a refreshed token has the login of the old one."""
    scopes: frozenset[str] | None = None
    """See :attr:`hub.core.principal.Principal.scopes`."""
    client: str | None = None
    """The id of the client that got an OAuth token."""
    generation: int = 0
    """Of a user: how often all sign-ins were ended; a cookie holds for one generation. Of an access key: the number of its secret."""

    def principal(self, *, statistics_session: str | None = None, discriminator: str | None = None) -> Principal:
        """The principal. ``discriminator`` distinguishes the logins of one credential if its secret cannot (sign-in by password)."""
        own = login_key(self.tenant, self.subject, discriminator or self._own_login)
        login = login_key(self.tenant, self.subject, statistics_session) if statistics_session else own
        return Principal(
            self.tenant, self.subject, self.roles, login, own, credential=self.id, scopes=self.scopes, expires_ms=self.expires_ms
        )

    @property
    def _own_login(self) -> str:
        return f"token:{self.fingerprint}" if self.family is None else f"family:{self.family}"
