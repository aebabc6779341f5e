"""The device authorization grant (RFC 8628): tokens for a device without a keyboard, such as a wallboard on a television. The device
shows a short code, its user types that on a page of the hub in another browser, and allows it there.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from hub.security.oauth.errors import OAuthError, invalid_grant
from hub.security.oauth.models import NewTokens, Person
from hub.security.oauth.ports import Asker

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""The letters of user codes: consonants, which make no words and are not taken for digits (RFC 8628 section 6.1)."""

LENGTH: Final = 8
"""Letters of a user code: 34 bits, so that somebody with 10 tries finds one of 10,000 live codes once in 250,000 times."""

MAX_TYPED: Final = 64
"""Characters that are looked at of what somebody typed."""

SLOW_DOWN_S: Final = 5
"""Seconds by which a device has to wait longer between its questions, for each one that came too soon (RFC 8628 section 3.5)."""

MAX_PACED: Final = 20_000
"""Devices whose last question is remembered; the one that asked longest ago is forgotten first."""

KEPT_MS: Final = 3_600_000
"""For how long a device code stays after its end, so that a device that comes late is told that it expired."""


class DeviceState(StrEnum):
    """What the user has said."""

    PENDING = "pending"
    ALLOWED = "allowed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A device that asks for tokens, as it is stored."""

    client: str
    tenant: str
    user_code: str
    scopes: tuple[str, ...]
    expires_ms: int
    """Until when it can be allowed, and its tokens fetched, in milliseconds since 1970 UTC."""
    state: DeviceState = DeviceState.PENDING
    user: str | None = None
    """The id of the user who allowed it."""
    generation: int = 0
    """That of the user at that time: with another password, or a sign-out everywhere, the permission ends."""
    auth_time_s: int = 0
    used: bool = False
    """Whether its tokens were fetched."""


IssueForDevice = Callable[[DeviceCode, Person], NewTokens]
"""Says what to store for a device code that was claimed; see :data:`hub.security.oauth.ports.IssueForCode`."""


class TooManyDevicesError(Exception):
    """There are too many live device codes, of the address, the client or the tenant. The text names the setting."""


class DeviceStore(Protocol):
    """Device codes. Each method is one transaction."""

    async def add(self, digest: str, device: DeviceCode, address: str) -> DeviceCode:
        """Store a device code by its hash; returns it with a user code that no other live one has.

        Raises:
            TooManyDevicesError: there are too many already.
        """
        ...

    async def find(self, digest: str) -> DeviceCode | None:
        """A device code by its hash, also one that has ended a short time ago."""
        ...

    async def find_pending(self, tenant: str, user_code: str) -> DeviceCode | None:
        """A device code of a tenant that waits for an answer, by its user code."""
        ...

    async def answer(self, user_code: str, person: Person, auth_time_s: int, address: str, *, allow: bool) -> bool:
        """Note what a user of the tenant says, from an address; False: somebody has answered before, or it is too late."""
        ...

    async def redeem(self, digest: str, issue: IssueForDevice, asker: Asker) -> tuple[DeviceCode, Person]:
        """Claim a device code that was allowed, once, and store the tokens for it.

        Raises:
            OAuthError: ``invalid_grant``: it was used, has ended, or its user may not sign in any more. Whatever ``issue`` raises.
        """
        ...


def new_user_code() -> str:
    """A user code without its hyphen."""
    return "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def shown(user_code: str) -> str:
    """A user code as people read it: ``BCDF-GHJK``."""
    return f"{user_code[: LENGTH // 2]}-{user_code[LENGTH // 2 :]}"


def read_user_code(typed: str) -> str | None:
    """The user code that somebody typed, in any case, with blanks or hyphens anywhere; None if it cannot be one."""
    letters = "".join(each for each in typed[:MAX_TYPED].upper() if each not in " -\u2010\u2011\u2013_.")
    return letters if len(letters) == LENGTH and all(each in LETTERS for each in letters) else None


def authorization(device_code: str, device: DeviceCode, page: str, lasts_s: int, interval_s: int) -> dict[str, Any]:
    """The answer to a device that asks for codes (RFC 8628 section 3.2); ``page`` is the URL of the page where the user types the code."""
    code = shown(device.user_code)
    return {
        "device_code": device_code,
        "user_code": code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?user_code={code}",
        "expires_in": lasts_s,
        "interval": interval_s,
    }


def check_polled(device: DeviceCode | None, client: str, now_ms: int) -> DeviceCode:
    """Check whether a device that asks for its tokens gets them (RFC 8628 section 3.5).

    Raises:
        OAuthError: ``invalid_grant``: the code is unknown, another client's, or used; ``expired_token``, ``access_denied``,
            ``authorization_pending``.
    """
    if device is None or device.client != client or device.used:
        raise invalid_grant()
    if device.expires_ms <= now_ms:
        raise OAuthError("expired_token", "device_code: it has expired; ask for another one")
    if device.state is DeviceState.DENIED:
        raise OAuthError("access_denied", "the user does not allow it")
    if device.state is DeviceState.PENDING:
        raise OAuthError("authorization_pending", "the user has not answered yet")
    return device


class Pacing:
    """How often devices ask for their tokens, in this process. One that asks too soon has to wait longer from then on."""

    __slots__ = ("_interval_ms", "_last", "_max_paced")

    def __init__(self, interval_s: int, *, max_paced: int = MAX_PACED) -> None:
        """``interval_s`` is the time between two questions that devices are told; for ``max_paced`` see :data:`MAX_PACED`."""
        self._interval_ms = interval_s * 1000
        self._max_paced = max_paced
        # by the hash of the device code: when it asked last, and how long it has to wait after that
        self._last: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many devices are remembered."""
        return len(self._last)

    def asked(self, digest: str, now_ms: int) -> None:
        """Note a question of a device whose code is live. A question that is up to a second early is in order: on the way, some take
        longer than others.

        Raises:
            OAuthError: ``slow_down``.
        """
        before = self._last.pop(digest, None)
        too_soon = before is not None and now_ms - before[0] < before[1] - 1000
        wait_ms = (self._interval_ms if before is None else before[1]) + (SLOW_DOWN_S * 1000 if too_soon else 0)
        self._last[digest] = (now_ms, wait_ms)
        if len(self._last) > self._max_paced:
            self._last.popitem(last=False)
        if too_soon:
            raise OAuthError("slow_down", f"expected {wait_ms // 1000} s between two requests from now on")

    def forget(self, digest: str) -> None:
        """The device has its tokens, or gets none."""
        self._last.pop(digest, None)
