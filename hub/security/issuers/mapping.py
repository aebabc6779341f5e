"""What the claims of an issuer's token are worth here: tenant, subject and roles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hub.security.issuers.refusals import Reason, RefusedTokenError
from hub.security.issuers.settings import IssuerSettings
from hub.security.models import RESERVED, is_name

MAX_VALUES: Final = 1_000
"""Values of the claim of roles that are looked at; somebody in more groups has those that come first."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token stands for."""

    tenant: str
    subject: str
    roles: frozenset[str]
    session: str | None
    """Names the login, so that a newer token of the same sign-in has the login of the old one; None if the issuer does not say."""
    token_ref: str
    """What the token is blocked by: a hash of its ``jti``, or of its header and payload if it has none."""
    subject_ref: str
    """What all tokens of its subject are blocked by."""


def identify(claims: Mapping[str, Any], issuer: IssuerSettings, token: bytes) -> Identity:
    """Map the claims of a token that is good.

    Raises:
        RefusedTokenError: ``tenant`` or ``subject``.
    """
    tenant = _tenant(claims, issuer)
    name = _claim(claims, issuer.subject_claim)
    if not isinstance(name, str) or not name:
        raise RefusedTokenError(Reason.SUBJECT, f"{issuer.subject_claim}: expected a text")
    subject = issuer.prefix + name
    if not is_name(subject):
        raise RefusedTokenError(
            Reason.SUBJECT, f"{issuer.subject_claim}: expected at most 128 characters, none of them a control character"
        )
    if subject.startswith(RESERVED) and not subject.startswith(f"ext:{issuer.name}:"):
        raise RefusedTokenError(Reason.SUBJECT, f"{issuer.subject_claim}: begins as only keys, clients or other issuers do")
    session, jti = claims.get("sid"), claims.get("jti")
    # without the signature: of one ECDSA signature anybody can make a second that is good too, by the negative of its number s
    signed = token.rpartition(b".")[0]
    return Identity(
        tenant=tenant,
        subject=subject,
        roles=_roles(claims, issuer),
        session=_hash("session", issuer.issuer, subject, session) if isinstance(session, str) and session else None,
        token_ref=block_ref(jti) if isinstance(jti, str) and jti else block_ref(hashlib.sha256(signed).hexdigest()),
        subject_ref=block_ref(subject),
    )


def block_ref(name: str) -> str:
    """The reference by which a token is blocked: a hash of its ``jti`` or of its subject, since either may be long."""
    return _hash("block", name)


def _tenant(claims: Mapping[str, Any], issuer: IssuerSettings) -> str:
    if issuer.tenant is not None:
        return issuer.tenant
    assert issuer.tenant_claim is not None
    value = _claim(claims, issuer.tenant_claim)
    # of several values none is chosen: the tenant must not hang on their order
    found = issuer.tenants.get(value) if isinstance(value, str) else None
    if found is None:
        raise RefusedTokenError(Reason.TENANT, f"{issuer.tenant_claim}: no tenant stands for its value")
    return found


def _roles(claims: Mapping[str, Any], issuer: IssuerSettings) -> frozenset[str]:
    found = set(issuer.default_roles)
    if issuer.roles_claim is not None:
        for value in _values(_claim(claims, issuer.roles_claim)):
            found.update(issuer.roles.get(value, ()))
    return frozenset(found)


def _values(claim: Any) -> Iterator[str]:
    """The texts of a claim: of a list, or of one text with blanks between."""
    values = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else ()
    return (each for each in values[:MAX_VALUES] if isinstance(each, str))


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, as it stands; else where dots lead into objects. Some issuers have dots in names, such as those of URLs."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
