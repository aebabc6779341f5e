"""Takes tokens of external issuers: finds the issuer, checks the token, maps its claims, and notes it in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from hub.core.ports import Clock
from hub.security.issuers.counters import IssuerCounters
from hub.security.issuers.fetching import Fetcher
from hub.security.issuers.keys import KeyCache, KeysUnavailableError
from hub.security.issuers.mapping import identify
from hub.security.issuers.refusals import Reason, RefusedTokenError
from hub.security.issuers.settings import IssuerSettings
from hub.security.issuers.store import ExternalStore, TooManyExternalTokensError
from hub.security.issuers.tokens import MAX_TOKEN, check_claims, check_signature, is_external, issued_s, read
from hub.security.lookup import LookupUnavailableError

_LOGGED_S: Final = 60.0
"""Seconds between two lines of the log about tokens that one issuer has refused for one reason: anybody can send such tokens."""

_log = structlog.get_logger(__name__)


class ExternalTokens:
    """The external issuers of a hub (:class:`hub.security.directory.External`)."""

    __slots__ = ("_clock", "_fetcher", "_issuers", "_keys", "_logged", "_store", "counters", "fingerprints")

    def __init__(self, issuers: Sequence[IssuerSettings], fetcher: Fetcher, store: ExternalStore, clock: Clock) -> None:
        self._clock = clock
        self._fetcher = fetcher
        self._store = store
        self.counters = IssuerCounters()
        self._issuers = {each.issuer: each for each in issuers}
        self._keys = {
            each.issuer: KeyCache(each.name, lambda of=each: fetcher.key_set(of), clock, self.counters)  # type: ignore[misc]
            for each in issuers
        }
        self._logged: dict[tuple[str, Reason], float] = {}
        self.fingerprints = frozenset(each.fingerprint for each in issuers)
        """Of the settings under which tokens were taken that are good now."""

    async def start(self) -> None:
        """Nothing is fetched before it is needed."""

    async def stop(self) -> None:
        """End the fetches that are under way."""
        for keys in self._keys.values():
            await keys.stop()
        await self._fetcher.stop()

    def takes(self, token: bytes) -> bool:
        """Whether a bearer token is one for this class, and not too long to be looked at."""
        return len(token) <= MAX_TOKEN and is_external(token)

    async def admit(self, token: bytes, digest: str) -> bool:
        """Check a token that is not known, and note it by its hash if it is good.

        Raises:
            LookupUnavailableError: the keys of its issuer cannot be had, the tenant has too many tokens, or the database does not answer.
        """
        issuer: IssuerSettings | None = None
        try:
            unverified = read(token)
            issuer = self._issuers.get(unverified.issuer)
            if issuer is None:
                raise RefusedTokenError(Reason.ISSUER, "iss: no such issuer in auth.issuers")
            expires_s = check_claims(unverified, issuer, self._clock.wall_ms() / 1000)
            key = await self._keys[issuer.issuer].find(unverified.algorithm, unverified.kid)
            check_signature(unverified, key)
            identity = identify(unverified.claims, issuer, token)
            await self._store.admit(digest, identity, issuer, issued_s(unverified), expires_s)
        except RefusedTokenError as error:
            self.counters.refused(error.reason)
            self._tell("" if issuer is None else issuer.name, error)
            return False
        except KeysUnavailableError as error:
            assert issuer is not None
            raise LookupUnavailableError(f"the keys of the issuer {issuer.name} cannot be had: {error}") from error
        except TooManyExternalTokensError as error:
            self.counters.too_many += 1
            raise LookupUnavailableError(str(error)) from error
        self.counters.taken += 1
        return True

    def _tell(self, name: str, error: RefusedTokenError) -> None:
        now = self._clock.monotonic()
        last = self._logged.get((name, error.reason))
        if last is None or now - last >= _LOGGED_S:
            self._logged[name, error.reason] = now
            _log.info("external_token_refused", issuer=name, reason=str(error.reason), why=error.why)

    async def trouble(self) -> str | None:
        """Which issuers' keys could not be fetched the last time; None if there is none."""
        found = [f"{self._issuers[name].name}: {keys.trouble}" for name, keys in self._keys.items() if keys.trouble is not None]
        return "; ".join(found) or None

    @property
    def keys(self) -> int:
        """How many keys of issuers are known."""
        return sum(keys.number for keys in self._keys.values())
