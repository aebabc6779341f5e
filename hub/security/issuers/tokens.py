"""Reads and checks JSON Web Tokens (RFC 7519) by the rules of RFC 8725 and RFC 9068. Without I/O: keys and time come in.

Everything is bounded before it is decoded, and checked from the cheap to the dear: length, alphabet, header, issuer, times, signature.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hub.security.issuers.refusals import Reason, RefusedTokenError
from hub.security.issuers.settings import IssuerSettings

if TYPE_CHECKING:
    from hub.security.issuers.keys import IssuerKey

MAX_TOKEN: Final = 16_384
"""Bytes of a token at most. Tokens with many groups have 4 to 8 KiB."""
MAX_HEADER: Final = 2_048
"""Characters of the header; a header with a thumbprint and a key's name has 200."""
MAX_SIGNATURE: Final = 1_368
"""Characters of the signature: that of an RSA key of 8,192 bits."""
MAX_KID: Final = 256
MAX_LIFE_S: Final = 24 * 3600
"""Seconds for which a token may be good from now on. A longer one could not be blocked until its end."""

_ALPHABET: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_FORBIDDEN: Final = ("crit", "jwk", "jku", "x5u", "x5c", "b64")
"""Header parameters that bring a key or its address along, or change what is signed: nothing of a token says by which key it is checked."""
_OF_OTHERS: Final = ("nonce", "at_hash", "c_hash", "cnf")
"""Claims of ID tokens (OpenID Connect Core section 3.1.3.6), and of tokens that are good with a proof alone (RFC 7800)."""


def is_external(token: bytes) -> bool:
    """Whether a bearer token has the form of a JSON Web Token: two dots. The hub's own begin with ``hub`` and have none."""
    return token.count(b".") == 2 and not token.startswith(b"hub")


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token whose form is in order; nobody knows yet who made it."""

    text: bytes
    algorithm: str
    kid: str | None
    issuer: str
    claims: Mapping[str, Any]


def read(token: bytes) -> Unverified:
    """Read a token.

    Raises:
        RefusedTokenError: ``malformed``.
    """
    if len(token) > MAX_TOKEN:
        raise _malformed(f"expected at most {MAX_TOKEN} bytes, got {len(token)}")
    first, last = token.find(b"."), token.rfind(b".")
    if first > MAX_HEADER or len(token) - last - 1 > MAX_SIGNATURE:
        raise _malformed("the header or the signature is too long")
    if not _ALPHABET.fullmatch(token):
        raise _malformed("expected three parts of base64url")
    header = _object(token[:first], "header")
    claims = _object(token[first + 1 : last], "payload")
    for name in _FORBIDDEN:
        if name in header:
            raise _malformed(f"the header has {name}")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise _malformed("typ: expected at+jwt or JWT")
    algorithm, kid, issuer = header.get("alg"), header.get("kid"), claims.get("iss")
    if not isinstance(algorithm, str):
        raise _malformed("alg: expected a text")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID):
        raise _malformed("kid: expected a short text")
    if not isinstance(issuer, str):
        raise _malformed("iss: expected a text")
    for name in _OF_OTHERS:
        if name in claims:
            raise _malformed(f"the claim {name} is of an ID token, or needs a proof")
    if claims.get("typ") in ("ID", "Refresh", "Logout"):  # as Keycloak marks them
        raise _malformed("the claim typ says that it is no access token")
    return Unverified(token, algorithm, kid, issuer, claims)


def check_claims(token: Unverified, issuer: IssuerSettings, now_s: float) -> int:
    """Check times and audience; returns when the token expires, in seconds since 1970 UTC.

    Raises:
        RefusedTokenError: ``algorithm``, ``expired``, ``audience``, or ``malformed``.
    """
    if token.algorithm not in issuer.algorithms:
        raise RefusedTokenError(Reason.ALGORITHM, f"alg: expected one of {', '.join(issuer.algorithms)}")
    expires = _time(token.claims, "exp")
    if expires is None:
        raise _malformed("exp: expected a time, got none")
    if expires <= now_s:  # without leeway: what it opens ends then
        raise RefusedTokenError(Reason.EXPIRED, "it has expired")
    if expires > now_s + MAX_LIFE_S + issuer.leeway_s:
        raise RefusedTokenError(Reason.EXPIRED, f"exp: expected at most {MAX_LIFE_S // 3600} hours from now")
    for name in ("nbf", "iat"):
        begins = _time(token.claims, name)
        if begins is not None and begins > now_s + issuer.leeway_s:
            raise RefusedTokenError(Reason.EXPIRED, f"{name}: it is in the future")
    audience = token.claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not any(each in issuer.audience for each in named if isinstance(each, str)):
        raise RefusedTokenError(Reason.AUDIENCE, "aud: it is for another service")
    return int(expires)


def issued_s(token: Unverified) -> int:
    """When a token was issued, in seconds since 1970 UTC; 0 if it does not say so."""
    return int(_time(token.claims, "iat") or 0)


def check_signature(token: Unverified, key: IssuerKey) -> None:
    """Check the signature by a key of the issuer, which is of the kind that the algorithm needs. It takes 30 to 200 us.

    Several texts decode to the same bytes, since the last character has bits that stand for nothing (RFC 4648 section 3.5). Only the one
    where these are 0 is accepted: a token has one text, so nobody makes many of one.

    Raises:
        RefusedTokenError: ``signature``.
    """
    from joserfc.jws import JWSRegistry

    signed, _, signature = token.text.rpartition(b".")
    try:
        raw = base64.urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))
        usual = base64.urlsafe_b64encode(raw).rstrip(b"=") == signature
        # the algorithm alone: all that joserfc would look for in the header, and more, has been checked
        good = usual and JWSRegistry.algorithms[token.algorithm].verify(signed, raw, key.key)
    except ValueError:
        good = False
    if not good:
        raise RefusedTokenError(Reason.SIGNATURE, "the signature is wrong")


def _object(part: bytes, what: str) -> dict[str, Any]:
    """The JSON object of a part. A name that comes twice is refused: two readers could see different values (RFC 8725 section 2.4)."""
    try:
        raw = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _malformed(f"the {what} is no JSON object, or has a name twice") from None
    if not isinstance(found, dict):
        raise _malformed(f"the {what} is no JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2); None if there is none.

    Raises:
        RefusedTokenError: ``malformed``, it is something else.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # the bound is the year 2286; a number of a thousand digits is an int for Python, too
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value < 10**10:
        raise _malformed(f"{name}: expected seconds since 1970")
    return float(value)


def _malformed(why: str) -> RefusedTokenError:
    return RefusedTokenError(Reason.MALFORMED, why)
