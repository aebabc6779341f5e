"""Finds out which participant calls, before anything else of a request is looked at (docs/protocol/participants.md#tokens)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Final

from channels.files.participants import store_chats
from channels.files.participants.admitters import Admitters
from channels.files.participants.counters import ChatCounters
from channels.files.participants.errors import AccessDeniedError, TooFastError
from channels.files.participants.models import Participant
from channels.files.participants.tokens import InvalidTokenError, Purpose, Token, Tokens
from hub.core.ports import Clock
from hub.core.rates import RateLimit
from hub.storage.transactions import Transaction, Transactions

_AT_ONCE: Final = 200
"""Participants that one query asks for."""

_GONE: Final = "the participant has left, was removed, or the chat is over"


class Callers:
    """Identifies participants by their tokens."""

    __slots__ = ("_admitters", "_clock", "_counters", "_per_s", "_rate", "_tokens", "_transactions")

    def __init__(
        self, transactions: Transactions, tokens: Tokens, clock: Clock, per_s: int, counters: ChatCounters, admitters: Admitters
    ) -> None:
        """``per_s``: how often a participant may call in a second, and as often at once; each node counts for itself."""
        self._transactions = transactions
        self._tokens = tokens
        self._clock = clock
        self._per_s = per_s
        self._rate = RateLimit(clock, per_s)
        self._counters = counters
        self._admitters = admitters

    async def present(self, text: str, purpose: Purpose) -> Participant:
        """The participant of a token, who is still there.

        Raises:
            AccessDeniedError: the token is none or has ended, the participant has left, or the credential that let it in has ended.
            TooFastError: the participant calls too often.
            StorageError: the database cannot be read.
        """
        found = await self.known(text, purpose)
        if found.left_ms is not None:
            self._counters.refused_tokens += 1
            raise AccessDeniedError(_GONE)
        return found

    async def known(self, text: str, purpose: Purpose) -> Participant:
        """As :meth:`present`, also if the participant has left."""
        token = self._read(text, purpose)
        found = await self._transactions.read(lambda tx: _of(tx, token))
        if found is None:
            self._counters.refused_tokens += 1
            raise AccessDeniedError(_GONE)
        self.count(found)
        if not await self._admitters.holds(found):
            self._counters.refused_tokens += 1
            raise AccessDeniedError("the credential that let the participant in has ended")
        return found

    def count(self, participant: Participant) -> None:
        """Count a call of a participant.

        Raises:
            TooFastError: it calls too often.
        """
        if not self._rate.allows(participant.id):
            self._counters.refused_rate += 1
            raise TooFastError(f"expected at most {self._per_s} calls of a participant in a second (files.chat_calls_per_s), got more")

    async def still_present(self, participant: Participant) -> bool:
        """Whether a participant is still there, and whoever let it in.

        Raises:
            StorageError: the database cannot be read.
        """
        return not await self.gone([participant], self._clock.wall_ms() + 1)

    async def is_same(self, participant: Participant) -> bool:
        """Whether the tenant still has this participant, who may have left, and no later one of the same id.

        Raises:
            StorageError: the database cannot be read.
        """
        of = participant
        rows = await self._transactions.read(lambda tx: store_chats.moments(tx, of.tenant, [of.id]))
        created_ms, _ = rows.get(of.id, (None, None))
        return created_ms == of.created_ms

    async def is_abandoned(self, participant: Participant) -> bool:
        """Whether a participant is still there, and no credential that let it in holds any more.

        Raises:
            StorageError: the database cannot be read.
        """

        def read(tx: Transaction) -> tuple[Participant | None, list[str]]:
            found = store_chats.participant(tx, participant.tenant, participant.id)
            return found, store_chats.admissions(tx, participant.tenant, participant.id)

        found, others = await self._transactions.read(read)
        if found is None or found.left_ms is not None or found.created_ms != participant.created_ms:
            return False
        for credential in (found.credential, *others):
            if await self._admitters.holds(replace(found, credential=credential)):
                return False
        return True

    async def gone(self, participants: Iterable[Participant], left_before_ms: int) -> list[Participant]:
        """Those of some participants who left before a moment, in milliseconds since 1970 UTC, who are unknown by now, or whose admitter
        is gone.

        Raises:
            StorageError: the database cannot be read.
        """
        found: list[Participant] = []
        for tenant, members in groupby(sorted(participants, key=_tenant), key=_tenant):
            for some in _batches(list(members)):
                found += await self._gone_of(tenant, some, left_before_ms)
        return found

    async def _gone_of(self, tenant: str, some: list[Participant], left_before_ms: int) -> list[Participant]:
        rows = await self._transactions.read(lambda tx: store_chats.moments(tx, tenant, [each.id for each in some]))
        found = []
        for each in some:
            created_ms, left_ms = rows.get(each.id, (None, None))
            # a later tenant of the same name may have a participant of the same id, let in by the same clientToken
            if created_ms != each.created_ms:
                found.append(each)
            elif left_ms is not None:
                if left_ms < left_before_ms:
                    found.append(each)
            elif not await self._admitters.holds(each):
                found.append(each)
        return found

    def _read(self, text: str, purpose: Purpose) -> Token:
        try:
            return self._tokens.read(text, purpose)
        except InvalidTokenError as error:
            self._counters.refused_tokens += 1
            raise AccessDeniedError(str(error)) from None


def _tenant(participant: Participant) -> str:
    return participant.tenant


def _batches(participants: list[Participant]) -> Iterator[list[Participant]]:
    for start in range(0, len(participants), _AT_ONCE):
        yield participants[start : start + _AT_ONCE]


def _of(transaction: Transaction, token: Token) -> Participant | None:
    found = store_chats.participant(transaction, token.t, token.p)
    if found is None or (found.contact, found.role.value) != (token.c, token.r) or token.m not in (0, found.created_ms):
        return None
    if not token.a:
        return found
    credential = store_chats.admission(transaction, token.t, token.p, token.a)
    return None if credential is None else replace(found, credential=credential, admission=token.a)
