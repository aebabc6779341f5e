"""Proof Key for Code Exchange (RFC 7636), with S256 alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from hub.security.oauth.errors import invalid_grant, invalid_request
from hub.security.oauth.parameters import Parameters

S256: Final = "S256"

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


def read_challenge(parameters: Parameters, *, required: bool) -> str | None:
    """The code challenge of an authorization request; None if there is none and none is ``required``.

    Raises:
        OAuthError: ``invalid_request``: it is missing, malformed, or of another method. A challenge without a method would be ``plain``
            (RFC 7636 section 4.3), which is refused.
    """
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None:
        if required:
            raise invalid_request("code_challenge: expected one, since this client has to prove who it is by PKCE")
        if method is not None:
            raise invalid_request("code_challenge: expected one beside code_challenge_method, got none")
        return None
    if method != S256:
        raise invalid_request("code_challenge_method: expected S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise invalid_request("code_challenge: expected 43 characters of base64url")
    return challenge


def check_verifier(challenge: str | None, verifier: str | None) -> None:
    """Check the verifier that comes with a code. One that comes for a code without a challenge is refused: somebody may have taken the
    challenge out of the authorization request (RFC 9700 section 4.8.2).

    Raises:
        OAuthError: ``invalid_grant``, it is missing, wrong, or not expected.
    """
    if challenge is None and verifier is None:
        return
    if challenge is None:
        raise invalid_grant("code_verifier: expected none, since the authorization request had no code_challenge")
    if verifier is None:
        raise invalid_grant("code_verifier: expected one, since the authorization request had a code_challenge")
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(digest, challenge.encode()):
        raise invalid_grant("code_verifier: expected the one that the code_challenge was made from")
