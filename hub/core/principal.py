"""Who is calling: what a credential yields."""

import hashlib
from dataclasses import dataclass, replace
from enum import Enum


class Action(Enum):
    """What the one decision function is asked about."""

    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    CALL = "call"
    """A REST operation; its resource is a path of words, like ``/statistics/read``."""

    __hash__ = object.__hash__  # each member exists once; that of Enum runs in Python, and decisions are looked up for each message


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, bound to one tenant.

    ``login`` tells the logins of one subject apart (docs/protocol/credentials.md#logins): the ``STATISTICS_SESSIONID`` cookie, or without
    it a hash of the credential. ``token_login`` is always the latter: a session that has the cookie also hears what was asked for by token
    alone.
    """

    tenant: str
    subject: str
    roles: frozenset[str]
    login: str
    token_login: str
    credential: str = ""
    """Id of the credential's row, so that its removal can end what it opened; empty for built-in principals."""
    anonymous: bool = False
    scopes: frozenset[str] | None = None
    """The scopes that an OAuth token is limited to; None: it may do all that its roles allow."""
    expires_ms: int | None = None
    """When the credential ends by itself, in milliseconds since 1970 UTC; None: never."""
    renewed_login: str = ""
    """The login that the present credential names, where it took the place of another one on a live session; else empty."""

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences, beside ``all``, whose messages this principal may receive."""
        return (self.login,) if self.login == self.token_login else (self.login, self.token_login)

    def same_caller(self, other: "Principal") -> bool:
        """Whether both are one subject of one tenant: what a session asks of every later request
        (docs/protocol/credentials.md#whose-a-session-is).
        """
        return self.tenant == other.tenant and self.subject == other.subject

    def succeeded_by(self, newer: "Principal") -> "Principal":
        """What a session is after ``newer``, of the same caller, has taken the place of this one. Its login stays, for that is what its
        statistics are opened by.
        """
        return replace(newer, login=self.login, token_login=self.token_login, renewed_login=newer.token_login)


def login_key(tenant: str, subject: str, discriminator: str) -> str:
    """The audience of one login: a hash, so that neither a cookie nor a token can be read from a topic or a Redis key."""
    return hashlib.blake2b("\x00".join((tenant, subject, discriminator)).encode(), digest_size=16).hexdigest()


SUBJECT = "@"
"""Begins the audience of a topic that is for all logins of one subject. That of a login is a hash in hex and never begins so."""


def subject_audience(subject: str) -> str:
    """The audience of a topic that is for all logins of one subject."""
    return f"{SUBJECT}{subject}"
