"""A cache of credentials. What a change in the database concerns is read again; the rest stays."""

import asyncio
import heapq
import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.security.changes import Concerned, has_shrunk
from hub.security.client_origins import MAX_ORIGINS, ClientOrigins
from hub.security.credentials import MAX_SECRET_LENGTH, Credential, hash_secret
from hub.security.lookup import Lookup, LookupUnavailableError
from hub.security.roles import Grants

MAX_CACHED: Final = 10_000
"""Look-ups in the cache at most: this many of found and this many of unknown credentials, so that guesses do not displace known callers."""

SLICE_ITEMS: Final = 256
"""Credentials, or tickets, that are checked before other tasks run; it takes about 0.3 ms."""

MAX_STALE_S: Final = 300.0
"""Seconds for which known callers go on while the database does not answer, if nothing else is said."""

SIGN_IN_KEPT_MS: Final = 31 * 86_400_000
"""For how long an ended sign-in is remembered at least: longer than a cookie of "stay signed in" is good."""


def sign_ins_kept_ms(sign_in_hours: int) -> int:
    """For how long an ended sign-in is remembered: longer than any sign-in cookie is good. ``sign_in_hours``: the setting."""
    return max(SIGN_IN_KEPT_MS, (sign_in_hours + 24) * 3_600_000)


_BY_OWN_KIND: Final = frozenset({"key", "aws"})
"""Kinds of credentials that are looked up as such; those of all kinds of tokens are looked up as tokens."""

Gone = Callable[[Principal], bool]
"""Whether a principal's credential was removed, changed or has expired, or its browser has signed out."""


def _gone(credentials: Collection[str], logins: Collection[str]) -> Gone | None:
    if not credentials and not logins:
        return None
    return lambda principal: (
        principal.credential in credentials or principal.token_login in logins or (principal.renewed_login or None) in logins
    )


@dataclass(slots=True)
class Counters:
    """What the directory counts; ``/metrics`` reads them."""

    lookups: int = 0
    """Credentials that were looked up in the database; the others were answered from memory."""
    reloads: int = 0
    """Times that something had changed of which the database does not say what, and all that was in memory was read again."""
    revoked: int = 0
    """Credentials in use that were removed, changed, or ran out."""
    unverified: int = 0
    """Credentials in use of which nobody knew any more whether they are good, since the database had not answered for long."""


class External(Protocol):
    """Takes tokens of external issuers (:class:`hub.security.issuers.service.ExternalTokens`)."""

    fingerprints: frozenset[str]

    def takes(self, token: bytes) -> bool:
        """Whether a bearer token has the form of one of these."""
        ...

    async def admit(self, token: bytes, digest: str) -> bool:
        """Check a token that is not known, and note it by its hash in the database if it is good.

        Raises:
            LookupUnavailableError: it cannot be checked now.
        """
        ...


