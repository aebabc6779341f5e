import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc import jws, jwt
from joserfc.jwk import OctKey

from hub.security.cookies import MAX_COOKIES, CookieSigner, SignedIn, kept_secret, read_cookies, set_cookie, statistics_cookie
from hub.security.credentials import Credential
from tests.hub.security.conftest import SECRET
from tests.world import ManualClock

CREDENTIAL = Credential("token:1", "acme", "ana", frozenset({"admin"}), (), "f" * 64)
USER = replace(CREDENTIAL, id="user:1")


@pytest.fixture
def signer(clock: ManualClock) -> CookieSigner:
    return CookieSigner(SECRET, clock, lifetime_s=60)


def test_a_cookie_says_who_signed_in(signer: CookieSigner) -> None:
    signed_in = signer.read(signer.sign(CREDENTIAL))
    assert signed_in is not None
    assert signed_in.is_of(CREDENTIAL)
    assert signed_in.discriminator is None


def test_each_sign_in_of_a_user_is_a_login_of_its_own(signer: CookieSigner) -> None:
    first, second = (signer.read(signer.sign(USER)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.discriminator != second.discriminator


def test_a_cookie_does_not_hold_the_fingerprint(signer: CookieSigner) -> None:
    assert CREDENTIAL.fingerprint not in signer.sign(CREDENTIAL)


@pytest.mark.parametrize("changed", [replace(CREDENTIAL, fingerprint="0" * 64), replace(CREDENTIAL, id="token:2")])
def test_a_cookie_is_of_no_other_credential(signer: CookieSigner, changed: Credential) -> None:
    signed_in = signer.read(signer.sign(CREDENTIAL))
    assert signed_in is not None
    assert not signed_in.is_of(changed)


def test_a_cookie_runs_out(signer: CookieSigner, clock: ManualClock) -> None:
    cookie = signer.sign(CREDENTIAL)
    clock.advance(59)
    assert signer.read(cookie) is not None
    clock.advance(1)
    assert signer.read(cookie) is None


def test_a_cookie_runs_out_with_its_credential(signer: CookieSigner, clock: ManualClock) -> None:
    cookie = signer.sign(replace(CREDENTIAL, expires_ms=clock.wall_ms() + 10_000))
    clock.advance(10)
    assert signer.read(cookie) is None


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "é", "." * 5000, "eyJhbGciOiJub25lIn0.e30."])
def test_garbage_is_no_cookie(signer: CookieSigner, value: str) -> None:
    assert signer.read(value) is None


def test_a_cookie_of_another_secret_or_changed_is_refused(signer: CookieSigner, clock: ManualClock) -> None:
    assert signer.read(CookieSigner(b"another secret", clock, lifetime_s=60).sign(CREDENTIAL)) is None
    header, payload, signature = signer.sign(CREDENTIAL).split(".")
    assert signer.read(f"{header}.{payload[:-2]}AA.{signature}") is None


def test_cookies_are_json_web_tokens(signer: CookieSigner, clock: ManualClock) -> None:
    """RFC 7519: a library that knows it reads what the hub wrote, and writes what the hub reads, so cookies of earlier versions stay."""
    key = OctKey.import_key(signer._key)
    read = jwt.decode(signer.sign(USER), key, algorithms=["HS256"])
    assert read.header == {"typ": "JWT", "alg": "HS256"}
    assert read.claims["sub"] == USER.id
    assert read.claims["exp"] == clock.wall_ms() // 1000 + 60
    written = jwt.encode({"alg": "HS256"}, read.claims, key)
    assert signer.read(written) == SignedIn(read.claims["sub"], read.claims["ver"], read.claims["jti"], read.claims["iat"])
    assert written.split(".")[0] == signer.sign(USER).split(".")[0]


@pytest.mark.parametrize("header", [{"alg": "HS384"}, {"alg": "HS256", "kid": "1"}, {"alg": "HS512", "typ": "JWT"}])
def test_a_statement_with_another_header_is_refused(signer: CookieSigner, header: dict[str, str]) -> None:
    key = OctKey.import_key(signer._key)
    claims = jwt.decode(signer.sign(CREDENTIAL), key, algorithms=["HS256"]).claims
    assert signer.read(jwt.encode(header, claims, key, algorithms=[header["alg"]])) is None


