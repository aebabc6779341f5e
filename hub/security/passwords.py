"""Passwords: hashing with argon2 in threads, and a bound on those that wait for it."""

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, verify_secret
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from hub.core.limits import Limits
from hub.giving_way import give_way
from hub.security.credentials import hash_secret
from hub.security.settings import PasswordHashSettings

MIN_LENGTH: Final = 8
"""Characters of a password at least (NIST SP 800-63B section 5.1.1)."""

MAX_LENGTH: Final = 1024
"""Characters of a password at most: hashing a longer one takes more time."""

_LANES: Final = 1
"""One lane: argon2 makes a thread for each lane of each hash, so that two hashes of four lanes are eight threads beside that of the event
loop, and messages wait ten times as long while somebody guesses passwords. One lane is as much work for an attacker: that is decided by the
memory and the rounds (RFC 9106 section 4 has four lanes so that a hash is made sooner)."""

_NICER: Final = 5
"""How much nicer than the process a thread of passwords is. By the scheduler of Linux the event loop then gets three fifths of a core that
it and both threads want; p99 of messages is the same as with 10 or 19, which would leave passwords no time where much else is to do."""


_threads: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password", initializer=give_way, initargs=(_NICER,))
"""By default each hash takes 64 MiB and one core for about 50 ms. Two threads limit how much of both many sign-ins at once can take."""

_NO_PASSWORD: Final = "MDEyMzQ1Njc4OWFiY2RlZg$E7cJl0R5bqHYEQY0aWZyYnB5cXJzdHV2d3h5ejAxMjM"  # noqa: S105  nobody's
"""Salt and digest of a hash that no known password has, as long as those of a real one."""


class _Hasher(Argon2Hasher):
    """As pwdlib's, which takes a password for wrong that could not be checked, for a lack of memory say: here that is an error."""

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        given = password.encode() if isinstance(password, str) else password
        stored = hash.encode() if isinstance(hash, str) else hash
        try:
            return verify_secret(stored, given, Type.ID)
        except VerifyMismatchError:
            return False


class PasswordHashes:
    """Makes hashes of passwords at one cost, and checks passwords against hashes of any."""

    __slots__ = ("_hasher", "nobody")

    def __init__(self, memory_kib: int, rounds: int) -> None:
        """``memory_kib`` is the memory of a hash, in KiB, 8 at least (RFC 9106 section 3.1); ``rounds`` is how often argon2 goes through
        it, 1 at least. What is safe the settings decide (:class:`hub.security.settings.PasswordHashSettings`).
        """
        self._hasher = PasswordHash((_Hasher(time_cost=rounds, memory_cost=memory_kib, parallelism=_LANES),))
        self.nobody: Final = f"$argon2id$v=19$m={memory_kib},t={rounds},p={_LANES}${_NO_PASSWORD}"
        """A hash to verify if the user does not exist, so that the time of the answer does not reveal it: at the cost of those that are
        made."""

    async def hash(self, password: str) -> str:
        """The argon2 hash of a password, for the database.

        Raises:
            argon2.exceptions.HashingError: there is not memory enough for it.
        """
        return await asyncio.get_running_loop().run_in_executor(_threads, self._hasher.hash, password)

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether a password matches a hash, at the cost with which the hash was made. If nothing is ``stored`` it takes as long as for a
        hash that was made here.

        Raises:
            argon2.exceptions.VerificationError: nobody can say: there is not memory enough for it, or what is stored is damaged.
        """
        if len(password) > MAX_LENGTH:
            return False
        raw = password.encode("utf-8", "surrogatepass")
        good = await asyncio.get_running_loop().run_in_executor(_threads, self._hasher.verify, raw, stored or self.nobody)
        return good and stored is not None


def hashes_of(settings: PasswordHashSettings) -> PasswordHashes:
    """Hashes at the cost of the settings."""
    return PasswordHashes(settings.memory_kib, settings.rounds)


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
