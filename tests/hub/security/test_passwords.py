import asyncio
import os

import pytest
from argon2.exceptions import VerificationError
from pwdlib.exceptions import UnknownHashError
from pydantic import ValidationError

from hub.security import passwords
from hub.security.passwords import PasswordHashes, hashes_of, verify_built_in
from hub.security.settings import PasswordHashSettings
from tests.support.cheap_secrets import QUICK, cost_of

REAL = hashes_of(PasswordHashSettings())
"""At the cost that the settings have by default."""


async def test_a_password_is_verified_against_its_hash() -> None:
    stored = await REAL.hash("correct horse é")
    assert await REAL.verify("correct horse é", stored)
    assert not await REAL.verify("correct horse e", stored)


@pytest.mark.parametrize("password", ["", "\ud800", "\x00", "x" * 100_000])
async def test_odd_passwords_are_wrong_not_errors(password: str) -> None:
    assert not await QUICK.verify(password, await QUICK.hash("long enough"))


async def test_nobody_has_no_password() -> None:
    assert not await REAL.verify("anything", None)


@pytest.mark.parametrize(
    ("hashes", "cost"),
    [
        (REAL, "$argon2id$v=19$m=65536,t=3,p=1"),
        (hashes_of(PasswordHashSettings(memory_kib=19_456, rounds=2)), "$argon2id$v=19$m=19456,t=2,p=1"),
        (QUICK, "$argon2id$v=19$m=64,t=1,p=1"),
    ],
)
async def test_a_user_who_does_not_exist_costs_what_one_does(hashes: PasswordHashes, cost: str) -> None:
    made = await hashes.hash("long enough")
    assert cost_of(made) == cost_of(hashes.nobody) == cost
    assert [len(part) for part in made.split("$")] == [len(part) for part in hashes.nobody.split("$")]


async def test_a_hash_of_another_cost_is_checked_at_its_own() -> None:
    stored = await PasswordHashes(memory_kib=128, rounds=2).hash("long enough")
    assert await QUICK.verify("long enough", stored)
    assert not await QUICK.verify("not that one", stored)


async def test_a_password_that_cannot_be_checked_is_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*_: object) -> None:
        raise VerificationError("Memory allocation error")

    stored = await QUICK.hash("long enough")
    monkeypatch.setattr(passwords, "verify_secret", without_memory)
    with pytest.raises(VerificationError, match="Memory"):
        await QUICK.verify("long enough", stored)


@pytest.mark.parametrize("stored", ["$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", "$argon2id$v=19$m=64,t=1,p=1$!$!", "no hash at all"])
async def test_a_damaged_hash_is_an_error_too(stored: str) -> None:
    with pytest.raises((VerificationError, UnknownHashError)):
        await QUICK.verify("long enough", stored)


@pytest.mark.parametrize(("name", "least", "most"), [("memory_kib", 19_456, 2_097_152), ("rounds", 2, 64)])
def test_the_settings_allow_no_less_than_is_safe_and_no_more_than_is_of_use(name: str, least: int, most: int) -> None:
    for good in (least, most):
        assert getattr(PasswordHashSettings.model_validate({name: good}), name) == good
    for bad in (least - 1, most + 1):
        with pytest.raises(ValidationError, match=r"should be (greater|less) than or equal to"):
            PasswordHashSettings.model_validate({name: bad})


def test_a_built_in_password_is_compared() -> None:
    assert not verify_built_in("demo", "x")


async def test_checking_passwords_gives_way_to_the_event_loop() -> None:
    await REAL.verify("anything", None)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    of_thread = await asyncio.get_running_loop().run_in_executor(passwords._threads, niceness)
    assert of_thread == min(19, niceness() + passwords._NICER)
