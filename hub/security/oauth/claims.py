"""What is told of a user: the ID token, the three kinds of user information, and introspection."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hub.security.oauth.models import Client, Family, Person
from hub.security.oauth.ports import Shown
from hub.security.oauth.scopes import ALL, IDENTITY, OPENID

ID_TOKEN_S: Final = 300
"""Seconds for which an ID token and ``X-GWS-User`` are good."""

Privileges = Mapping[str, Sequence[str]]
"""The operations of each role of a user."""


def id_token(
    issuer: str, client: Client, person: Person, scopes: Iterable[str], nonce: str | None, auth_time_s: int, access_token: str, now_s: int
) -> dict[str, Any]:
    """The claims of an ID token (OpenID Connect Core section 2)."""
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": person.id,
        "aud": client.id,
        "exp": now_s + ID_TOKEN_S,
        "iat": now_s,
        "auth_time": auth_time_s,
        "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        **_profile(person, frozenset(scopes)),
    }
    return claims if nonce is None else {**claims, "nonce": nonce}


def user_details(shown: Shown, environment: str, privileges: Privileges) -> dict[str, Any]:
    """``CloudUserDetails``, the answer of ``/userinfo`` (docs/protocol/oauth.md#userinfo)."""
    person = shown.person
    details: dict[str, Any] = {
        "authorities": _authorities(privileges),
        "contactCenterId": shown.tenant,
        "environmentId": environment,
        "properties": {} if person is None else _properties(person),
        "username": f"{shown.tenant}\\{shown.subject}" if person is None else _unique_name(person),
    }
    if person is not None:
        details |= {"cmeUserName": person.name, "loginName": person.name, **_number(person)}
    return details


def openid_user_info(shown: Shown, person: Person, family: Family, environment: str, privileges: Privileges) -> dict[str, Any]:
    """``OpenIdUserInfo``, the answer of ``/openid/userinfo``."""
    scopes = frozenset(shown.scopes)
    whole = scopes if ALL not in scopes else scopes | frozenset(IDENTITY)
    info: dict[str, Any] = {"sub": person.id, "aud": family.client, **_profile(person, whole)}
    if ALL in scopes:
        info |= {
            "user_name": _unique_name(person),
            "contact_center_id": person.tenant,
            "environment_id": environment,
            **_number(person),
            "authorities": _authorities(privileges),
            "properties": _properties(person),
        }
    return info


def may_see_openid(shown: Shown) -> bool:
    """Whether a token is for ``/openid/userinfo``."""
    return ALL in shown.scopes or OPENID in shown.scopes


def gateway_user(details: dict[str, Any], issuer: str, audience: str, subject: str, now_s: int) -> dict[str, Any]:
    """The claims of ``X-GWS-User``, the header of ``/jwt-userinfo``."""
    return {"iss": issuer, "sub": subject, "aud": audience, "iat": now_s, "exp": now_s + ID_TOKEN_S, **details}


def introspection(shown: Shown | None, issuer: str) -> dict[str, Any]:
    """The answer of introspection (RFC 7662 section 2.2). Nothing is told of a token that is not good."""
    if shown is None:
        return {"active": False}
    answer: dict[str, Any] = {
        "active": True,
        "iss": issuer,
        "sub": shown.subject if shown.person is None else shown.person.id,
        "username": f"{shown.tenant}\\{shown.subject}",
        "scope": " ".join(shown.scopes),
        "token_type": "refresh_token" if shown.refresh else "bearer",
        "iat": shown.created_ms // 1000,
    }
    if shown.family is not None:
        answer["client_id"] = shown.family.client
    if shown.expires_ms is not None:
        answer["exp"] = shown.expires_ms // 1000
    return answer


def _profile(person: Person, scopes: frozenset[str]) -> dict[str, Any]:
    """The claims of the scopes ``profile`` and ``email`` (OpenID Connect Core section 5.4), as far as they are known."""
    claims: dict[str, Any] = {}
    if "profile" in scopes:
        claims |= {"preferred_username": person.name, "given_name": person.given_name, "family_name": person.family_name}
    if "email" in scopes:
        claims["email"] = person.email
    return {name: value for name, value in claims.items() if value is not None}


def _unique_name(person: Person) -> str:
    """Tenant, name and number: unique in the whole hub, also over time."""
    return f"{person.tenant}\\{person.name}" + ("" if person.number is None else f"#{person.number}")


def _number(person: Person) -> dict[str, int]:
    return {} if person.number is None else {"dbid": person.number}


def _authorities(privileges: Privileges) -> list[dict[str, Any]]:
    return [{"name": role, "privileges": list(operations)} for role, operations in sorted(privileges.items())]


def _properties(person: Person) -> dict[str, str]:
    found = {"firstName": person.given_name, "lastName": person.family_name, "email": person.email}
    return {name: value for name, value in found.items() if value is not None}
