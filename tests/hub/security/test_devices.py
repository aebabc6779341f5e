"""The cookie of a browser in which a user has signed in."""

from __future__ import annotations

import pytest

from hub.security.devices import DEVICE_COOKIE, LIFETIME_S, DeviceSigner
from tests.world import ManualClock


def of(value: str) -> dict[str, object]:
    return {"headers": [(b"cookie", f"{DEVICE_COOKIE}={value}".encode())]}


def value_of(header: str) -> str:
    return header.partition("=")[2].partition(";")[0]


def test_it_knows_the_browser_for_this_user_alone_and_for_a_while(clock: ManualClock) -> None:
    signer = DeviceSigner(b"key", clock)
    header = signer.header("acme", "ana", secure=True)
    assert {"HttpOnly", "Secure", "SameSite=Lax", f"Max-Age={LIFETIME_S}"} <= {part.strip() for part in header.split(";")}
    value = value_of(header)
    device = signer.device(of(value), "acme", "ana")
    assert device is not None
    assert value.startswith(device)
    assert signer.device(of(value), "acme", "bob") is None
    assert signer.device(of(value), "rival", "ana") is None
    assert DeviceSigner(b"another", clock).device(of(value), "acme", "ana") is None
    clock.advance(LIFETIME_S)
    assert signer.device(of(value), "acme", "ana") is None


@pytest.mark.parametrize("position", range(0, 60, 7))
def test_a_changed_one_is_none(clock: ManualClock, position: int) -> None:
    signer = DeviceSigner(b"key", clock)
    value = value_of(signer.header("acme", "ana", secure=False))
    other = "0" if value[position] != "0" else "1"
    assert signer.device(of(value[:position] + other + value[position + 1 :]), "acme", "ana") is None


@pytest.mark.parametrize("value", ["", ".", "..", "a.b.c", "a.1.\u00e9", "a.\u0661.b", "x" * 5000, f"{'a' * 16}.{10**30}.{'0' * 32}"])
def test_what_is_none_is_ignored(clock: ManualClock, value: str) -> None:
    assert DeviceSigner(b"key", clock).device(of(value), "acme", "ana") is None


def test_of_several_the_good_one_counts(clock: ManualClock) -> None:
    signer = DeviceSigner(b"key", clock)
    bob, ana = (value_of(signer.header("acme", user, secure=False)) for user in ("bob", "ana"))
    scope = {"headers": [(b"cookie", f"{DEVICE_COOKIE}={bob}; {DEVICE_COOKIE}={ana}".encode())]}
    assert signer.device(scope, "acme", "ana") is not None
