"""The keys of an external issuer, as its key set has them (RFC 7517): read with care, and kept for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hub.core.ports import Clock
from hub.security.issuers.counters import IssuerCounters
from hub.security.issuers.refusals import Reason, RefusedTokenError

FRESH_S: Final = 600.0
"""Seconds after which keys are fetched again. Those that are there serve until the new ones have come."""
AGAIN_S: Final = 30.0
"""Seconds between two fetches because of an unknown key at least: anybody can make up names of keys."""
RETRY_S: Final = 5.0
"""The same where there are no keys at all, since the first fetch failed."""
KEPT_S: Final = 24 * 3600.0
"""Seconds for which keys serve while the issuer does not answer."""
MAX_KEYS: Final = 64
MAX_BYTES: Final = 256 * 1024
"""Bytes of a key set or of a discovery document at most."""
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""A longer key would take milliseconds for each signature."""

KINDS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""For each algorithm the kind of its keys, and the curve (RFC 7518 section 3.1, RFC 8037 section 3.1)."""

_log = structlog.get_logger(__name__)

Fetch = Callable[[], Awaitable[bytes]]
"""Fetches the key set of an issuer.

Raises:
    KeysUnavailableError: it cannot be had.
"""


class KeysUnavailableError(Exception):
    """The keys of an issuer cannot be had now. The text says why."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key of an issuer."""

    kid: str | None
    kind: str
    curve: str | None
    algorithm: str | None
    """The only algorithm that it is for, if the issuer says so."""
    key: Any
    """The key of joserfc."""

    def serves(self, algorithm: str) -> bool:
        """Whether it may check signatures of an algorithm: no key of one kind serves for another (RFC 8725 section 3.1)."""
        return (self.kind, self.curve) == KINDS[algorithm] and self.algorithm in (None, algorithm)


def read_keys(document: bytes) -> tuple[IssuerKey, ...]:
    """The keys of a key set that can check signatures; those of other kinds, for encryption, or malformed are left out
    (RFC 7517 section 5).

    Raises:
        KeysUnavailableError: it is no key set, or has too many keys.
    """
    try:
        found = json.loads(document)
        keys = found["keys"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise KeysUnavailableError("expected a JSON object with keys") from None
    if not isinstance(keys, list):
        raise KeysUnavailableError("keys: expected a list")
    if len(keys) > MAX_KEYS:
        raise KeysUnavailableError(f"keys: expected at most {MAX_KEYS}, got {len(keys)}")
    return tuple(key for key in map(_key, keys) if key is not None)


def _key(raw: Any) -> IssuerKey | None:
    if not isinstance(raw, dict) or raw.get("use", "sig") != "sig":
        return None
    operations = raw.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, kind, curve, algorithm = (raw.get(name) for name in ("kid", "kty", "crv", "alg"))
    if not all(each is None or isinstance(each, str) for each in (kid, kind, curve, algorithm)):
        return None
    # a private key in a public document is nobody's secret any more
    if "d" in raw or kind not in ("RSA", "EC", "OKP"):
        return None
    curve = None if kind == "RSA" else curve
    if (kind, curve) not in KINDS.values() or (algorithm is not None and algorithm not in KINDS):
        return None
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    try:
        kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
        key = kinds[kind].import_key({name: raw[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in raw})
        if kind == "RSA" and not MIN_RSA_BITS <= key.public_key.key_size <= MAX_RSA_BITS:
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return IssuerKey(kid, kind, curve, algorithm, key)


class KeyCache:
    """The keys of one issuer. Of many tokens at once that need a fetch, one makes it."""

    __slots__ = ("_clock", "_counters", "_fetch", "_fetching", "_keys", "_name", "_read_s", "_tried_s", "trouble")

    def __init__(self, name: str, fetch: Fetch, clock: Clock, counters: IssuerCounters) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._counters = counters
        self._keys: tuple[IssuerKey, ...] = ()
        self._read_s: float | None = None
        self._tried_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why the last fetch failed; None if it did not."""

    async def find(self, algorithm: str, kid: str | None) -> IssuerKey:
        """The key that a token names, or where it names none, the only one that can have signed it.

        Raises:
            RefusedTokenError: ``key``: there is none.
            KeysUnavailableError: no keys are there, and they cannot be fetched.
        """
        age_s = self._age_s()
        if age_s is None:
            await self._wait_for_fetch(RETRY_S)
            if self._age_s() is None:
                raise KeysUnavailableError(self.trouble or "the keys were not fetched")
        elif age_s >= FRESH_S:
            self._start(AGAIN_S)
        found = self._known(algorithm, kid)
        if found is None and await self._wait_for_fetch(AGAIN_S):
            found = self._known(algorithm, kid)
        if found is None:
            raise RefusedTokenError(Reason.KEY, "kid: the issuer has no such key for this algorithm")
        return found

    async def stop(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    @property
    def number(self) -> int:
        """How many keys are there."""
        return len(self._keys)

    def _age_s(self) -> float | None:
        """Seconds since the keys were fetched; None if there are none, or they are too old to serve."""
        if self._read_s is None or self._clock.monotonic() - self._read_s >= KEPT_S:
            return None
        return self._clock.monotonic() - self._read_s

    def _known(self, algorithm: str, kid: str | None) -> IssuerKey | None:
        fitting = [key for key in self._keys if key.serves(algorithm) and kid in (None, key.kid)]
        return fitting[0] if fitting and (kid is not None or len(fitting) == 1) else None

    def _start(self, apart_s: float) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one; None if the last one was less than ``apart_s`` seconds ago."""
        if self._fetching is None:
            now = self._clock.monotonic()
            if self._tried_s is not None and now - self._tried_s < apart_s:
                return None
            self._tried_s = now
            self._fetching = asyncio.create_task(self._run(), name="hub.security.issuers.keys")
        return self._fetching

    async def _wait_for_fetch(self, apart_s: float) -> bool:
        """Wait for a fetch; False: none is due. Others may wait for the same one, so it goes on if this caller goes."""
        task = self._start(apart_s)
        if task is None:
            return False
        await asyncio.shield(task)
        return True

    async def _run(self) -> None:
        try:
            self._counters.fetches += 1
            keys = read_keys(await self._fetch())
            if not keys:
                raise KeysUnavailableError("keys: expected at least one for signatures")
        except KeysUnavailableError as error:
            self._counters.fetches_failed += 1
            if self.trouble is None:
                _log.warning("issuer_keys_unavailable", issuer=self._name, error=str(error))
            self.trouble = str(error)
        else:
            if self.trouble is not None:
                _log.info("issuer_keys_fetched_again", issuer=self._name)
            self._keys, self._read_s, self.trouble = keys, self._clock.monotonic(), None
        finally:
            self._fetching = None
