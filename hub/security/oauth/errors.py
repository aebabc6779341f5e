"""Requests that the authorization server refuses, in the words of OAuth."""

from __future__ import annotations

import re
from typing import Final

from hub.core.json_text import cut

BAD_CREDENTIALS: Final = "Bad credentials"

_NOT_ALLOWED: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


class OAuthError(Exception):
    """A request is refused: the members ``error`` and ``error_description`` of the answer, and its HTTP status (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str, *, status: int = 400, challenge: bool = False) -> None:
        """``challenge``: the answer asks for HTTP Basic, since the client tried to authenticate and failed."""
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status
        self.challenge = challenge

    def members(self) -> dict[str, str]:
        """The JSON object of the answer."""
        return {"error": self.error, "error_description": self.description}


def said(value: str) -> str:
    """What came, for a description: cut, and without the characters that RFC 6749 section 5.2 does not allow there."""
    return cut(_NOT_ALLOWED.sub("?", value))


def invalid_request(description: str) -> OAuthError:
    """A parameter is missing, comes twice, or is malformed."""
    return OAuthError("invalid_request", description)


def invalid_grant(description: str = BAD_CREDENTIALS) -> OAuthError:
    """A code, a refresh token, or a user's name and password are not valid, or are another client's."""
    return OAuthError("invalid_grant", description)


def bad_client() -> OAuthError:
    """The client is unknown, or its secret is wrong. The name of the error is that of docs/protocol/oauth.md#errors, not RFC 6749's."""
    return OAuthError("Unauthorized", BAD_CREDENTIALS, status=401, challenge=True)
