"""Tokens that others than the issuer made, or that it made for something else: each is refused, for its reason."""

from __future__ import annotations

import base64
import hmac
import json
import string
from collections.abc import Callable
from typing import Any

import pytest

from hub.audit.log import Recorder
from tests.hub.security.issuers.conftest import AUDIENCE, ISSUER, NOW_S, World, b64, claims, key_of, part, settings, sign

DAY_S = 86_400


def unsigned(head: dict[str, Any], payload: Any = None, signature: str = "AA") -> str:
    return f"{part(head)}.{part(claims() if payload is None else payload)}.{signature}"


def by_secret(secret: bytes) -> str:
    """HS256 with a secret that everybody can read: the public key."""
    text = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'one'})}.{part(claims())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"


def twice(name: str, first: Any, second: Any) -> str:
    """A JSON object in which one name comes twice."""
    whole = claims(**{name: None})
    rest = json.dumps(whole)[1:]
    return f'{{"{name}": {json.dumps(first)}, "{name}": {json.dumps(second)}, {rest}'


def own() -> Any:
    """The attacker's key."""
    return key_of("RS256", "attacker")


TWO_ALGORITHMS = '{"alg": "none", "alg": "RS256"}'

ATTACKS: dict[str, tuple[Callable[[], str], str]] = {
    "alg none": (lambda: unsigned({"alg": "none", "typ": "at+jwt"}), "algorithm"),
    "alg none, in other letters": (lambda: unsigned({"alg": "nOnE", "typ": "at+jwt"}), "algorithm"),
    "alg none, no signature": (lambda: unsigned({"alg": "none", "typ": "at+jwt"}, signature=""), "malformed"),
    "alg missing": (lambda: unsigned({"typ": "at+jwt"}), "malformed"),
    "alg a number": (lambda: unsigned({"alg": 256, "typ": "at+jwt"}), "malformed"),
    "HS256 with the public key": (lambda: by_secret(key_of("RS256").as_pem(private=False)), "algorithm"),
    "HS256 with the public key's JSON": (lambda: by_secret(json.dumps(key_of("RS256").as_dict(private=False)).encode()), "algorithm"),
    "an algorithm that is not allowed": (lambda: unsigned({"alg": "RS384", "typ": "at+jwt", "kid": "one"}), "algorithm"),
    "another key": (lambda: sign(claims(), key=own()), "signature"),
    "RS256 header over an ES256 key": (lambda: sign(claims(), "ES256", alg="RS256", kid="elliptic"), "key"),
    "ES256 header over an RS256 key": (lambda: sign(claims(), "RS256", alg="ES256"), "key"),
    "PS256 header over an RS256 signature": (lambda: sign(claims(), "RS256", alg="PS256"), "signature"),
    "an unknown key": (lambda: sign(claims(), key=own(), kid="two"), "key"),
    "a key's name that leads elsewhere": (lambda: sign(claims(), key=own(), kid="../../../../dev/null"), "key"),
    "a key's name with a command": (lambda: sign(claims(), key=own(), kid="one' OR '1'='1"), "key"),
    "a key's name that is a list": (lambda: sign(claims(), key=own(), kid=["one"]), "malformed"),  # type: ignore[arg-type]
    "a key's name that is endless": (lambda: sign(claims(), key=own(), kid="k" * 300), "malformed"),
    "the key in the header": (lambda: sign(claims(), key=own(), jwk=own().as_dict(private=False)), "malformed"),
    "the address of the key in the header": (lambda: sign(claims(), key=own(), jku="https://evil.example/jwks.json"), "malformed"),
    "a certificate in the header": (lambda: sign(claims(), key=own(), x5c=["MIIB"]), "malformed"),
    "the address of a certificate": (lambda: sign(claims(), key=own(), x5u="https://evil.example/cert.pem"), "malformed"),
    "critical extensions": (lambda: sign(claims(), crit=["exp"], exp=NOW_S), "malformed"),
    "critical extensions, none": (lambda: sign(claims(), crit=[]), "malformed"),
    "a payload that is not encoded": (lambda: sign(claims(), crit=["b64"], b64=False), "malformed"),
    "another type": (lambda: sign(claims(), typ="gws-user+jwt"), "malformed"),
    "a type that is a list": (lambda: sign(claims(), typ=["JWT"]), "malformed"),
    "an ID token": (lambda: sign(claims(nonce="n-0S6"), typ="JWT"), "malformed"),
    "an ID token with a token's hash": (lambda: sign(claims(at_hash="x"), typ="JWT"), "malformed"),
    "an ID token as Keycloak marks it": (lambda: sign(claims(typ="ID"), typ="JWT"), "malformed"),
    "a token that needs a proof": (lambda: sign(claims(cnf={"jkt": "x"})), "malformed"),
    "another audience": (lambda: sign(claims(aud="billing")), "audience"),
    "other audiences": (lambda: sign(claims(aud=["billing", "account"])), "audience"),
    "an audience inside a text": (lambda: sign(claims(aud=f"x {AUDIENCE} y")), "audience"),
    "no audience": (lambda: sign(claims(aud=None)), "audience"),
    "an audience that is an object": (lambda: sign(claims(aud={AUDIENCE: True})), "audience"),
    "audiences of many kinds": (lambda: sign(claims(aud=[1, None, ["cx-hub"]])), "audience"),
    "another issuer": (lambda: sign(claims(iss="https://evil.example")), "issuer"),
    "an issuer with a slash more": (lambda: sign(claims(iss=f"{ISSUER}/")), "issuer"),
    "an issuer that is a list": (lambda: sign(claims(iss=[ISSUER])), "malformed"),
    "no issuer": (lambda: sign(claims(iss=None)), "malformed"),
    "expired": (lambda: sign(claims(exp=NOW_S)), "expired"),
    "expired long ago": (lambda: sign(claims(exp=0)), "expired"),
    "no expiry": (lambda: sign(claims(exp=None)), "malformed"),
    "an expiry that is a text": (lambda: sign(claims(exp=str(NOW_S + 60))), "malformed"),
    "an expiry before 1970": (lambda: sign(claims(exp=-1)), "malformed"),
    "an expiry that is true": (lambda: sign(claims(exp=True)), "malformed"),
    "an expiry that is null": (lambda: sign(json.dumps({**claims(), "exp": None})), "malformed"),
    "an expiry of a hundred digits": (lambda: sign(claims(exp=10**100)), "malformed"),
    "an infinite expiry": (lambda: sign(json.dumps({**claims(), "exp": float("inf")})), "malformed"),
    "an expiry of five thousand digits": (lambda: sign(json.dumps(claims()).replace(str(NOW_S + 300), "9" * 5000)), "malformed"),
    "good for a week": (lambda: sign(claims(exp=NOW_S + 7 * DAY_S)), "expired"),
    "from the future": (lambda: sign(claims(iat=NOW_S + 120)), "expired"),
    "not good yet": (lambda: sign(claims(nbf=NOW_S + 120)), "expired"),
    "a time of issue that is a text": (lambda: sign(claims(iat="now")), "malformed"),
    "a subject twice": (lambda: sign(twice("sub", "ana", "eve")), "malformed"),
    "an expiry twice": (lambda: sign(twice("exp", NOW_S - 1, NOW_S + 300)), "malformed"),
    "a name twice, inside": (lambda: sign(json.dumps(claims())[:-1] + ', "x": {"a": 1, "a": 2}}'), "malformed"),
    "an algorithm twice": (lambda: f"{part(TWO_ALGORITHMS)}.{part(claims())}.AA", "malformed"),
    "no subject": (lambda: sign(claims(sub=None)), "subject"),
    "an empty subject": (lambda: sign(claims(sub="")), "subject"),
    "a subject that is a number": (lambda: sign(claims(sub=7)), "subject"),
    "a subject with a line break": (lambda: sign(claims(sub="ana\nadmin")), "subject"),
    "an endless subject": (lambda: sign(claims(sub="a" * 200)), "subject"),
    "a payload that is a list": (lambda: sign("[]"), "malformed"),
    "a payload that is no JSON": (lambda: sign("exp=1"), "malformed"),
    "a payload that is no UTF-8": (lambda: f"{part({'alg': 'RS256'})}.{b64(bytes([0xFF, 0xFE]))}.AA", "malformed"),
    "a payload that is deep": (lambda: sign("[" * 5000), "malformed"),
    "no base64url": (lambda: f"{part({'alg': 'RS256'})}.e+/=.AA", "malformed"),
    "an empty header": (lambda: f".{part(claims())}.AA", "malformed"),
    "a header of a megabyte": (lambda: f"{'e' * 2**20}.{part(claims())}.AA", "not looked at"),
    "a payload of a megabyte": (lambda: f"{part({'alg': 'RS256'})}.{'e' * 2**20}.AA", "not looked at"),
    "a signature of a megabyte": (lambda: f"{part({'alg': 'RS256'})}.{part(claims())}.{'e' * 2**20}", "not looked at"),
    "a long header": (lambda: f"{'e' * 3000}.{part(claims())}.AA", "malformed"),
    "a long signature": (lambda: f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(claims())}.{'e' * 3000}", "malformed"),
    "an encrypted token": (lambda: f"{part({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.AA.AA.AA.AA", "not looked at"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_forged_token_is_refused_for_its_reason(world: World, attack: str) -> None:
    make, reason = ATTACKS[attack]
    world.issuer.add("elliptic", "ES256")
    assert await world.who(make()) is None
    assert world.refused() == ({} if reason == "not looked at" else {reason: 1})
    (rows,) = await world.access.transactions.read(lambda tx: tx.rows("SELECT count(*) FROM external_tokens"))
    assert rows == (0,)


async def test_each_byte_counts(world: World) -> None:
    good = sign(claims())
    for at in (5, len(good) // 2, len(good) - 5):
        other = "A" if good[at] != "A" else "B"
        assert await world.who(good[:at] + other + good[at + 1 :]) is None
    assert await world.who(good) == "acme ext:corp:ana supervisor"


BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of the curve P-256 (NIST SP 800-186 section 3.2.1.3)."""


def same_bytes(token: str) -> list[str]:
    """The token with each other last character that decodes to the same signature."""
    front, _, signature = token.rpartition(".")
    unused = {0: 0, 2: 4, 3: 2}[len(signature) % 4]
    last = BASE64URL.index(signature[-1])
    return [f"{front}.{signature[:-1]}{BASE64URL[last + more]}" for more in range(1, 2**unused)]


def negated(token: str) -> str:
    """The token with the other ECDSA signature that is good for the same key: (r, n - s)."""
    front, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    return f"{front}.{b64(raw[:32] + s.to_bytes(32, 'big'))}"


async def sign_out(world: World, token: str) -> None:
    principal = (await world.gate.from_ext({"token": token})).principal
    assert principal is not None
    await world.store.end(principal.credential.partition(":")[2], Recorder(world.access.audit))
    await world.gate.refresh()
    assert await world.who(token) is None


@pytest.mark.parametrize("jti", ["token-1", None])
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_has_one_text(world: World, algorithm: str, jti: str | None) -> None:
    world.issuer.add("one", algorithm)
    token = sign(claims(jti=jti), algorithm)
    others = same_bytes(token)
    assert len(others) in (3, 15)
    for other in others:
        assert await world.who(other) is None
    assert world.refused() == {"signature": len(others)}
    assert await world.who(token) is not None


async def test_another_signature_does_not_bring_a_token_back(world: World) -> None:
    world.issuer.add("one", "ES256")
    token = sign(claims(jti=None), "ES256")
    assert await world.who(negated(token)) is not None  # RFC 7518 section 3.4 knows no better one of the two
    await sign_out(world, token)
    assert await world.who(negated(token)) is None
    assert await world.who(sign(claims(jti=None, exp=NOW_S + 301), "ES256")) is not None


async def test_a_key_that_is_for_something_else_checks_nothing(world: World) -> None:
    world.issuer.keys["one"] |= {"use": "enc"}
    world.issuer.add("two", alg="PS256")
    world.issuer.add("three", key_ops=["sign"])
    for kid in ("one", "two", "three"):
        assert await world.who(sign(claims(), kid=kid)) is None
    assert world.refused() == {"key": 3}
    assert await world.who(sign(claims(), "PS256", kid="two", key=key_of("RS256", "two"))) is not None


async def test_an_issuer_speaks_for_its_own_tenants_alone(world: World) -> None:
    """Two issuers: neither can make tokens of the other, or for the tenant of the other."""
    other = "https://login.rival.example"
    claimed = {"tenant": None, "tenant_claim": "org", "tenants": {"r": "rival"}}
    gate, external = world.again(settings(), settings(name="rival", issuer=other, **claimed))
    good = await gate.from_ext({"token": sign(claims(iss=other, org="r"))})
    assert good.principal is not None
    assert (good.principal.tenant, good.principal.subject) == ("rival", "ext:rival:ana")
    for org in ("acme", "", ["r"], {"r": 1}, None):
        assert (await gate.from_ext({"token": sign(claims(iss=other, org=org))})).principal is None
    assert external.counters.refused_tenant == 5
    mine = await gate.from_ext({"token": sign(claims(org="r", tenant="rival"))})
    assert mine.principal is not None
    assert mine.principal.tenant == "acme"
    await external.stop()


@pytest.mark.parametrize("subject", ["key:switch", "client:night", "ext:other:ana"])
async def test_no_subject_is_that_of_a_key_or_of_a_client(world: World, subject: str) -> None:
    gate, external = world.again(settings(subject_prefix=""))
    assert (await gate.from_ext({"token": sign(claims(sub=subject))})).principal is None
    assert external.counters.refused_subject == 1
    await external.stop()
