"""The device authorization grant (RFC 8628): what a device is answered, and that its tokens are fetched once."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from hub.security.oauth.device import LETTERS, Pacing, TooManyDevicesError, new_user_code, read_user_code, shown
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Issued
from tests.hub.security.oauth.conftest import TELEVISION, WALL, World

INTERVAL_S = 5


async def refused(world: World, secret: str = "device", client_id: str = "tv") -> str:
    with pytest.raises(OAuthError) as error:
        await world.poll(secret, client_id)
    return error.value.error


def test_a_user_code_is_eight_consonants_and_read_as_people_type_it() -> None:
    code = new_user_code()
    assert len(code) == 8
    assert set(code) <= set(LETTERS)
    assert not set(LETTERS) & set("AEIOUY0123456789")
    assert shown("BCDFGHJK") == "BCDF-GHJK"
    for typed in ("BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "bcdf\u2011ghjk", "B.C.D.F-G_H_J_K"):
        assert read_user_code(typed) == "BCDFGHJK"


@pytest.mark.parametrize(
    "typed", ["", "BCDF", "BCDF-GHJA", "BCDF-GHJK-L", "BCDF-GHJ0", "\uff22CDF-GHJK", "B" * 10_000, "-" * 70 + "BCDFGHJK"]
)
def test_what_cannot_be_a_user_code_is_none(typed: str) -> None:
    assert read_user_code(typed) is None


async def test_a_device_waits_until_its_user_allows_it(world: World) -> None:
    device = await world.device()
    assert await refused(world) == "authorization_pending"
    found = await world.devices.find_pending("acme", device.user_code)
    assert found == device
    assert await world.devices.answer(device.user_code, world.person, 1_800_000_000, "192.0.2.9", allow=True)
    world.access.clock.advance(INTERVAL_S)
    issued = await world.poll()
    assert issued.refresh_token is not None
    credential = await world.access.gate.from_ext({"token": issued.access_token})
    assert credential.principal is not None
    assert credential.principal.subject == "ana"
    world.access.clock.advance(INTERVAL_S)
    assert await refused(world) == "invalid_grant"  # once
    await world.access.gate.refresh()
    assert (await world.access.gate.from_ext({"token": issued.access_token})).principal is not None  # and a repeat ends nothing


async def test_a_device_that_is_denied_is_told(world: World) -> None:
    device = await world.device()
    assert await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=False)
    assert await refused(world) == "access_denied"
    assert not await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=True)  # the first answer counts


async def test_a_device_that_comes_too_late_is_told(world: World) -> None:
    device = await world.device()
    world.access.clock.advance(601)
    assert await refused(world) == "expired_token"
    assert await world.devices.find_pending("acme", device.user_code) is None
    assert not await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=True)


async def test_what_was_allowed_in_time_and_not_fetched_expires_too(world: World) -> None:
    device = await world.device()
    await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=True)
    world.access.clock.advance(601)
    assert await refused(world) == "expired_token"


async def test_a_device_that_asks_too_often_waits_longer_each_time(world: World) -> None:
    await world.device()
    clock = world.access.clock
    assert await refused(world) == "authorization_pending"
    clock.advance(1)
    assert await refused(world) == "slow_down"  # 10 s from now on
    clock.advance(6)
    assert await refused(world) == "slow_down"  # 15 s
    clock.advance(15)
    assert await refused(world) == "authorization_pending"
    clock.advance(14.5)  # some requests are quicker on the way than others
    assert await refused(world) == "authorization_pending"


async def test_others_do_not_slow_a_device_down(world: World) -> None:
    await world.device()
    for _ in range(3):
        assert await refused(world, client_id="wall") == "unauthorized_client"
        assert await refused(world, secret="unknown") == "invalid_grant"
    assert await refused(world) == "authorization_pending"


def test_pacing_forgets_the_device_that_asked_longest_ago() -> None:
    pacing = Pacing(INTERVAL_S, max_paced=2)
    for number, digest in enumerate("abc"):
        pacing.asked(digest, number)
    assert len(pacing) == 2
    pacing.asked("a", 10)  # forgotten: in order
    with pytest.raises(OAuthError, match="slow_down"):
        pacing.asked("c", 10)


async def test_a_code_is_for_the_client_that_asked(world: World) -> None:
    device = await world.device(client=WALL)
    await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=True)
    assert await refused(world) == "invalid_grant"


async def test_another_tenants_users_do_not_see_a_device(world: World) -> None:
    device = await world.device()
    assert await world.devices.find_pending("rival", device.user_code) is None
    foreign = await world.access.store.add_user("rival", "eve", "correct horse", ["supervisor"])
    person = await world.store.person(foreign.id)
    assert person is not None
    assert not await world.devices.answer(device.user_code, person, 0, "192.0.2.9", allow=True)
    assert await refused(world) == "authorization_pending"


async def test_a_password_that_changes_meanwhile_ends_the_permission(world: World) -> None:
    device = await world.device()
    await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=True)
    await world.access.store.change_user("acme", "ana", password="another correct horse")
    assert await refused(world) == "invalid_grant"


async def test_a_removed_client_or_user_takes_its_devices_along(world: World) -> None:
    device = await world.device()
    await world.devices.answer(device.user_code, world.person, 0, "192.0.2.9", allow=True)
    await world.access.store.remove_user("acme", "ana")
    assert await world.rows("device_codes") == 0


@pytest.mark.parametrize(
    ("addresses", "client", "setting"),
    [
        (["192.0.2.1"] * 4, TELEVISION, "max_address_device_codes: 3"),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"], TELEVISION, "max_client_device_codes: 4"),
    ],
)
async def test_live_codes_are_bounded(world: World, addresses: list[str], client: object, setting: str) -> None:
    for number, address in enumerate(addresses[:-1]):
        await world.device(f"device {number}", address=address)
    with pytest.raises(TooManyDevicesError, match=setting):
        await world.device("one more", address=addresses[-1])
    world.access.clock.advance(601)
    await world.device("one more", address=addresses[-1])  # those that expired count no more


async def test_live_codes_of_a_tenant_are_bounded(world: World) -> None:
    clients = itertools.cycle((TELEVISION, WALL))
    for number in range(5):
        await world.device(f"device {number}", next(clients), f"192.0.2.{number}")
    with pytest.raises(TooManyDevicesError, match="max_tenant_device_codes: 5"):
        await world.device("one more", address="192.0.2.9")


async def test_of_twelve_at_once_one_gets_the_tokens(world_both: World) -> None:
    device = await world_both.device()
    await world_both.devices.answer(device.user_code, world_both.person, 0, "192.0.2.9", allow=True)

    async def redeem() -> Issued:
        world_both.endpoint._pacing.forget(_digest())  # as if each asked another node
        return await world_both.poll()

    results = await asyncio.gather(*(redeem() for _ in range(12)), return_exceptions=True)
    issued = [each for each in results if isinstance(each, Issued)]
    refusals = {each.error for each in results if isinstance(each, OAuthError)}
    assert len(issued) == 1
    assert refusals == {"invalid_grant"}
    assert await world_both.rows("families") == 1


async def test_of_twelve_answers_at_once_one_counts(world_both: World) -> None:
    device = await world_both.device()
    answers = (world_both.devices.answer(device.user_code, world_both.person, 0, "192.0.2.9", allow=bool(each % 2)) for each in range(12))
    assert sum(await asyncio.gather(*answers)) == 1


def _digest() -> str:
    from hub.security.credentials import hash_secret

    return hash_secret("device")
