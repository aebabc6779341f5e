"""Security as a part of a running hub: makes the store and the gate from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.audit.log import AuditLog, Recorder
from hub.core.ports import Clock
from hub.ops.settings import Settings
from hub.redis.shared import SharedRedis
from hub.security import demo
from hub.security.access import Access
from hub.security.access_keys import AccessKeySecrets
from hub.security.cookies import CookieSigner
from hub.security.demo_rows import keep_demo_rows
from hub.security.directory import Directory, sign_ins_kept_ms
from hub.security.gate import Gate
from hub.security.lookup import DatabaseLookup
from hub.security.passwords import hashes_of
from hub.security.queries import number_users
from hub.security.secret import signing_secret
from hub.security.signed_requests import SignedRequests
from hub.security.store import Store
from hub.storage.transactions import Transactions

if TYPE_CHECKING:
    from hub.security.tickets_redis import RedisTickets


class Security:
    """The store and the gate of a hub. ``gate`` may be passed on before :meth:`start`, but identifies nobody until then."""

    __slots__ = ("_clock", "_settings", "_transactions", "gate", "store", "tickets")

    def __init__(
        self, settings: Settings, clock: Clock, transactions: Transactions, access: Access, redis: SharedRedis | None = None
    ) -> None:
        """``transactions`` are those of the database (:class:`hub.storage.service.DatabaseService`), which is started before this.
        ``access`` has the operations and grants of the hub's families. Over ``redis`` nodes share their tickets.

        Raises:
            OSError: the data folder cannot be written.
            ValueError: the file of the kept secret is empty.
        """
        self._clock = clock
        self._settings = settings
        self._transactions = transactions
        secret = signing_secret(settings)
        passwords = hashes_of(settings.password_hashes)
        self.store = Store(transactions, clock.wall_ms, Recorder(AuditLog(secret, clock.wall_ms)), passwords)
        origins = [*settings.allowed_origins]
        if settings.public_url is not None:
            scheme, _, rest = settings.public_url.partition("://")
            origins.append(f"{scheme}://{rest.partition('/')[0]}")
        self.tickets: RedisTickets | None = None
        """The tickets that nodes share; None if they are this process's own."""
        if redis is not None:
            from hub.security.tickets_redis import RedisTickets  # imported here: the client of Redis takes time to load

            self.tickets = RedisTickets(redis, clock, settings.limits)
        directory = Directory(
            DatabaseLookup(transactions, access.roles),
            clock,
            demo.DemoLookup() if settings.demo else None,
            max_origins=settings.limits.max_client_origins,
        )
        directory.sign_ins_kept_ms = sign_ins_kept_ms(settings.sign_in_hours)
        self.gate = Gate(
            directory,
            clock,
            CookieSigner(secret, clock, lifetime_s=settings.sign_in_hours * 3600),
            open=settings.open,
            allowed_origins=origins,
            limits=settings.limits,
            operations=access.operations,
            scopes=access.scopes,
            tickets=self.tickets,
            signatures=SignedRequests(directory, AccessKeySecrets(secret), clock, settings.public_url),
            passwords=passwords,
        )
        if redis is not None:
            from hub.security.brake_redis import SharedSignInBrake

            self.gate.sign_ins = SharedSignInBrake(clock, redis, settings.limits)

    async def start(self) -> None:
        """Begin to apply changes of credentials and roles."""
        if self._settings.demo or self._settings.open:
            # only the tenant, which admits nobody by itself; with it `hub token add --tenant demo` works beside a running demo
            await self.store.add_tenant(demo.TENANT, exists_ok=True)
        await keep_demo_rows(self._transactions, self._clock.wall_ms, self.gate.passwords, wanted=self._settings.demo)
        await self._transactions.write(number_users)
        await self.gate.start()
        if self.tickets is not None:
            await self.tickets.start()

    async def stop(self) -> None:
        """Stop applying changes."""
        if self.tickets is not None:
            await self.tickets.stop()
        await self.gate.stop()
