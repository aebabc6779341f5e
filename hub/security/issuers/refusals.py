"""Why a token of an external issuer is refused. The caller is told no more than that it is not good; the reasons are counted and logged."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reason; its value is the label of ``hub_external_tokens_refused_total``."""

    MALFORMED = "malformed"
    """No JSON Web Token of this kind: too long, no base64url, no JSON, a name twice, a forbidden header, an ID token."""
    ISSUER = "issuer"
    """Nobody knows its issuer."""
    ALGORITHM = "algorithm"
    """The issuer may not sign so."""
    KEY = "key"
    """The issuer has no key of that name and kind."""
    SIGNATURE = "signature"
    """The signature is wrong."""
    EXPIRED = "expired"
    """It has expired, is good for too long, or not yet."""
    AUDIENCE = "audience"
    """It is for another service."""
    SUBJECT = "subject"
    """It names nobody who can be a subject here."""
    TENANT = "tenant"
    """Its claim leads to no tenant, or to one that is not there."""
    BLOCKED = "blocked"
    """An administrator has blocked it, or its user has signed out."""


class RefusedTokenError(Exception):
    """A token of an external issuer is not good. The text never has a part of the token."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.why = why