class Directory:
    """Finds credentials: those of ``--demo`` first, then those of the database."""

    __slots__ = (
        "_absent",
        "_built_in",
        "_clock",
        "_database",
        "_ended_logins",
        "_expiries",
        "_external",
        "_found",
        "_generation",
        "_grants",
        "_issued",
        "_max_cached",
        "_number",
        "_overlay",
        "_read_at",
        "_signed_out",
        "client_origins",
        "counters",
        "grants_generation",
        "max_stale_s",
        "sign_ins_kept_ms",
    )

    def __init__(
        self,
        database: Lookup,
        clock: Clock,
        overlay: Lookup | None = None,
        *,
        max_cached: int = MAX_CACHED,
        max_origins: int = MAX_ORIGINS,
    ) -> None:
        """``overlay`` is searched before ``database``; for ``max_cached`` see :data:`MAX_CACHED`, for ``max_origins``
        :class:`hub.security.client_origins.ClientOrigins`.
        """
        self._database = database
        self._overlay = overlay
        # ids of those of the overlay that were returned to a caller
        self._built_in: set[str] = set()
        self._max_cached = max_cached
        self._external: External | None = None
        self._clock = clock
        self.counters = Counters()
        self.max_stale_s = MAX_STALE_S
        """For so many seconds known callers go on while the database does not answer; 0: for ever."""
        self.sign_ins_kept_ms = SIGN_IN_KEPT_MS
        """See :func:`sign_ins_kept_ms`."""
        self._read_at: float | None = None
        # look-ups by (kind, key)
        self._found: OrderedDict[tuple[str, str], Credential] = OrderedDict()
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._grants: dict[tuple[str, frozenset[str]], Grants] = {}
        # rises with each change: what was read before it and comes after it is not kept
        self._generation = 0
        self.grants_generation = 0
        """Rises when grants of roles may have changed."""
        self.client_origins = ClientOrigins(max_origins)
        """The origins that clients have registered, as of the last :meth:`refresh`."""
        self._number: int | None = None
        # by number: the login of an ended sign-in, and when it ended
        self._signed_out: dict[str, tuple[str, int]] = {}
        self._ended_logins: set[str] = set()
        # by id: each credential that was returned to a caller, as it was then
        self._issued: dict[str, Credential] = {}
        self._expiries: list[tuple[int, str]] = []

    def take_external(self, external: External) -> None:
        """Take tokens of external issuers, too, from now on."""
        self._external = external
        self._database.accept_issuers(external.fingerprints)

    async def by_bearer(self, token: bytes) -> Credential | None:
        """The credential of a bearer token as a client shows it: one of the hub's own, or of an external issuer.

        Raises:
            LookupUnavailableError: it cannot be looked up, or checked, now.
        """
        if self._external is not None and self._external.takes(token):
            digest = hash_secret(token)
            found = await self.by_token(digest)
            if found is None and await self._external.admit(token, digest):
                self._absent.pop(("token", digest), None)
                found = await self.by_token(digest)
            return found
        return await self.by_token(hash_secret(token)) if 0 < len(token) <= MAX_SECRET_LENGTH else None

    async def by_token(self, digest: str) -> Credential | None:
        """The credential of a bearer token; None if it is unknown or has expired."""
        return await self._remember("token", digest, lambda source: source.by_token(digest))

    async def by_key(self, digest: str) -> Credential | None:
        """The credential of an API key."""
        return await self._remember("key", digest, lambda source: source.by_key(digest))

    async def by_access_key(self, key_id: str) -> Credential | None:
        """The credential of an access key, by its id."""
        return await self._remember("aws", key_id, lambda source: source.by_access_key(key_id))

    async def by_id(self, identifier: str) -> Credential | None:
        """The credential with an id; None if it was removed or has expired."""

        async def find(source: Lookup) -> Credential | None:
            return (await source.by_ids([identifier])).get(identifier)

        return await self._remember("id", identifier, find)

    async def by_user(self, tenant: str, name: str) -> tuple[Credential | None, bool]:
        """Find a user, without the cache. Also returns whether it is the user of ``--demo``."""
        if self._overlay is not None and (found := await self._overlay.by_user(tenant, name)) is not None:
            return found, True
        return await self._database.by_user(tenant, name), False

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        """The grants of roles of a tenant."""
        found = self._grants.get((tenant, roles))
        while found is None:
            generation = self._generation
            self.counters.lookups += 1
            found = await self._database.grants(tenant, roles)
            if generation != self._generation:
                found = None
                continue
            if len(self._grants) >= self._max_cached:
                self._grants.clear()
            self._grants[tenant, roles] = found
        return found

    async def _remember(self, kind: str, key: str, find: Callable[[Lookup], Awaitable[Credential | None]]) -> Credential | None:
        if self._overlay is not None and (built_in := await find(self._overlay)) is not None:
            self._built_in.add(built_in.id)
            return built_in
        if self._read_at is not None and self.stale:
            raise LookupUnavailableError(f"changes of credentials have not been read for {self.stale_s:.0f} s (auth.max_stale_s)")
        place = (kind, key)
        while True:
            if (known := self._found.get(place)) is not None:
                self._found.move_to_end(place)
                return self._let_in(known)
            if place in self._absent:
                return None
            generation = self._generation
            self.counters.lookups += 1
            found = await find(self._database)
            if generation != self._generation:  # the cache was emptied meanwhile because of a change: read it again
                continue
            if found is None:
                self._absent[place] = None
                if len(self._absent) > self._max_cached:
                    self._absent.popitem(last=False)
                return None
            self._found[place] = found
            if len(self._found) > self._max_cached:
                self._found.popitem(last=False)
            return self._let_in(found)

    def _let_in(self, credential: Credential) -> Credential | None:
        if credential.expires_ms is not None and self._clock.wall_ms() >= credential.expires_ms:
            return None
        if credential.id not in self._issued:
            self._issued[credential.id] = credential
            if credential.expires_ms is not None:
                heapq.heappush(self._expiries, (credential.expires_ms, credential.id))
        return credential

    async def refresh(self) -> Gone | None:
        """Look for credentials that changed or expired. Returns a function that tells which principals are concerned; None if there are
        none. Call it once a second. If there are many credentials, other tasks run in between.

        What changed is taken out of the cache before it is read again, so that a caller that comes in the meantime is checked against the
        database.
        """
        gone: set[str] = set()
        signed_out: set[str] = set()
        changes = await self._database.changes(self._number)
        if self._number is None or changes.known is None:
            self._forget()
            self.client_origins.set(await self._database.client_origins())
            before = {f"{number} {login}" for number, (login, _) in self._signed_out.items()}
            ended = dict(await self._database.ended_sign_ins())
            self._end_sign_ins(ended)  # those that are known stay, also where somebody has removed their rows
            if self._number is not None:
                signed_out = ended.keys() - before
                self.counters.reloads += 1
                await self._compare(list(self._issued), gone)
        elif changes.known:
            concerned = Concerned(changes.known)
            signed_out = concerned.sign_ins
            self._end_sign_ins(dict.fromkeys(signed_out, self._clock.wall_ms()))
            if concerned.clients:
                self.client_origins.set(await self._database.client_origins())
            await self._apply(concerned, gone)
        self._number = changes.number  # last, so that the next call does it all again if the database failed above
        self._read_at = self._clock.monotonic()
        now = self._clock.wall_ms()
        for number in itertools.count(1):
            if not self._expiries or self._expiries[0][0] > now:
                break
            expires, identifier = heapq.heappop(self._expiries)
            issued = self._issued.get(identifier)
            if issued is not None and issued.expires_ms == expires:
                gone.add(identifier)
            if number % SLICE_ITEMS == 0:
                await asyncio.sleep(0)
        for number, identifier in enumerate(gone, 1):
            self._issued.pop(identifier, None)
            if number % SLICE_ITEMS == 0:
                await asyncio.sleep(0)
        await self._forget_expiries()
        self._drop_old_sign_ins(now)
        self.counters.revoked += len(gone) + len(signed_out)
        return _gone(gone, {login for each in signed_out if (login := each.partition(" ")[2])})

    @property
    def generation(self) -> int:
        """Differs after each change that this node has heard of."""
        return self._generation

    @property
    def stale_s(self) -> float:
        """Seconds since the changes were last read; 0 before the first time."""
        return 0.0 if self._read_at is None else self._clock.monotonic() - self._read_at

    @property
    def stale(self) -> bool:
        """Whether the database has not answered for so long that nobody knows who is good."""
        return bool(self.max_stale_s) and self.stale_s > self.max_stale_s

    def give_up_stale(self) -> Gone | None:
        """What has to end because :attr:`stale`: a function that tells which principals are concerned; None if there are none. The
        credentials may be good, and are looked up again when the database answers.
        """
        if not self._issued or not self.stale:
            return None
        given_up = frozenset(self._issued)
        self.counters.unverified += len(given_up)
        self._issued.clear()
        self._expiries.clear()
        self._found.clear()
        return _gone(given_up, ())

    def still_good(self, principal: Principal) -> bool:
        """Whether a caller who was identified here has not ended since, as far as this node has heard. It asks no database: look when
        what the caller opens becomes known to those that :meth:`refresh` tells of an end, if others ran since the caller was identified.
        """
        if not principal.credential or principal.credential in self._built_in:
            return True
        issued = self._issued.get(principal.credential)
        return issued is not None and principal.roles <= issued.roles and not self.login_ended(principal.token_login)

    def signed_out(self, sign_in: str) -> bool:
        """Whether the sign-in of a browser, by its number, was ended."""
        return sign_in in self._signed_out

    @property
    def sign_ins_ended(self) -> int:
        """Ended sign-ins of browsers that are remembered."""
        return len(self._signed_out)

    def login_ended(self, login: str) -> bool:
        """Whether the sign-in that a login is named by was ended (:attr:`hub.core.principal.Principal.token_login`)."""
        return login in self._ended_logins

    def _end_sign_ins(self, ended: Mapping[str, int]) -> None:
        for each, at_ms in ended.items():
            number, _, login = each.partition(" ")
            self._signed_out[number] = (login, at_ms)
            if login:  # else others have it too, and go on
                self._ended_logins.add(login)

    def _drop_old_sign_ins(self, now_ms: int) -> None:
        """Forget ended sign-ins of which every cookie has run out by itself. They stand in the order in which they ended."""
        while self._signed_out:
            number, (login, at_ms) = next(iter(self._signed_out.items()))
            if at_ms >= now_ms - self.sign_ins_kept_ms:
                return
            del self._signed_out[number]
            self._ended_logins.discard(login)

    async def _apply(self, concerned: Concerned, gone: set[str]) -> None:
        """Forget what changes concern, and compare it with what the database has now. Nobody else is disturbed."""
        self._generation += 1  # look-ups under way are made again
        if concerned.news:
            self._absent.clear()
        if not concerned.some:
            return
        for tenant, roles in [key for key in self._grants if key[0] in concerned.role_tenants]:
            del self._grants[tenant, roles]
        if concerned.role_tenants:
            self.grants_generation += 1
        found: list[str] = []
        single = concerned.single
        if single is None:
            issued = iter(list(self._issued.values()))
        else:  # a refreshed token ends one by itself, many times a second: not everybody is looked at for it
            issued = iter([self._issued[each] for each in single if each in self._issued])
        while some := list(itertools.islice(issued, SLICE_ITEMS)):
            for credential in some:
                if credential in concerned:
                    found.append(credential.id)
                    self._found.pop(("id", credential.id), None)
                    kind = credential.id.partition(":")[0]
                    self._found.pop((kind if kind in _BY_OWN_KIND else "token", credential.fingerprint), None)
            await asyncio.sleep(0)
        await self._compare(found, gone)

    async def _compare(self, ids: list[str], gone: set[str]) -> None:
        """Read credentials again, and add those that have ended or shrunk to ``gone``."""
        wanted = iter(ids)
        while some := list(itertools.islice(wanted, SLICE_ITEMS)):
            current = await self._database.by_ids(some)
            for each in some:
                issued, now = self._issued.get(each), current.get(each)
                if issued is None:
                    continue
                if has_shrunk(issued, now):
                    gone.add(each)
                elif now is not None:
                    self._issued[each] = now

    async def _forget_expiries(self) -> None:
        """Make the heap of expiries anew from the credentials that are let in, if most of its entries are of others.

        A token that ends before its time leaves its entry in the heap until that time. Each refresh may end a token, so that clients could
        fill the heap.
        """
        if len(self._expiries) <= 2 * len(self._issued) + SLICE_ITEMS:
            return
        self._expiries = []  # others that are let in meanwhile add to it
        for number, credential in enumerate(list(self._issued.values()), 1):
            if credential.expires_ms is not None:
                heapq.heappush(self._expiries, (credential.expires_ms, credential.id))
            if number % SLICE_ITEMS == 0:
                await asyncio.sleep(0)

    def _forget(self) -> None:
        self._generation += 1
        self.grants_generation += 1
        self._found.clear()
        self._absent.clear()
        self._grants.clear()
