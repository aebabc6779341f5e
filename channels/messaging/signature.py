"""Identifies third parties by ``x-ccid`` and the signature of the raw body, which is checked before anything of it is read
(docs/protocol/messaging.md#signatures).

A caller who signs with no secret of the tenant learns nothing: an unknown contact centre, an unknown channel and a wrong signature have the
same answer, 403, after the same work. A caller who signs with the secret of another channel of the same tenant learns that the channel does
not exist, 404.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from starlette.requests import Request

from channels.messaging import store_channels
from channels.messaging.counters import Counters
from channels.messaging.errors import files
from channels.messaging.models import Channel
from channels.messaging.spool import Spool, Spooled
from hub.core.ports import Clock
from hub.http.body import check_announced, content_encoding
from hub.http.errors import ApiError
from hub.outbox.models import Secret
from hub.outbox.sign import hub_hasher
from hub.security.connections import admit
from hub.storage.transactions import Transaction, Transactions

CCID: Final = "x-ccid"
SIGNATURES: Final = ("x-hub-signature", "x-hub-signature-256")

CHANNEL_ID: Final = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._@+:~-]{0,99}")
"""Ids of channels: telephone numbers, domains, addresses, names. Each can stand in a URL and in the name of a hub's channel as it is."""

MAX_OTHER_SECRETS: Final = 100
"""Secrets of other channels that a signature is tried with when no secret of the named channel made it."""

_CCID: Final = re.compile(r"[\x21-\x7e]{1,64}")
_SIGNATURE: Final = re.compile(r"(sha1=[0-9A-Fa-f]{40}|sha256=[0-9A-Fa-f]{64})")
_NOBODY: Final = Secret("no secret of anybody")
_TRACE: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


class Signed(NamedTuple):
    """A request whose signature is right."""

    channel: Channel
    body: bytes
    trace_id: str
    """``X-B3-TraceId``; empty for none, or for one that cannot be used."""


class Signatures:
    """Finds which third party made a request."""

    __slots__ = ("_clock", "_counters", "_spool", "_transactions")

    def __init__(self, transactions: Transactions, spool: Spool, clock: Clock, counters: Counters) -> None:
        self._transactions = transactions
        self._spool = spool
        self._clock = clock
        self._counters = counters

    async def check(self, request: Request, channel: str, limit: int, *encodings: str) -> Signed:
        """Find the channel that a request is from. The headers are checked first. Then the body is hashed as it comes, since the signature
        covers the bytes as they were sent. ``encodings`` are the content encodings that the route takes.

        Raises:
            ApiError: 401 without ``x-ccid`` or a signature, or with a malformed one; 403 a signature that does not fit; 404 no such
                channel, for who signs with the secret of another one; 413 a body beyond ``limit`` bytes; 415 see
                :func:`hub.http.body.content_encoding`; 429 or 503 with ``Retry-After`` when the budget of bodies is used up.
            MediaUnavailableError: the body could not be written to a file, or read back.
            StorageError: the database cannot be read.
        """
        try:
            with files():
                return await self._check(request, channel, limit, encodings)
        except ApiError:
            self._counters.refused_signatures += 1
            raise

    async def _check(self, request: Request, channel: str, limit: int, encodings: tuple[str, ...]) -> Signed:
        tenant = _tenant(request)
        signatures = _signatures(request)
        content_encoding(request, *encodings)
        check_announced(request, limit)
        named, secrets = await self._named(tenant, channel)
        trial = _Trial(secrets or (_NOBODY,), signatures, self._clock.wall_ms())
        async with self._spool.receive(request, (tenant, channel), limit, trial.hashers) as spooled:
            if trial.fits() and named is not None:
                admit(request.scope)
                return Signed(named, await spooled.read(), trace_id(request))
            raise await self._refusal(tenant, channel, named, spooled, signatures)

    async def _named(self, tenant: str, identifier: str) -> tuple[Channel | None, Sequence[Secret]]:
        """The channel that a request names, and its secrets; None for an unknown one."""
        if CHANNEL_ID.fullmatch(identifier) is None or _CCID.fullmatch(tenant) is None:
            return None, ()

        def read(transaction: Transaction) -> tuple[Channel | None, Sequence[Secret]]:
            channel = store_channels.find(transaction, tenant, identifier)
            return channel, () if channel is None else store_channels.secrets_of(transaction, channel.endpoint)

        return await self._transactions.read(read)

    async def _refusal(self, tenant: str, identifier: str, named: Channel | None, spooled: Spooled, signatures: Sequence[str]) -> ApiError:
        """The refusal of a request that no secret of the channel signed: the same, after the same work, whether or not it exists."""
        others: Sequence[Secret] = ()
        if _CCID.fullmatch(tenant):
            known = identifier if CHANNEL_ID.fullmatch(identifier) else ""
            others = await self._transactions.read(lambda tx: store_channels.other_secrets(tx, tenant, known, MAX_OTHER_SECRETS))
        trial = _Trial(others or (_NOBODY,), signatures, self._clock.wall_ms())
        await spooled.hash(trial.hashers)
        if trial.fits() and named is None:
            return ApiError(
                404,
                f"Channel {identifier[:100]} not found",
                detail={"field": "channelId", "expected": "a channel", "got": identifier[:100]},
            )
        expected = f"the signature of the body with a secret of this channel of {CCID}"
        return ApiError(
            403,
            f"X-Hub-Signature: expected {expected}, got another, or there is no such channel",
            detail={"field": "X-Hub-Signature", "expected": expected, "got": "another"},
        )