@pytest.mark.parametrize("payload", [b"[]", b"{", b"\xff", b"null", b"[" * 2000])
def test_a_signed_statement_of_another_form_is_refused(signer: CookieSigner, payload: bytes) -> None:
    assert signer.read(jws.serialize_compact({"typ": "JWT", "alg": "HS256"}, payload, OctKey.import_key(signer._key))) is None


def test_a_signature_has_one_form(signer: CookieSigner) -> None:
    """The last character of a signature holds two bits that decoders skip: a cookie with others there is another text."""
    cookie = signer.sign(CREDENTIAL)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(cookie[-1]) ^ 1]
    assert signer.read(cookie[:-1] + other) is None
    assert signer.read(cookie + "=") is None


def test_the_secret_itself_signs_no_cookies(signer: CookieSigner, clock: ManualClock) -> None:
    """What else is signed with the secret can never be taken for a cookie."""
    claims = {"iss": "cx-event-hub", "sub": "token:1", "ver": "x", "jti": "x", "exp": clock.wall_ms() // 1000 + 60}
    assert signer.read(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))) is None


def test_a_statement_of_another_issuer_is_refused(signer: CookieSigner, clock: ManualClock) -> None:
    claims = {"iss": "somebody", "sub": "token:1", "ver": "x", "jti": "x", "exp": clock.wall_ms() // 1000 + 60}
    assert signer.read(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(signer._key))) is None


@pytest.mark.parametrize("claims", [{}, {"iss": "cx-event-hub"}, {"iss": "cx-event-hub", "exp": "soon"}])
def test_a_statement_that_lacks_something_is_refused(signer: CookieSigner, claims: dict[str, object]) -> None:
    assert signer.read(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(signer._key))) is None


def test_a_cookie_is_for_every_path_and_no_script() -> None:
    header = set_cookie("HUB_SESSION", "v", max_age_s=60, secure=False)
    assert set(header.split("; ")) == {"HUB_SESSION=v", "Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=60"}
    assert "Secure" in set_cookie("HUB_SESSION", "v", max_age_s=60, secure=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([(b"cookie", b"b=1")], []),
        ([(b"cookie", b"a=")], []),
        ([(b"cookie", b"a")], []),
        ([(b"cookie", b"ab=3; a=x=y")], ["x=y"]),
        ([(b"cookie", b"a=1; a=2")], ["1", "2"]),
        ([(b"cookie", b"b=1;a=2;aa=3")], ["2"]),
        ([(b"cookie", b'a="2"')], ["2"]),
        ([(b"cookie", b' a = "2" ;a= 3')], ["2", "3"]),
        ([(b"cookie", b'a="x y"; a; =; a=\xff; a=""; a=2')], ["x y", "\xff", "2"]),
        ([(b"cookie", b"b=1"), (b"cookie", b"a=2"), (b"a", b"a=3")], ["2"]),
        ([(b"cookie", b"a=1")] * 50, ["1"] * MAX_COOKIES),
    ],
)
def test_all_cookies_of_a_name_are_read(headers: list[tuple[bytes, bytes]], expected: list[str]) -> None:
    assert read_cookies(headers, "a") == expected


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ("", None),
        ("STATISTICS_SESSIONID=node01abc", "node01abc"),
        (f"STATISTICS_SESSIONID={'0a' * 16}", "0a" * 16),
        (f'STATISTICS_SESSIONID="of another server"; STATISTICS_SESSIONID={"0a" * 16}', "0a" * 16),
        (f'STATISTICS_SESSIONID=x; STATISTICS_SESSIONID="{"0a" * 16}"; STATISTICS_SESSIONID=y', "0a" * 16),
        ("STATISTICS_SESSIONID=x; STATISTICS_SESSIONID=y", "x"),
    ],
)
def test_the_statistics_cookie_is_the_one_that_the_hub_has_set(cookies: str, expected: str | None) -> None:
    assert statistics_cookie([(b"cookie", cookies.encode())]) == expected


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "new")
    assert len(first) >= 32
    assert kept_secret(tmp_path / "new") == first
    assert stat.S_IMODE((tmp_path / "new" / "secret").stat().st_mode) == 0o600


def test_processes_that_start_at_once_keep_the_same_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(kept_secret, [tmp_path] * 8))
    assert len(secrets) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValueError, match="expected a secret, got an empty file"):
        kept_secret(tmp_path)
