"""Counts the uploads and downloads that are under way, and shares them out: to tenants, addresses and links (docs/files.md#transfers).

A link is its own credential, and consumers have some: whoever has one must not hold what others need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

from hub.objects.counters import ObjectCounters
from hub.objects.links import FileLink, Purpose
from hub.objects.settings import ObjectsSettings

K = TypeVar("K", bound=Hashable)

_OF_TENANT: Final = 2
"""Divisor: one tenant may have half of the transfers that can be under way."""

_OF_ADDRESS: Final = 4
"""Divisor: one address may have half of a tenant's, unless a setting says how many."""

_SCARCE: Final = 2
"""Divisor: transfers are scarce where more than half of those that may be under way are: of all, or of a share."""


class BusyError(Exception):
    """As many transfers are under way as there may be. The text says of what, and what to do."""


class _Target(NamedTuple):
    """What a link leads to. All downloads of an attached file count together, whoever got a link when."""

    tenant: str
    purpose: Purpose
    id: str
    method: str


class TransferShares:
    """The transfers of one process."""

    __slots__ = ("_by_address", "_by_target", "_by_tenant", "_counters", "_settings")

    def __init__(self, settings: ObjectsSettings, counters: ObjectCounters) -> None:
        self._settings = settings
        self._counters = counters
        self._by_tenant: Counter[str] = Counter()
        self._by_address: Counter[str] = Counter()
        self._by_target: Counter[_Target] = Counter()

    @property
    def total(self) -> int:
        """Uploads and downloads that are under way."""
        return self._by_tenant.total()

    @contextmanager
    def one(self, link: FileLink, address: str) -> Iterator[None]:
        """Count one transfer while the block runs. ``address`` is empty where the limit of an address does not apply.

        Raises:
            BusyError: there is no room for it.
        """
        target = _target(link)
        self._check(target, address)
        self._by_target[target] += 1
        self._by_tenant[link.tenant] += 1
        if address:
            self._by_address[address] += 1
        try:
            yield
        finally:
            _less(self._by_target, target)
            _less(self._by_tenant, link.tenant)
            if address:
                _less(self._by_address, address)

    def min_bytes_per_s(self, link: FileLink, address: str) -> int:
        """How fast a download has to be: any speed will do while there are enough transfers for others, of all, of the tenant, of the file
        and of the address.
        """
        settings = self._settings
        scarce = (
            self.total > settings.max_transfers // _SCARCE
            or self._by_tenant[link.tenant] > _tenants(settings.max_transfers) // _SCARCE
            or self._by_target[_target(link)] > settings.max_downloads_per_file // _SCARCE
            or self._by_address[address] > _addresses(settings) // _SCARCE
        )
        return settings.min_bytes_per_s if scarce else 0

    def _check(self, target: _Target, address: str) -> None:
        settings = self._settings
        name = "max_uploads_per_link" if target.method == "PUT" else "max_downloads_per_file"
        if self._by_target[target] >= getattr(settings, name):
            self._counters.refused_link += 1
            raise BusyError(f"too many requests for this file are under way (objects.{name}): try again")
        if self._by_address[address] >= _addresses(settings):
            self._counters.refused_address += 1
            raise BusyError("too many files of this address are on their way (objects.max_transfers_per_address): try again")
        if self.total >= settings.max_transfers or self._by_tenant[target.tenant] >= _tenants(settings.max_transfers):
            self._counters.refused_busy += 1
            raise BusyError("too many files are on their way: try again")


def _target(link: FileLink) -> _Target:
    return _Target(link.tenant, link.purpose, link.id, link.method)


def _tenants(most: int) -> int:
    return max(1, most // _OF_TENANT)


def _addresses(settings: ObjectsSettings) -> int:
    return settings.max_transfers_per_address or max(1, settings.max_transfers // _OF_ADDRESS)


def _less(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
