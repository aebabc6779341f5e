"""Transfers that are under way are shared out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from hub.objects.counters import ObjectCounters
from hub.objects.links import Disposition, FileLink, Purpose
from hub.objects.settings import ObjectsSettings
from hub.objects.shares import BusyError, TransferShares


def shares(**settings: Any) -> tuple[TransferShares, ObjectCounters]:
    counters = ObjectCounters()
    return TransferShares(ObjectsSettings(**settings), counters), counters


def upload(identifier: str = "a", tenant: str = "demo") -> FileLink:
    return FileLink(tenant, identifier, Purpose.FILE, 1, 5, "text/plain")


def download(identifier: str = "a", expires_ms: int = 1) -> FileLink:
    return FileLink("demo", identifier, Purpose.FILE, expires_ms, disposition=Disposition.INLINE)


def test_one_link_has_two_uploads() -> None:
    made, counters = shares()
    with ExitStack() as held:
        for address in ("a", "b"):
            held.enter_context(made.one(upload(), address))
        with pytest.raises(BusyError, match="max_uploads_per_link"):
            held.enter_context(made.one(upload(), "c"))
        held.enter_context(made.one(upload("b"), "c"))
        held.enter_context(made.one(download(), "c"))
        assert (made.total, counters.refused_link, counters.refused_busy) == (4, 1, 0)
    assert made.total == 0
    with made.one(upload(), "a"), made.one(upload(), "a"):
        assert made.total == 2


def test_the_downloads_of_a_file_count_together_by_whatever_links() -> None:
    made, counters = shares(max_downloads_per_file=3)
    with ExitStack() as held:
        for number in range(3):
            held.enter_context(made.one(download(expires_ms=number), str(number)))
        with pytest.raises(BusyError, match="max_downloads_per_file"):
            held.enter_context(made.one(download(expires_ms=9), "9"))
        held.enter_context(made.one(download("b"), "9"))
    assert counters.refused_link == 1


@pytest.mark.parametrize(("settings", "most"), [({}, 50), ({"max_transfers": 8}, 2), ({"max_transfers_per_address": 7}, 7)])
def test_one_address_has_half_of_a_tenants_unless_it_is_said(settings: dict[str, int], most: int) -> None:
    made, counters = shares(**settings)
    with ExitStack() as held:
        for number in range(most):
            held.enter_context(made.one(upload(str(number)), "192.0.2.1"))
        with pytest.raises(BusyError, match="max_transfers_per_address"):
            held.enter_context(made.one(upload("x", "other"), "192.0.2.1"))
        held.enter_context(made.one(upload("x"), "192.0.2.2"))
        assert (counters.refused_address, counters.refused_busy) == (1, 0)


def test_an_address_that_is_not_known_has_no_bound_of_its_own() -> None:
    made, _ = shares(max_transfers=8)
    with ExitStack() as held:
        for number in range(4):
            held.enter_context(made.one(upload(str(number)), ""))
        with pytest.raises(BusyError):
            held.enter_context(made.one(upload("x"), ""))
        held.enter_context(made.one(upload("x", "other"), ""))


def least(made: TransferShares, tenant: str = "demo", identifier: str = "z", address: str = "z") -> int:
    return made.min_bytes_per_s(FileLink(tenant, identifier, Purpose.FILE, 1, disposition=Disposition.INLINE), address)


def test_a_download_may_be_slow_while_there_are_enough_for_others() -> None:
    made, _ = shares(max_transfers=8, min_bytes_per_s=1000)
    with ExitStack() as held:
        for number in range(2):
            held.enter_context(made.one(upload(str(number)), str(number)))
        assert least(made) == 0, "half of what a tenant may have"
        held.enter_context(made.one(upload("x"), "x"))
        assert (least(made), least(made, "other")) == (1000, 0)
        for number in range(2):
            held.enter_context(made.one(upload(str(number), "other"), "y"))
        assert least(made, "third") == 1000, "more than half of all"
    assert least(made) == 0


def test_a_slow_client_takes_neither_a_file_nor_an_address_from_others() -> None:
    made, _ = shares(max_downloads_per_file=4, max_transfers_per_address=6, min_bytes_per_s=1000)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(made.one(download("a"), "here"))
        assert least(made, identifier="a", address="here") == 0, "half of the downloads of the file"
        held.enter_context(made.one(download("a"), "here"))
        assert least(made, identifier="a", address="there") == 1000, "more than half of those of the file"
        assert least(made, identifier="b", address="here") == 0, "half of those of the address"
        held.enter_context(made.one(download("b"), "here"))
        assert least(made, identifier="b", address="here") == 1000, "more than half of those of the address"
        assert least(made, identifier="b", address="there") == 0
