import pytest

from hub.core.limits import Limits
from hub.security.passwords import FailureBrake, hash_password, verify_built_in, verify_password
from tests.world import ManualClock

pytestmark = pytest.mark.usefixtures("real_hashes")


async def test_a_password_is_verified_against_its_hash() -> None:
    stored = await hash_password("correct horse é")
    assert await verify_password("correct horse é", stored)
    assert not await verify_password("correct horse e", stored)


@pytest.mark.parametrize("password", ["", "\ud800", "\x00", "x" * 100_000])
async def test_odd_passwords_are_wrong_not_errors(password: str) -> None:
    assert not await verify_password(password, await hash_password("long enough"))


async def test_nobody_has_no_password() -> None:
    assert not await verify_password("anything", None)


def test_a_built_in_password_is_compared() -> None:
    assert not verify_built_in("demo", "x")


def test_the_brake_counts_by_address_and_user(clock: ManualClock) -> None:
    brake = FailureBrake(clock)
    for _ in range(Limits().sign_in_failures):
        assert brake.wait_s("1.2.3.4", "ana") == 0
        brake.tried("1.2.3.4", "ana")
    assert brake.wait_s("1.2.3.4", "ana") == Limits().sign_in_window_s
    assert brake.wait_s("1.2.3.4", "bob") == 0
    assert brake.wait_s("5.6.7.8", "ana") == 0


def test_the_brake_opens_after_the_window(clock: ManualClock) -> None:
    brake = FailureBrake(clock)
    for _ in range(Limits().sign_in_failures):
        brake.tried("a", "ana")
    clock.advance(Limits().sign_in_window_s - 0.1)
    assert brake.wait_s("a", "ana") == 1
    clock.advance(0.1)
    assert brake.wait_s("a", "ana") == 0
    brake.tried("a", "ana")
    assert brake.wait_s("a", "ana") == 0


def test_a_success_forgets_the_failures(clock: ManualClock) -> None:
    brake = FailureBrake(clock)
    for _ in range(Limits().sign_in_failures):
        brake.tried("a", "ana")
    brake.succeeded("a", "ana")
    assert brake.wait_s("a", "ana") == 0


def test_the_brake_is_bounded(clock: ManualClock) -> None:
    brake = FailureBrake(clock, max_watched=3)
    for number in range(10):
        brake.tried("a", str(number))
    assert len(brake._failures) == 3


def test_failures_and_their_time_are_settings(clock: ManualClock) -> None:
    brake = FailureBrake(clock, Limits(sign_in_failures=2, sign_in_window_s=60))
    brake.tried("1.2.3.4", "ana")
    assert brake.wait_s("1.2.3.4", "ana") == 0
    brake.tried("1.2.3.4", "ana")
    assert brake.wait_s("1.2.3.4", "ana") == 60
    clock.advance(60)
    assert brake.wait_s("1.2.3.4", "ana") == 0
    unbounded = FailureBrake(clock, Limits(sign_in_failures=0))
    for _ in range(20):
        unbounded.tried("1.2.3.4", "ana")
    assert unbounded.wait_s("1.2.3.4", "ana") == 0