class _Trial:
    """Whether one of the secrets that are valid now made all of the signatures of a body. Feed the body to ``hashers``, then ask."""

    __slots__ = ("_given", "hashers")

    def __init__(self, secrets: Iterable[Secret], signatures: Sequence[str], now_ms: int) -> None:
        valid = [each.text for each in secrets if each.until_ms is None or each.until_ms > now_ms]
        split = [signature.partition("=") for signature in signatures]
        self._given = [given.lower() for _, _, given in split]
        self.hashers = [hub_hasher(secret, algorithm) for secret in valid for algorithm, _, _ in split]

    def fits(self) -> bool:
        """Whether one secret did. All are tried, so that the time does not show which one."""
        count = len(self._given)
        return sum(self._made_all(at) for at in range(0, len(self.hashers), count)) > 0

    def _made_all(self, at: int) -> bool:
        hashers = self.hashers[at : at + len(self._given)]
        return all(hmac.compare_digest(each.hexdigest(), given) for each, given in zip(hashers, self._given, strict=True))


def trace_id(request: Request) -> str:
    """``X-B3-TraceId`` of a request, by which its events are found again; empty when it has none that can be used."""
    given = request.headers.get("x-b3-traceid", "")
    return given if _TRACE.fullmatch(given) else ""


def _tenant(request: Request) -> str:
    given = request.headers.getlist(CCID)
    if len(given) != 1 or not given[0]:
        raise _unauthorized(CCID, "the id of the contact centre, once", given)
    return given[0]


def _signatures(request: Request) -> list[str]:
    """All signatures of a request. Each must be right."""
    given = [value for name in SIGNATURES for value in request.headers.getlist(name)]
    if not given:
        raise _unauthorized("X-Hub-Signature", "sha1= and the HMAC of the body in hexadecimal", given)
    for value in given:
        if not _SIGNATURE.fullmatch(value):
            raise _unauthorized("X-Hub-Signature", "sha1= and 40, or sha256= and 64 hexadecimal digits", [value])
    return given


def _unauthorized(field: str, expected: str, got: Sequence[str]) -> ApiError:
    return ApiError.of_field(field, expected, "nothing" if not got else ", ".join(got), http_status=401)
