"""Scopes: what a token is asked for and limited to (RFC 6749 section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from hub.security.oauth.errors import OAuthError

ALL: Final = "*"
"""Everything that the roles of the user or client allow. It is what a token is for that was asked for without a scope."""

OPENID: Final = "openid"
IDENTITY: Final = (OPENID, "profile", "email")
"""The scopes of OpenID Connect (Core section 5.4): they say what is told of the user, and allow nothing else."""

_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")
MAX_SCOPES: Final = 32


def parse_scope(text: str | None, known: Collection[str]) -> tuple[str, ...]:
    """The scopes of a request, each once, in its order; ``*`` if it has none.

    Args:
        text: the parameter ``scope``.
        known: the scopes that families have registered, beside those of this module.

    Raises:
        OAuthError: ``invalid_scope``: one is unknown or malformed, or there are too many.
    """
    if text is None:
        return (ALL,)
    scopes = tuple(dict.fromkeys(each for each in text.split(" ") if each))
    if len(scopes) > MAX_SCOPES:
        raise OAuthError("invalid_scope", f"scope: expected at most {MAX_SCOPES}, got {len(scopes)}")
    for each in scopes:
        if each != ALL and each not in IDENTITY and (not _TOKEN.fullmatch(each) or each not in known):
            raise OAuthError("invalid_scope", f"scope: expected {', '.join((ALL, *IDENTITY, *known))}")
    return scopes or (ALL,)


def narrowed(text: str | None, granted: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes of a new access token of a grant: those of the grant, or some of them (RFC 6749 section 6).

    Raises:
        OAuthError: ``invalid_scope``: one was not granted.
    """
    if text is None:
        return granted
    scopes = tuple(dict.fromkeys(each for each in text.split(" ") if each))
    if any(each not in granted for each in scopes):
        raise OAuthError("invalid_scope", "scope: expected scopes that were granted at first")
    return scopes or granted


def limits(scopes: tuple[str, ...]) -> frozenset[str] | None:
    """What a token may do at most: the names of families' scopes; None: all that its roles allow."""
    return None if ALL in scopes else frozenset(scopes) - frozenset(IDENTITY)
