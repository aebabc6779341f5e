"""The two discovery documents: OAuth's (RFC 8414) and OpenID Connect's (Discovery section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hub.security.oauth.authorization import PROMPTS
from hub.security.oauth.keys import RS256
from hub.security.oauth.models import Grant
from hub.security.oauth.pkce import S256
from hub.security.oauth.scopes import ALL, IDENTITY

BY_SECRET: Final = ["client_secret_basic", "client_secret_post"]
TOKEN_METHODS: Final = [*BY_SECRET, "none"]


def oauth_metadata(issuer: str, scopes: Iterable[str], grants: Iterable[Grant]) -> dict[str, Any]:
    """The document at ``/.well-known/oauth-authorization-server``. ``issuer`` is the URL before every path of it."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "device_authorization_endpoint": f"{issuer}/oauth/device",
        "jwks_uri": f"{issuer}/jwks.json",
        "scopes_supported": [ALL, *IDENTITY, *scopes],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [str(grant) for grant in grants],
        "token_endpoint_auth_methods_supported": TOKEN_METHODS,
        "revocation_endpoint_auth_methods_supported": TOKEN_METHODS,
        "introspection_endpoint_auth_methods_supported": BY_SECRET,
        "code_challenge_methods_supported": [S256],
        "authorization_response_iss_parameter_supported": True,
    }


def openid_metadata(issuer: str, scopes: Iterable[str], grants: Iterable[Grant]) -> dict[str, Any]:
    """The document at ``/.well-known/openid-configuration``."""
    return {
        **oauth_metadata(issuer, scopes, grants),
        "userinfo_endpoint": f"{issuer}/openid/userinfo",
        "end_session_endpoint": f"{issuer}/sign-out",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [RS256],
        "prompt_values_supported": list(PROMPTS),
        "claims_supported": [
            *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash"),
            *("preferred_username", "given_name", "family_name", "email"),
        ],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
