"""Writes the audit log. A change and the row that tells of it are one transaction: there is neither without the other."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from hub.audit import store
from hub.audit.chain import START, Ends, hash_of, seal_of
from hub.audit.counters import AuditCounters
from hub.audit.models import HUB, HUB_WIDE, Actor, Entry, Event, Row
from hub.audit.shares import Failure, Shares
from hub.security.models import is_tenant_name
from hub.storage.transactions import Transaction

_PSEUDONYM_BYTES: Final = 12
"""Of an HMAC: two persons of a tenant with one pseudonym are not to be expected before there are 2^48 of them."""
_MAX_WHO: Final = 160
_MAX_ADDRESS: Final = 64
_MAX_CLIENT: Final = 128
_NO_PERSON: Final = ("key:", "client:")
_NO_SEAL: Final = ""
"""In place of the seal of ends that cannot be trusted; a check tells it until an operator seals them."""

_log = structlog.get_logger(__name__)


class AuditLog:
    """The log of one hub. Nodes that share a database and ``HUB_SECRET`` write the same chains."""

    __slots__ = ("_now_ms", "_pseudonyms", "_seals", "_unsealed", "counters", "shares")

    def __init__(self, secret: bytes, now_ms: Callable[[], int], shares: Shares | None = None) -> None:
        """``secret`` is ``HUB_SECRET``; ``now_ms`` returns the time of day, in milliseconds since 1970 UTC. ``shares`` bounds what clients
        can make the log grow by; by default nothing does, as for a command.
        """
        self._now_ms = now_ms
        self._pseudonyms = hmac.digest(secret, b"audit pseudonyms", "sha256")
        self._seals = hmac.digest(secret, b"audit seals", "sha256")
        self._unsealed: set[str] = set()
        self.counters = AuditCounters()
        self.shares = shares

    # -- who ----------------------------------------------------------------------------------------------------------

    def person(self, tenant: str, name: str) -> str:
        """What the log calls a person of a tenant: the same for the same name, and nobody without ``HUB_SECRET`` finds the name of it. An
        API key or a client is no person, and keeps its name.
        """
        return name if name.startswith(_NO_PERSON) else self._pseudonym(tenant, name)

    def _pseudonym(self, tenant: str, name: str) -> str:
        digest = hmac.digest(self._pseudonyms, f"{tenant}\0{name}".encode("utf-8", "surrogatepass"), "sha256")
        return f"person:{base64.urlsafe_b64encode(digest[:_PSEUDONYM_BYTES]).decode()}"

    def caller(self, tenant: str, subject: str, address: str = "", client: str = "") -> Actor:
        """The actor of a caller that has shown who it is, by its tenant and subject."""
        return _actor(self.person(tenant, subject), address, client)

    def operator(self, account: str) -> Actor:
        """The actor of a command, by the account of the operating system that ran it."""
        return Actor(self.person("", account).replace("person:", "command-line:", 1))

    def by(self, actor: Actor) -> Recorder:
        """Records what one actor does."""
        return Recorder(self, actor)

    # -- writing ------------------------------------------------------------------------------------------------------

    def record(self, tx: Transaction, actor: Actor, entry: Entry) -> None:
        """Write a row, in the transaction of what it tells of. The caller holds the lock of changes
        (:func:`hub.security.queries.begin_change`), so that rows get their numbers one after the other.
        """
        ends, sealed = self.locked_ends(tx, entry.tenant) or self._begin(tx, entry.tenant)
        row = Row(
            *(entry.tenant, ends.number + 1, self._now_ms(), entry.event.value, actor.who, actor.address, actor.client),
            *(entry.target, entry.count, _json(entry.before), _json(entry.after), ""),
        )
        row = replace(row, hash=hash_of(ends.hash, row))
        store.insert(tx, row)
        self.move_ends(tx, replace(ends, number=row.number, hash=row.hash), sealed=sealed)
        tx.after_commit(self._count)

    def record_within_share(self, tx: Transaction, actor: Actor, entry: Entry) -> None:
        """Write a row of something that clients can do as often as they like. When the tenant's share of the minute is used up, it is
        counted instead, and one row tells the number at the end of the minute.
        """
        shares = self.shares
        if shares is None or shares.room(entry.tenant, entry.event):
            self.record(tx, actor, entry)
            if shares is not None:
                tx.after_commit(lambda: shares.take(entry.tenant, entry.event))
        else:
            tx.after_commit(lambda: shares.count(entry.tenant, entry.event, entry.count))

    def note_failure(self, event: Event, tenant: str, name: str, address: str, client: str = "") -> None:
        """Note, on the event loop, that somebody could not sign in. It is written within a second (:mod:`hub.audit.writing`). ``name`` is
        what was typed: the row has its pseudonym in any case, since a stranger who types ``key:switch`` is not that key.
        """
        if self.shares is not None:
            actor = _actor(self._pseudonym(tenant, name), address, client)
            self.shares.note(Failure(event, tenant if is_tenant_name(tenant) else HUB_WIDE, actor.who, actor.address, actor.client))

    def locked_ends(self, tx: Transaction, tenant: str) -> tuple[Ends, bool] | None:
        """The ends of a chain, which are about to move, and whether they bear the seal of this hub; None: there is no chain."""
        found = store.sealed_ends(tx, tenant, lock=True)
        if found is None:
            return None
        ends, seal = found
        sealed = self.is_sealed(ends, seal)
        if not sealed:
            tx.after_commit(lambda: self._miss_seal(tenant))
        return ends, sealed

    def move_ends(self, tx: Transaction, ends: Ends, *, sealed: bool) -> None:
        """Store where a chain begins and ends now. ``sealed``: what :meth:`locked_ends` has told; ends whose seal was not good get none, or
        the hub itself would make those good that somebody else has written.
        """
        store.move_ends(tx, ends, self._sealed(ends) if sealed else _NO_SEAL)

    def seal_again(self, tx: Transaction, actor: Actor, tenant: str) -> bool:
        """Seal a chain whose seal is not good, as after a change of ``HUB_SECRET``, and write a row about it. False: there is no such
        chain, or its seal is good. The caller holds the lock of changes.
        """
        found = store.sealed_ends(tx, tenant, lock=True)
        if found is None or self.is_sealed(*found):
            return False
        self.move_ends(tx, found[0], sealed=True)
        self.record(tx, actor, Entry(Event.LOG_SEALED, tenant))
        return True

    def is_sealed(self, ends: Ends, seal: str) -> bool:
        """Whether the ends of a chain bear the seal of this hub."""
        return hmac.compare_digest(self._sealed(ends), seal)

    def _begin(self, tx: Transaction, tenant: str) -> tuple[Ends, bool]:
        """Begin the chain of a tenant. Where there are rows and only their chain is missing, it goes on behind them, without a seal."""
        if tenant != HUB_WIDE:
            self.record(tx, HUB, Entry(Event.LOG_BEGUN, HUB_WIDE, target_of(tenant)))
        left = store.newest(tx, tenant)
        ends = Ends(tenant, 0, START, 1, START) if left is None else Ends(tenant, left[0], left[1], 1, START)
        store.begin_chain(tx, ends, self._sealed(ends) if left is None else _NO_SEAL)
        return ends, left is None

    def _miss_seal(self, tenant: str) -> None:
        self.counters.unsealed += 1
        if tenant not in self._unsealed:
            self._unsealed.add(tenant)
            _log.error("audit_seal_not_good", tenant=tenant)

    def _sealed(self, ends: Ends) -> str:
        return seal_of(self._seals, ends)

    def _count(self) -> None:
        self.counters.rows += 1


class Recorder:
    """Records what one actor does."""

    __slots__ = ("actor", "log")

    def __init__(self, log: AuditLog, actor: Actor = HUB) -> None:
        self.log = log
        self.actor = actor

    def record(
        self,
        tx: Transaction,
        event: Event,
        tenant: str,
        target: str = "",
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """See :meth:`AuditLog.record`."""
        self.log.record(tx, self.actor, Entry(event, tenant, target, before, after))

    def person(self, tenant: str, name: str) -> str:
        """See :meth:`AuditLog.person`."""
        return self.log.person(tenant, name)


def target_of(tenant: str) -> str:
    """The target of rows about the log of a tenant."""
    return f"tenant:{tenant}"


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True)


def _actor(who: str, address: str, client: str) -> Actor:
    """An actor as the columns can hold it."""
    return Actor(_plain(who, _MAX_WHO), _plain(address, _MAX_ADDRESS), _plain(client, _MAX_CLIENT))


def _plain(text: str, longest: int) -> str:
    """A text that a client chose, as a column can hold it."""
    return "".join(each if each.isprintable() else "?" for each in text[:longest])
