"""What a try to sign in costs tells nobody whether tenant, user or password is right: the work is counted, not the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from hub.audit.sign_ins import SignInLog
from hub.core.limits import Limits
from hub.security.passwords import hashes_of
from hub.security.settings import PasswordHashSettings
from hub.security.sign_in import TooManyTriesError, sign_in
from hub.storage.database import Database
from tests.hub.security.conftest import Access, make_access
from tests.hub.storage.backends import running
from tests.support.cheap_secrets import cost_of
from tests.world import ManualClock

TRIES = {
    "all right": ("acme", "ana", "long enough"),
    "wrong password": ("acme", "ana", "not that one"),
    "unknown user": ("acme", "nobody", "long enough"),
    "unknown tenant": ("nobody", "ana", "long enough"),
    "a name that no user can have": ("acme", "a\x00b", "long enough"),
    "a tenant that none can be called": ("\u00e9" * 300, "ana", "long enough"),
    "an empty password": ("acme", "ana", ""),
}


def log_of(access: Access) -> SignInLog:
    return SignInLog(access.transactions, access.audit)


@pytest.fixture
async def real_access(light_database: Database, clock: ManualClock) -> AsyncIterator[Access]:
    """Passwords are hashed as by default."""
    async with running(light_database) as transactions:
        yield await make_access(transactions, clock, hashes_of(PasswordHashSettings()))


@pytest.fixture
def hashed(real_access: Access, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The passwords that argon2 was given, and the parameters of the hashes that it was given them with."""
    seen: Counter[str] = Counter()
    hasher = real_access.gate.passwords._hasher
    verify = hasher.verify

    def counted(password: bytes, stored: str) -> bool:
        seen["checks"] += 1
        seen[cost_of(stored)] += 1
        return verify(password, stored)

    monkeypatch.setattr(hasher, "verify", counted)
    return seen


async def test_every_try_is_one_check_of_the_same_cost(real_access: Access, hashed: Counter[str]) -> None:
    access = real_access
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    found = {}
    for number, (what, (tenant, user, password)) in enumerate(TRIES.items()):
        hashed.clear()
        credential = await sign_in(access.gate, log_of(access), f"192.0.2.{number}", tenant, user, password)
        found[what] = (dict(hashed), credential is not None)
    works = [work for work, _ in found.values()]
    assert all(work == works[0] for work in works), found
    assert works[0]["checks"] == 1
    assert [what for what, (_, good) in found.items() if good] == ["all right"]


@pytest.mark.parametrize(("tenant", "user"), [("acme", "ana"), ("acme", "nobody"), ("nobody", "ana")])
async def test_the_brake_does_not_tell_them_apart_either(access: Access, tenant: str, user: str) -> None:
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    gate = access.make_gate(limits=Limits(sign_in_failures=2))
    for _ in range(2):
        assert await sign_in(gate, log_of(access), "192.0.2.1", tenant, user, "not that one") is None
    with pytest.raises(TooManyTriesError) as braked:
        await sign_in(gate, log_of(access), "192.0.2.1", tenant, user, "not that one")
    assert braked.value.wait_s == Limits().sign_in_window_s


async def test_a_slowed_try_takes_no_place_of_the_others_and_the_right_password_gets_in(access: Access) -> None:
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    gate = access.make_gate(limits=Limits(sign_in_failures_per_user=2, sign_in_delay_ms=1, max_sign_ins_waiting_per_address=1))
    for number in range(4):
        assert await sign_in(gate, log_of(access), f"192.0.2.{number}", "acme", "ana", "not that one") is None
    assert await sign_in(gate, log_of(access), "203.0.113.1", "acme", "ana", "long enough") is not None
    assert gate.sign_ins.counters.slowed == 3
    assert len(gate.hashing) == 0
    assert await sign_in(gate, log_of(access), "203.0.113.1", "acme", "ana", "long enough") is not None
    assert gate.sign_ins.counters.slowed == 3  # the address is known now
