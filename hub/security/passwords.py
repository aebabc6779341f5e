"""Passwords: hashing with argon2 in threads, and a bound on those that wait for it."""

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from hub.core.limits import Limits
from hub.giving_way import give_way
from hub.security.credentials import hash_secret

MIN_LENGTH: Final = 8
"""Characters of a password at least (NIST SP 800-63B section 5.1.1)."""

MAX_LENGTH: Final = 1024
"""Characters of a password at most: hashing a longer one takes more time."""

_hasher: Final = PasswordHash((Argon2Hasher(parallelism=1),))
"""One lane: argon2 makes a thread for each lane of each hash, so that two hashes of four lanes are eight threads beside that of the event
loop, and messages wait ten times as long while somebody guesses passwords. One lane is as much work for an attacker: that is decided by the
memory and the rounds (RFC 9106 section 4 has four lanes so that a hash is made sooner)."""

_NICER: Final = 5
"""How much nicer than the process a thread of passwords is. By the scheduler of Linux the event loop then gets three fifths of a core that
it and both threads want; p99 of messages is the same as with 10 or 19, which would leave passwords no time where much else is to do."""


_threads: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password", initializer=give_way, initargs=(_NICER,))
"""Each hash takes 64 MiB and one core for about 50 ms. Two threads limit how much of both many sign-ins at once can take."""

NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=1$MDEyMzQ1Njc4OWFiY2RlZg$E7cJl0R5bqHYEQY0aWZyYnB5cXJzdHV2d3h5ejAxMjM"
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
