"""The codes of devices in the database (:class:`hub.security.oauth.device.DeviceStore`, docs/protocol/oauth.md#devices)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from hub.audit.log import AuditLog
from hub.audit.models import Entry, Event
from hub.security.connections import address_key
from hub.security.grants_store import add_family, add_tokens, person_of, tell_of_tokens
from hub.security.oauth.device import DeviceCode, DeviceState, IssueForDevice, TooManyDevicesError, new_user_code
from hub.security.oauth.errors import OAuthError, invalid_grant
from hub.security.oauth.models import Person
from hub.security.oauth.ports import Asker
from hub.security.queries import begin_change
from hub.storage.transactions import Row, Transaction, Transactions

_COLUMNS: Final = "client, tenant, user_code, scopes, expires_ms, state, user_id, generation, auth_time_s, used_ms"
_DEVICES: Final = f"SELECT {_COLUMNS} FROM device_codes"

_TRIES: Final = 8
"""User codes that are drawn at most until one is free: with a million of live ones, all of eight are taken once in 10^35 times."""


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """How many codes may be live at a time."""

    tenant: int = 10_000
    client: int = 5_000
    address: int = 100
    """Of one client, that were asked for from one address; of IPv6 from one /64."""


class DevicesStore:
    """The store of device codes. A code can be answered once and its tokens can be fetched once: each is one statement."""

    __slots__ = ("_audit", "_limits", "_now_ms", "_transactions")

    def __init__(self, transactions: Transactions, now_ms: Callable[[], int], audit: AuditLog, limits: DeviceLimits) -> None:
        """``now_ms`` returns the time of day, in milliseconds since 1970 UTC; ``audit`` is told of answers and tokens."""
        self._audit = audit
        self._transactions = transactions
        self._now_ms = now_ms
        self._limits = limits

    async def add(self, digest: str, device: DeviceCode, address: str) -> DeviceCode:
        """See :meth:`hub.security.oauth.device.DeviceStore.add`."""

        source = address_key(address)

        def add(tx: Transaction) -> DeviceCode:
            begin_change(tx)  # the counts below stay true until the row is there
            if tx.row("SELECT 1 FROM clients WHERE id = ?", (device.client,)) is None:  # removed since it was authenticated
                raise OAuthError("invalid_client", "client_id: the client has been removed", status=401)
            self._check_room(tx, device, source)
            made = replace(device, user_code=_free_code(tx))
            values = (digest, made.client, made.tenant, made.user_code, " ".join(made.scopes), made.expires_ms, made.state, source)
            tx.run(
                "INSERT INTO device_codes (hash, client, tenant, user_code, scopes, expires_ms, state, address, generation, auth_time_s) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
                values,
            )
            return made

        return await self._transactions.write(add)

    def _check_room(self, tx: Transaction, device: DeviceCode, source: str) -> None:
        now = self._now_ms()
        for setting, most, where, parameters in (
            ("max_tenant_device_codes", self._limits.tenant, "tenant = ?", (device.tenant,)),
            ("max_client_device_codes", self._limits.client, "client = ?", (device.client,)),
            ("max_address_device_codes", self._limits.address, "client = ? AND address = ?", (device.client, source)),
        ):
            row = tx.row(f"SELECT count(*) FROM device_codes WHERE {where} AND expires_ms > ?", (*parameters, now))
            assert row is not None
            if row[0] >= most:
                raise TooManyDevicesError(f"auth.{setting}: {most} device codes are live")

    async def find(self, digest: str) -> DeviceCode | None:
        """See :meth:`hub.security.oauth.device.DeviceStore.find`."""
        row = await self._transactions.read(lambda tx: tx.row(f"{_DEVICES} WHERE hash = ?", (digest,)))
        return None if row is None else _device_of(row)

    async def find_pending(self, tenant: str, user_code: str) -> DeviceCode | None:
        """See :meth:`hub.security.oauth.device.DeviceStore.find_pending`."""
        where = "user_code = ? AND tenant = ? AND state = ? AND expires_ms > ?"
        parameters = (user_code, tenant, DeviceState.PENDING, self._now_ms())
        row = await self._transactions.read(lambda tx: tx.row(f"{_DEVICES} WHERE {where}", parameters))
        return None if row is None else _device_of(row)

    async def answer(self, user_code: str, person: Person, auth_time_s: int, address: str, *, allow: bool) -> bool:
        """See :meth:`hub.security.oauth.device.DeviceStore.answer`."""
        state, event = (DeviceState.ALLOWED, Event.DEVICE_ALLOWED) if allow else (DeviceState.DENIED, Event.DEVICE_DENIED)

        def note(tx: Transaction) -> bool:
            begin_change(tx)  # a removal of the user, which takes the same lock first, comes before or after
            present = person_of(tx, person.id)
            if present is None or present.generation != person.generation:
                return False
            query = (
                "UPDATE device_codes SET state = ?, user_id = ?, generation = ?, auth_time_s = ? "
                "WHERE user_code = ? AND tenant = ? AND state = ? AND expires_ms > ? RETURNING client, scopes"
            )
            to = (state, person.id, person.generation, auth_time_s)
            where = (user_code, person.tenant, DeviceState.PENDING, self._now_ms())
            answered = tx.row(query, (*to, *where))
            if answered is None:
                return False
            client, scopes = answered
            by = self._audit.caller(person.tenant, person.name, address, client)
            self._audit.record_within_share(tx, by, Entry(event, person.tenant, f"client:{client}", after={"scopes": scopes.split()}))
            return True

        return await self._transactions.write(note)

    async def redeem(self, digest: str, issue: IssueForDevice, asker: Asker) -> tuple[DeviceCode, Person]:
        """See :meth:`hub.security.oauth.device.DeviceStore.redeem`."""

        def redeem(tx: Transaction) -> tuple[DeviceCode, Person]:
            begin_change(tx)
            now = self._now_ms()
            row = tx.row(
                "UPDATE device_codes SET used_ms = ? WHERE hash = ? AND state = ? AND used_ms IS NULL AND expires_ms > ? "
                f"RETURNING {_COLUMNS}",
                (now, digest, DeviceState.ALLOWED, now),
            )
            if row is None:
                raise invalid_grant()
            device = _device_of(row)
            person = None if device.user is None else person_of(tx, device.user)
            if person is None:
                raise invalid_grant()
            tokens = issue(device, person)
            add_family(tx, tokens, now)
            add_tokens(tx, tokens, now)
            tell_of_tokens(self._audit, tx, Event.TOKEN_ISSUED, tokens, person, asker)
            return device, person

        return await self._transactions.write(redeem)


def _free_code(tx: Transaction) -> str:
    for _ in range(_TRIES):
        code = new_user_code()
        if tx.row("SELECT 1 FROM device_codes WHERE user_code = ?", (code,)) is None:
            return code
    raise TooManyDevicesError("no user code is free")


def _device_of(row: Row) -> DeviceCode:
    client, tenant, user_code, scopes, expires_ms, state, user, generation, auth_time_s, used_ms = row
    return DeviceCode(
        *(client, tenant, user_code, tuple(scopes.split()), expires_ms),
        *(DeviceState(state), user, generation, auth_time_s, used_ms is not None),
    )
