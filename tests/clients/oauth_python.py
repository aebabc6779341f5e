"""OAuth clients for Python that nobody here wrote, with the commands of tests/clients/node/oauth.mjs: Authlib's and requests-oauthlib's,
both over requests.
"""

from __future__ import annotations

from typing import Any

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

_SECONDS = 60


class Authlib:
    """Authlib's client; ID tokens are checked by its own class, with the keys of the hub."""

    def __init__(self, issuer: str, client_id: str, secret: str | None, redirect_uri: str | None, algorithm: str) -> None:
        self._issuer = issuer
        method = "none" if secret is None else "client_secret_basic"
        self._session = AuthlibSession(
            *(client_id, secret, method), redirect_uri=redirect_uri, code_challenge_method="S256", default_timeout=_SECONDS
        )
        self._algorithm = algorithm
        self._verifier, self._nonce = generate_token(48), generate_token(16)
        self._state = ""
        self._server: dict[str, Any] = {}

    def discover(self) -> dict[str, Any]:
        self._server = metadata(self._issuer, self._algorithm)
        return self._server

    def begin(self, scope: str) -> str:
        self._session.scope = scope
        url, self._state = self._session.create_authorization_url(
            self._server["authorization_endpoint"], code_verifier=self._verifier, nonce=self._nonce
        )
        return str(url)

    def finish(self, address: str) -> dict[str, Any]:
        tokens = self._session.fetch_token(
            self._server["token_endpoint"], authorization_response=address, state=self._state, code_verifier=self._verifier
        )
        keys = KeySet.import_key_set(requests.get(self._server["jwks_uri"], timeout=_SECONDS).json())
        shown = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"])
        options = {"iss": {"value": self._issuer}, "aud": {"value": self._session.client_id}}
        params = {"nonce": self._nonce, "client_id": self._session.client_id, "access_token": tokens["access_token"]}
        claims = CodeIDToken(shown.claims, shown.header, options, params)
        claims.validate()
        return {**tokens, "claims": dict(claims)}

    def userinfo(self, token: str, subject: str) -> dict[str, Any]:
        answer = self._session.get(self._server["userinfo_endpoint"], headers={"Authorization": f"Bearer {token}"}, withhold_token=True)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        assert found["sub"] == subject
        return found

    def refresh(self, token: str) -> dict[str, Any]:
        return dict(self._session.refresh_token(self._server["token_endpoint"], refresh_token=token))

    def by_itself(self, scope: str) -> dict[str, Any]:
        return dict(self._session.fetch_token(self._server["token_endpoint"], grant_type="client_credentials", scope=scope))

    def introspect(self, token: str) -> dict[str, Any]:
        answer = self._session.introspect_token(self._server["introspection_endpoint"], token=token)
        answer.raise_for_status()
        return dict(answer.json())

    def revoke(self, token: str) -> None:
        self._session.revoke_token(self._server["revocation_endpoint"], token=token).raise_for_status()


class RequestsOAuthlib:
    """requests-oauthlib: knows no discovery, no ID tokens and no introspection."""

    def __init__(self, issuer: str, client_id: str, secret: str | None, redirect_uri: str | None, algorithm: str) -> None:
        self._issuer, self._client_id, self._secret, self._algorithm = issuer, client_id, secret, algorithm
        self._session = OAuth2Session(client_id, redirect_uri=redirect_uri, pkce="S256")
        self._server: dict[str, Any] = {}

    def discover(self) -> dict[str, Any]:
        self._server = metadata(self._issuer, self._algorithm)
        return self._server

    def begin(self, scope: str) -> str:
        self._session.scope = scope.split()
        url, _ = self._session.authorization_url(self._server["authorization_endpoint"])
        return str(url)

    def finish(self, address: str) -> dict[str, Any]:
        return dict(
            self._session.fetch_token(
                self._server["token_endpoint"], authorization_response=address, include_client_id=True, client_secret=self._secret
            )
        )

    def userinfo(self, token: str, subject: str) -> dict[str, Any]:
        answer = self._session.get(self._server["userinfo_endpoint"], timeout=_SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def refresh(self, token: str) -> dict[str, Any]:
        return dict(self._session.refresh_token(self._server["token_endpoint"], refresh_token=token, client_id=self._client_id))

    def by_itself(self, scope: str) -> dict[str, Any]:
        session = OAuth2Session(client=BackendApplicationClient(self._client_id, scope=scope.split()))
        return dict(session.fetch_token(self._server["token_endpoint"], client_secret=self._secret))

    def revoke(self, token: str) -> None:
        url, headers, body = self._session._client.prepare_token_revocation_request(
            self._server["revocation_endpoint"], token, "refresh_token", client_id=self._client_id
        )
        requests.post(url, data=body, headers=headers, timeout=_SECONDS).raise_for_status()


def metadata(issuer: str, algorithm: str) -> dict[str, Any]:
    """One of the two discovery documents, as clients look for it: RFC 8414 section 3.1, OpenID Connect Discovery section 4."""
    origin, _, path = issuer.removeprefix("http://").partition("/")
    of = {
        "oidc": f"{issuer}/.well-known/openid-configuration",
        "oauth2": f"http://{origin}/.well-known/oauth-authorization-server/{path}",
    }
    answer = requests.get(of[algorithm], timeout=_SECONDS)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    assert found["issuer"] == issuer
    return found
