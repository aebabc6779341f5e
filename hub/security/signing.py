"""The keys that sign ID tokens, in the database, and what they sign (docs/protocol/oauth.md#keys).

All nodes sign with the same keys. A private key is stored encrypted under a key that is derived from ``HUB_SECRET``, so that a copy of the
database alone signs nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from hub.audit.log import Recorder
from hub.audit.models import HUB_WIDE, Event
from hub.security.oauth.keys import ALGORITHMS, RS256, SIGNS_MS, KeyTimes, next_key_from, published, rotated_from, signer
from hub.security.queries import begin_change
from hub.storage.transactions import Transaction, Transactions

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

    Key = RSAKey | ECKey

FRESH_MS: Final = 300_000
"""For how long keys that were read are used without looking again. It is much shorter than the time for which a key is published before it
signs, so every node knows a key before any of them signs with it."""

_NONCE_BYTES: Final = 12

_log = structlog.get_logger(__name__)


class SigningKeys:
    """Signs claims, and makes keys as they are needed. The libraries are loaded with the first use."""

    __slots__ = ("_audit", "_keys", "_lock", "_now_ms", "_read_ms", "_rsa_bits", "_seal", "_transactions", "_unreadable")

    def __init__(self, transactions: Transactions, secret: bytes, now_ms: Callable[[], int], audit: Recorder, rsa_bits: int) -> None:
        """``secret`` is ``HUB_SECRET``; ``now_ms`` returns the time of day, in milliseconds since 1970 UTC; ``audit`` records who rotates
        keys; ``rsa_bits`` is the length of RSA keys that are made: those that were made before sign on as they are.
        """
        self._audit = audit
        self._transactions = transactions
        self._seal = hmac.digest(secret, b"signing keys", "sha256")
        self._now_ms = now_ms
        self._keys: dict[KeyTimes, Key] = {}
        self._read_ms: int | None = None
        self._rsa_bits = rsa_bits
        self._lock = asyncio.Lock()
        self._unreadable: set[str] = set()

    async def sign(self, algorithm: str, typ: str, claims: Mapping[str, Any]) -> str:
        """A signed token of claims (RFC 7519). ``typ`` is its kind, so that one kind cannot be taken for another (RFC 8725 section 3.11).

        Raises:
            StorageError: the database does not answer, and no key is known.
        """
        from joserfc import jwt

        await self._refresh()
        times = signer(self._keys, algorithm, self._now_ms())
        assert times is not None  # _refresh has made one
        header = {"alg": algorithm, "kid": times.kid, "typ": typ}
        return await asyncio.to_thread(jwt.encode, header, dict(claims), self._keys[times], algorithms=list(ALGORITHMS))

    async def key_set(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set (RFC 7517 section 5).

        Raises:
            StorageError: as for :meth:`sign`.
        """
        await self._refresh()
        keys = [
            {**self._keys[times].as_dict(private=False), "kid": times.kid, "use": "sig", "alg": times.algorithm}
            for times in published(self._keys, self._now_ms())
        ]
        return {"keys": keys}

    async def rotate(self) -> Sequence[KeyTimes]:
        """Make the next keys now; they sign as soon as every client can know them.

        Raises:
            StorageError: the database does not answer.
        """
        await self._refresh()
        made = []
        for algorithm in ALGORITHMS:
            signs_from = rotated_from(self._keys, algorithm, self._now_ms())
            made.append(await self._make(algorithm, lambda _, signs_from=signs_from: signs_from, told=True))  # type: ignore[misc]
        await self._read()
        return [each for each in made if each is not None]

    async def _refresh(self) -> None:
        """Read the keys if that was long ago, and make those that are needed."""
        async with self._lock:
            now = self._now_ms()
            if self._read_ms is not None and 0 <= now - self._read_ms < FRESH_MS:
                return
            await self._read()
            needed = [algorithm for algorithm in ALGORITHMS if next_key_from(self._keys, algorithm, now) is not None]
            for algorithm in needed:
                await self._make(algorithm, lambda keys, of=algorithm: next_key_from(keys, of, now))  # type: ignore[misc]
            if needed:  # made here, or by another node meanwhile
                await self._read()
            self._read_ms = now

    async def _make(self, algorithm: str, when: Callable[[Sequence[KeyTimes]], int | None], *, told: bool = False) -> KeyTimes | None:
        """Make and store a key that signs from ``when``; ``told``: somebody has ordered it, which the audit log tells. None: another node
        has made one meanwhile.
        """
        key = await asyncio.to_thread(_generate, algorithm, self._rsa_bits)
        kid = key.thumbprint()
        sealed = self._sealed(kid, key.as_pem(private=True))

        def add(tx: Transaction) -> KeyTimes | None:
            begin_change(tx)
            there = [KeyTimes(*row) for row in tx.rows("SELECT kid, algorithm, signs_from_ms, signs_until_ms FROM signing_keys")]
            signs_from = when([each for each in there if each.kid not in self._unreadable])
            if signs_from is None:
                return None
            for each in there:  # a key that was rotated out early stops when its successor begins
                if each.algorithm == algorithm and each.signs_until_ms > signs_from:
                    tx.run("UPDATE signing_keys SET signs_until_ms = ? WHERE kid = ?", (signs_from, each.kid))
            tx.run("DELETE FROM signing_keys WHERE signs_until_ms < ?", (self._now_ms() - SIGNS_MS,))
            made = KeyTimes(kid, algorithm, signs_from, signs_from + SIGNS_MS)
            tx.run(
                "INSERT INTO signing_keys (kid, algorithm, sealed, signs_from_ms, signs_until_ms) VALUES (?, ?, ?, ?, ?)",
                (kid, algorithm, sealed, made.signs_from_ms, made.signs_until_ms),
            )
            if told:
                after = {"algorithm": algorithm, "signs_from_ms": made.signs_from_ms}
                self._audit.record(tx, Event.SIGNING_KEYS_ROTATED, HUB_WIDE, f"signing_key:{kid}", after=after)
            return made

        return await self._transactions.write(add)

    async def _read(self) -> None:
        rows = await self._transactions.read(
            lambda tx: tx.rows("SELECT kid, algorithm, signs_from_ms, signs_until_ms, sealed FROM signing_keys")
        )
        known = {times.kid: key for times, key in self._keys.items()}
        keys: dict[KeyTimes, Key] = {}
        for kid, algorithm, signs_from_ms, signs_until_ms, sealed in rows:
            key = known.get(kid) or self._unsealed(kid, algorithm, bytes(sealed))
            if key is not None:
                keys[KeyTimes(kid, algorithm, signs_from_ms, signs_until_ms)] = key
        self._keys = keys

    def _sealed(self, kid: str, pem: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._seal).encrypt(nonce, pem, kid.encode())

    def _unsealed(self, kid: str, algorithm: str, sealed: bytes) -> Key | None:
        """A stored key; None if it was stored under another ``HUB_SECRET``: a new one is made, and tokens of the old one are not good."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            pem = AESGCM(self._seal).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())
        except InvalidTag:
            if kid not in self._unreadable:
                self._unreadable.add(kid)
                _log.error("signing_key_unreadable", kid=kid, why="it was stored under another HUB_SECRET", effect="a new key is made")
            return None
        return _imported(algorithm, pem)


def _generate(algorithm: str, rsa_bits: int) -> Key:
    from joserfc.jwk import ECKey, RSAKey

    return RSAKey.generate_key(rsa_bits) if algorithm == RS256 else ECKey.generate_key("P-256")


def _imported(algorithm: str, pem: bytes) -> Key:
    """A key that was sealed. Whether its numbers are primes is not looked at, which would hold the event loop for 90 ms where it has 3,072
    bits: the seal has shown that a hub of this secret has made it.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, RSAKey

    if algorithm != RS256:
        return ECKey.import_key(pem)
    key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return RSAKey.import_key(key)
