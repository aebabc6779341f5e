"""Whatever bytes come as a token or a key set: they are refused, and never anything else happens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.security.issuers.keys import KeysUnavailableError, read_keys
from hub.security.issuers.mapping import identify
from hub.security.issuers.refusals import RefusedTokenError
from hub.security.issuers.tokens import check_claims, is_external, read
from tests.hub.security.issuers.conftest import NOW_S, SmallIssuer, claims, part, settings, sign

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "ES256", "AQAB"])
FIELDS = st.sampled_from(["kty", "crv", "kid", "alg", "use", "key_ops", "n", "e", "x", "y", "d"])
KEYS = st.lists(st.dictionaries(FIELDS, JSON | WORDS, max_size=8), max_size=4)
NAMES = st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "realm_access", "nonce", "typ"])


def looked_at(token: bytes) -> None:
    """Do with a token all that is done before its signature is checked, and behind it."""
    issuer = settings()
    try:
        found = read(token)
        check_claims(found, issuer, NOW_S)
        identity = identify(found.claims, issuer, token)
    except RefusedTokenError:
        return
    assert identity.tenant == "acme"
    assert identity.subject.startswith("ext:corp:")
    assert identity.roles <= {"supervisor", "dashboard", "viewer"}


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    looked_at(raw)
    assert not is_external(b"hubt_" + raw)


@given(JSON, JSON)
def test_any_header_and_payload(header: object, payload: object) -> None:
    looked_at(f"{part(json.dumps(header))}.{part(json.dumps(payload))}.AA".encode())


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_claims(more: dict[str, object]) -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "one"}
    looked_at(f"{part(header)}.{part(json.dumps({**claims(), **more}))}.AA".encode())


@given(st.integers(0, 2**16), st.binary(min_size=1, max_size=1))
def test_any_changed_byte(place: int, byte: bytes) -> None:
    raw = sign(claims()).encode()
    at = place % len(raw)
    looked_at(raw[:at] + byte + raw[at + 1 :])


@given(JSON)
def test_any_key_set(value: object) -> None:
    with pytest.raises(KeysUnavailableError):
        read_keys(json.dumps(value).encode())


@given(KEYS)
def test_any_keys_beside_a_good_one(others: list[object]) -> None:
    issuer = SmallIssuer()
    issuer.add("one", "EdDSA")
    issuer.more = others
    assert "one" in [key.kid for key in read_keys(issuer.document())]
