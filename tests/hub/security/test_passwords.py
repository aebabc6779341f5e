import asyncio
import os

import pytest

from hub.security import passwords
from hub.security.passwords import hash_password, verify_built_in, verify_password

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


async def test_checking_passwords_gives_way_to_the_event_loop() -> None:
    await verify_password("anything", None)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    of_thread = await asyncio.get_running_loop().run_in_executor(passwords._threads, niceness)
    assert of_thread == min(19, niceness() + passwords._NICER)
