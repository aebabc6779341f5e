"""The sign-in cookie: a signed token which states that a browser signed in with a credential (RFC 7519, HS256).

It contains the id of the credential and a digest of its fingerprint. It is no longer valid when the credential is removed or the password
changes.
"""

import base64
import functools
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Final

from hub.core.ports import Clock
from hub.security.credentials import Credential, sign_in_discriminator
from hub.storage.private_folder import make_private

SIGN_IN_COOKIE: Final = "HUB_SESSION"
STATISTICS_COOKIE: Final = "STATISTICS_SESSIONID"

MAX_COOKIES: Final = 16
"""Cookies of one name that are checked in one request: the signature of each may have to be verified."""

_OWN_VALUE: Final = re.compile(r"[0-9a-f]{32}")
"""The form of values from :func:`new_cookie_value`."""

_ISSUER: Final = "cx-event-hub"
_MAX_LENGTH: Final = 4096


def _base64url(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_HEADER: Final = _base64url(b'{"typ":"JWT","alg":"HS256"}')
"""The header of every cookie, encoded. A cookie with another one is refused, so that nobody can choose the algorithm."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The content of a valid cookie: the credential's id, the digest of its fingerprint, and the number of this sign-in."""

    credential: str
    version: str
    number: str
    at_s: int
    """When the browser signed in, in seconds since 1970 UTC."""

    def is_of(self, credential: Credential) -> bool:
        """Whether the credential is still the one that signed in."""
        return credential.id == self.credential and hmac.compare_digest(self.version, version_of(credential))

    @property
    def discriminator(self) -> str | None:
        """Distinguishes logins of one subject: for users it is the sign-in; for tokens and keys it is None, and the secret decides."""
        return sign_in_discriminator(self.number) if self.credential.startswith("user:") else None


def version_of(credential: Credential) -> str:
    """A digest of a credential's fingerprint and generation. The fingerprint itself never leaves the server."""
    generation = f":{credential.generation}" if credential.generation else ""
    return hashlib.sha256(f"{credential.fingerprint}{generation}".encode()).hexdigest()[:32]


class CookieSigner:
    """Writes and reads sign-in cookies."""

    __slots__ = ("_clock", "_key", "device_key", "lifetime_s")

    def __init__(self, secret: bytes, clock: Clock, *, lifetime_s: int) -> None:
        """``secret`` is ``HUB_SECRET``. The cookie's key is derived from it, because the secret also signs other things."""
        self._key = hmac.digest(secret, b"sign-in cookie", "sha256")
        self.device_key = hmac.digest(secret, b"device cookie", "sha256")
        """For :class:`hub.security.devices.DeviceSigner`."""
        self._clock = clock
        self.lifetime_s = lifetime_s

    def sign(self, credential: Credential, lifetime_s: int | None = None) -> str:
        """The cookie's value. It is valid for ``lifetime_s`` seconds, by default the signer's, but not longer than the credential."""
        now = self._clock.wall_ms() // 1000
        expires = now + (self.lifetime_s if lifetime_s is None else lifetime_s)
        if credential.expires_ms is not None:
            expires = min(expires, credential.expires_ms // 1000)
        claims = {
            "iss": _ISSUER,
            "sub": credential.id,
            "ver": version_of(credential),
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": expires,
        }
        signed = _HEADER + b"." + _base64url(json.dumps(claims, separators=(",", ":")).encode())
        return (signed + b"." + self._signature(signed)).decode()

    def read(self, value: str) -> SignedIn | None:
        """The content of a cookie; None if this hub did not sign it, or it was changed or has expired."""
        if len(value) > _MAX_LENGTH or not value.isascii():
            return None
        signed, _, signature = value.encode().rpartition(b".")
        header, _, payload = signed.partition(b".")
        # compared as text: several texts decode to the same signature, and only the usual one is accepted
        if header != _HEADER or not hmac.compare_digest(signature, self._signature(signed)):
            return None
        try:
            claims: object = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        except (ValueError, RecursionError):
            return None
        match claims:
            case {"iss": issuer, "exp": int(expires), "iat": int(at_s), "sub": str(credential), "ver": str(version), "jti": str(number)}:
                good = issuer == _ISSUER and expires > self._clock.wall_ms() // 1000
                return SignedIn(credential, version, number, at_s) if good else None
            case _:
                return None

    def _signature(self, signed: bytes) -> bytes:
        return _base64url(hmac.digest(self._key, signed, "sha256"))


def set_cookie(name: str, value: str, *, max_age_s: int | None, secure: bool, path: str = "/") -> str:
    """A ``Set-Cookie`` header for a path and all below it; scripts cannot read the cookie, and forms of other sites do not send it. With
    ``max_age_s`` 0 it removes the cookie; None: the browser forgets it when it is closed.
    """
    cookie: SimpleCookie = SimpleCookie()
    cookie[name] = value
    morsel = cookie[name]
    morsel["path"] = path
    if max_age_s is not None:
        morsel["max-age"] = max_age_s
    morsel["httponly"] = True
    morsel["samesite"] = "Lax"
    if secure:
        morsel["secure"] = True
    return morsel.OutputString()


@functools.cache
def _pattern(name: str) -> re.Pattern[bytes]:
    """The pattern that finds the values of the cookies of one name; the hub uses three names."""
    return re.compile(rb"(?:^|;)\s*%b\s*=([^;]*)" % re.escape(name.encode()))


def read_cookies(headers: list[tuple[bytes, bytes]], name: str) -> list[str]:
    """All cookies of a name in a request's headers, as text, in their order, at most :data:`MAX_COOKIES`; none is empty.

    A browser sends a cookie for each path and domain on which one was set, in an order that the server cannot rely on
    (RFC 6265 section 4.2.2), and another server on the same host may have set one too. The caller must therefore try each. Quotes around a
    value are removed.
    """
    found: list[bytes] = []
    for key, value in headers:
        if key == b"cookie":
            found += _pattern(name).findall(value)
    return [text for content in found if (text := content.strip(b' \t"').decode("latin-1"))][:MAX_COOKIES] if found else []


def statistics_cookie(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The ``STATISTICS_SESSIONID`` of a request; None if it has none. If there are several, it is the first with the form of the hub's own
    values, else the first one.
    """
    found = read_cookies(headers, STATISTICS_COOKIE)
    if not found:
        return None
    return next((value for value in found if _OWN_VALUE.fullmatch(value)), found[0])


def new_cookie_value() -> str:
    """A value of 128 random bits, for cookies that only distinguish browsers or logins."""
    return secrets.token_hex(16)


def kept_secret(folder: Path) -> bytes:
    """The ``HUB_SECRET`` of a single node. It is made at the first start and kept in ``folder/secret``, readable by its owner only.

    Two processes that start at once get the same secret, because the file is made in one step with its content.
    """
    path = folder / "secret"
    if not path.exists():
        make_private(folder)
        handle, name = tempfile.mkstemp(dir=folder, prefix="secret.")  # mode 0600
        try:
            with os.fdopen(handle, "w") as made:
                made.write(secrets.token_urlsafe(48))
            try:
                os.link(name, path)
            except FileExistsError:
                pass
        finally:
            Path(name).unlink()
    secret = path.read_text().strip().encode()
    if not secret:
        raise ValueError(f"{path}: expected a secret, got an empty file; remove it and a new one is made")
    return secret
