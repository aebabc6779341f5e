"""The cookie of a browser in which a user has signed in: tries in it are not slowed down while others guess the user's password
(docs/security.md#tries-to-sign-in). It lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from hub.core.ports import Clock
from hub.security.cookies import read_cookies, set_cookie

DEVICE_COOKIE: Final = "HUB_DEVICE"
LIFETIME_S: Final = 90 * 86_400
_MAX_LENGTH: Final = 200


class DeviceSigner:
    """Signs and reads the cookie. It has a number of its own, the end of its life, and a signature over both and the user."""

    __slots__ = ("_clock", "_key")

    def __init__(self, key: bytes, clock: Clock) -> None:
        """``key`` is derived from ``HUB_SECRET``."""
        self._key = key
        self._clock = clock

    def header(self, tenant: str, user: str, *, secure: bool) -> str:
        """The ``Set-Cookie`` header for a browser in which a user has just signed in."""
        number, until = secrets.token_hex(8), self._clock.wall_ms() // 1000 + LIFETIME_S
        value = f"{number}.{until}.{self._signature(number, until, tenant, user)}"
        return set_cookie(DEVICE_COOKIE, value, max_age_s=LIFETIME_S, secure=secure)

    def device(self, scope: Scope, tenant: str, user: str) -> str | None:
        """The number of a browser in which this user has signed in before; None if the request has no good cookie of the user."""
        return self._device(read_cookies(scope["headers"], DEVICE_COOKIE), tenant, user)

    def _device(self, values: Iterable[str], tenant: str, user: str) -> str | None:
        for value in values:
            number, _, rest = value.partition(".")
            end, _, signature = rest.partition(".")
            if len(value) > _MAX_LENGTH or not (end.isascii() and end.isdecimal() and signature.isascii()):
                continue
            good = hmac.compare_digest(signature, self._signature(number, int(end), tenant, user))
            if good and int(end) > self._clock.wall_ms() // 1000:
                return number
        return None

    def _signature(self, number: str, until: int, tenant: str, user: str) -> str:
        named = hashlib.sha256(f"{tenant}\x00{user}".encode("utf-8", "surrogatepass")).hexdigest()
        return hmac.digest(self._key, f"{number}.{until}.{named}".encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
