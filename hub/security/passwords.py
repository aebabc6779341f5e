"""Passwords: hashing with argon2 in threads, and a limit on failed sign-ins."""

import asyncio
import hmac
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.security.credentials import hash_secret

MIN_LENGTH: Final = 8
"""Characters of a password at least (NIST SP 800-63B section 5.1.1)."""

MAX_LENGTH: Final = 1024
"""Characters of a password at most: hashing a longer one takes more time."""

MAX_WATCHED: Final = 10_000

_hasher: Final = PasswordHash((Argon2Hasher(),))
_threads: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password")
"""Each hash takes 64 MiB and one core for about 50 ms. Two threads limit how much of both many sign-ins at once can take."""

NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$E7cJl0R5bqHYEQY0aWZyYnB5cXJzdHV2d3h5ejAxMjM"
"""A hash to verify if the user does not exist, so that the time of the answer does not reveal it."""


async def hash_password(password: str) -> str:
    """The argon2 hash of a password, for the database."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, password)


async def verify_password(password: str, stored: str | None) -> bool:
    """Whether a password matches a hash; it takes the same time if nothing is ``stored``."""
    if len(password) > MAX_LENGTH:
        return False
    raw = password.encode("utf-8", "surrogatepass")
    good = await asyncio.get_running_loop().run_in_executor(_threads, _hasher.verify, raw, stored or NOBODY)
    return good and stored is not None


def verify_built_in(password: str, digest: str) -> bool:
    """Whether a password is that of a built-in user. Its digest is a plain hash, since the password is public anyway."""
    return hmac.compare_digest(hash_secret(password), digest)


class HashQueue:
    """Bounds the passwords that wait for the threads, of all addresses and of each one: one address with many connections must not keep the
    others waiting.
    """

    __slots__ = ("_by_address", "_limits", "_waiting", "refused")

    def __init__(self, limits: Limits) -> None:
        self._by_address: dict[str, int] = {}
        self._limits = limits
        self._waiting = 0
        self.refused = 0
        """Passwords that were not checked, since too many waited."""

    def __len__(self) -> int:
        """Passwords that are being checked, or wait for it."""
        return self._waiting

    def enter(self, address: str) -> bool:
        """Take a place; False: there is none for this address now. Who took one gives it back by :meth:`leave`."""
        mine = self._by_address.get(address, 0)
        if mine >= self._limits.max_sign_ins_waiting_per_address or self._waiting >= self._limits.max_sign_ins_waiting:
            self.refused += 1
            return False
        self._by_address[address] = mine + 1
        self._waiting += 1
        return True

    def leave(self, address: str) -> None:
        """Give a place back."""
        self._waiting -= 1
        mine = self._by_address[address] - 1
        if mine:
            self._by_address[address] = mine
        else:
            del self._by_address[address]


class FailureBrake:
    """Counts failed sign-ins by address and user. It keeps a limited number of pairs and removes that with the oldest last try first."""

    __slots__ = ("_clock", "_failures", "_max_failures", "_max_watched", "_window_s")

    def __init__(self, clock: Clock, limits: Limits | None = None, *, max_watched: int = MAX_WATCHED) -> None:
        limits = limits or Limits()
        self._clock = clock
        self._max_failures = limits.sign_in_failures
        self._max_watched = max_watched
        self._window_s = limits.sign_in_window_s
        self._failures: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str, user: str) -> int:
        """Seconds to wait before another try; 0 if it is allowed now."""
        since, count = self._failures.get((address, user), (0.0, 0))
        left = since + self._window_s - self._clock.monotonic()
        if not self._max_failures or count < self._max_failures or left <= 0:
            return 0
        return max(1, round(left))

    def watches(self, address: str, user: str) -> bool:
        """Whether a try of the last ``limits.sign_in_window_s`` is counted."""
        since, count = self._failures.get((address, user), (0.0, 0))
        return count > 0 and self._clock.monotonic() - since < self._window_s

    def tried(self, address: str, user: str) -> None:
        """Count a try. It counts as failed until :meth:`succeeded` is called, so that many tries at once are limited too."""
        now = self._clock.monotonic()
        since, count = self._failures.get((address, user), (now, 0))
        if now - since >= self._window_s:
            since, count = now, 0
        self._failures[address, user] = (since, count + 1)
        self._failures.move_to_end((address, user))
        if len(self._failures) > self._max_watched:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, user: str) -> None:
        """Note that a sign-in succeeded, and forget earlier failures."""
        self._failures.pop((address, user), None)
