"""Removes codes, tokens and families that have ended, the notes of old changes, and the families that a tenant has too many of."""

from __future__ import annotations

from typing import Final

from channels.auth.counters import AuthCounters
from channels.auth.settings import AuthSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.security.changes import Kind
from hub.security.directory import SIGN_IN_KEPT_MS
from hub.security.oauth.device import KEPT_MS as DEVICES_KEPT_MS
from hub.security.queries import begin_change, note_change
from hub.storage.transactions import Transaction, Transactions, marks

EVERY_S: Final = 300.0

MAX_AT_ONCE: Final = 500
"""Rows that one transaction removes at most. Other transactions run between two of them."""

CODES_KEPT_MS: Final = 86_400_000
"""For how long a code stays after its end, so that one that comes again is known, and ends what came of it."""

CHANGES_KEPT_MS: Final = 3_600_000
"""For how long a note of a change stays: nodes read it within a second, and one that slept for longer reads every credential again. Only
ended sign-ins are looked up later. Clients make notes with each refresh and sign-out, so that they must not stay for long."""

_OLD: Final = (
    ("codes", "hash", "expires_ms < ?", CODES_KEPT_MS),
    ("device_codes", "hash", "expires_ms < ?", DEVICES_KEPT_MS),
    ("access_tokens", "id", "expires_ms < ?", 0),
    ("refresh_tokens", "hash", "expires_ms < ?", 0),
    ("external_tokens", "id", "expires_ms < ?", 0),
    ("blocked_tokens", "id", "until_ms < ?", 0),
    ("families", "id", "expires_ms < ?", 0),
    ("revocations", "number", f"at_ms < ? AND kind <> '{Kind.SIGN_IN}'", CHANGES_KEPT_MS),
)
"""Of each table its key, which rows go, and how long after their time."""


class AuthRetention(RetentionJob):
    """Removes what has ended every few minutes, for the first time at the start."""

    def __init__(
        self,
        transactions: Transactions,
        clock: Clock,
        settings: AuthSettings,
        counters: AuthCounters,
        sign_ins_kept_ms: int = SIGN_IN_KEPT_MS,
    ) -> None:
        """``sign_ins_kept_ms``: how long ended sign-ins stay, as :attr:`hub.security.directory.Directory.sign_ins_kept_ms` has it."""
        super().__init__("auth.retention", period_s=EVERY_S, failed="auth_not_trimmed")
        self._old = (*_OLD, ("revocations", "number", "at_ms < ?", sign_ins_kept_ms))
        self._transactions = transactions
        self._clock = clock
        self._settings = settings
        self._counters = counters

    async def trim(self) -> int:
        """Remove now what has ended. Returns how many rows were removed, without those that went with their families.

        Raises:
            StorageError: the database cannot be written.
        """
        now_ms = self._clock.wall_ms()
        total = 0
        for table, key, which, kept_ms in self._old:
            query = f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {which} LIMIT ?) RETURNING {key}"  # noqa: S608  the names above
            parameters = (now_ms - kept_ms, MAX_AT_ONCE)
            while removed := len(await self._transactions.write(lambda tx, of=query, to=parameters: tx.rows(of, to))):  # type: ignore[misc]
                total += removed
        for tenant in await self._tenants():
            while removed := await self._transactions.write(lambda tx, of=tenant: self._drop_idle(tx, of, now_ms)):  # type: ignore[misc]
                self._counters.families_dropped += removed
                total += removed
        return total

    async def _tenants(self) -> list[str]:
        """The tenants with more families than they may have."""
        query = "SELECT tenant FROM families GROUP BY tenant HAVING count(*) > ?"
        return [tenant for (tenant,) in await self._transactions.read(lambda tx: tx.rows(query, (self._settings.max_families,)))]

    def _drop_idle(self, tx: Transaction, tenant: str, now_ms: int) -> int:
        """End some of the families of a tenant that has too many: of the client with most of them those that were not refreshed for the
        longest time, so that no client takes the place of another.
        """
        begin_change(tx)
        clients = tx.rows("SELECT client, count(*) FROM families WHERE tenant = ? GROUP BY client ORDER BY 2 DESC, 1 LIMIT 2", (tenant,))
        total = tx.row("SELECT count(*) FROM families WHERE tenant = ?", (tenant,))
        assert total is not None
        excess = min(total[0] - self._settings.max_families, MAX_AT_ONCE)
        if excess <= 0:
            return 0
        client, most = clients[0]
        following = clients[1][1] if len(clients) > 1 else 0
        number = max(1, min(excess, most - following))
        query = "SELECT id FROM families WHERE tenant = ? AND client = ? ORDER BY used_ms, id LIMIT ?"
        oldest = [each for (each,) in tx.rows(query, (tenant, client, number))]
        tx.run(f"DELETE FROM families WHERE id IN ({marks(oldest)})", oldest)  # noqa: S608  only question marks are put in
        for each in oldest:
            note_change(tx, Kind.FAMILY, each, now_ms)
        return len(oldest)
