"""What is kept of the credential that let a participant in, and when that has ended."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from channels.files.participants.admitters import Admitters
from channels.files.participants.models import Participant, Role
from hub.security.credentials import Credential
from hub.security.directory import Directory


class Known:
    """Stands for the directory."""

    def __init__(self, *credentials: Credential) -> None:
        self.by_name = {each.id: each for each in credentials}
        self.ended: set[str] = set()

    async def by_id(self, identifier: str) -> Credential | None:
        return self.by_name.get(identifier)

    def login_ended(self, login: str) -> bool:
        return login in self.ended


def credential(identifier: str, **more: object) -> Credential:
    return replace(Credential(identifier, "acme", "ben", frozenset({"agent"}), (), "f"), **more)  # type: ignore[arg-type]


def let_in(mark: str, role: Role = Role.AGENT) -> Participant:
    return Participant("acme", "p1", "4711", role, "Ben", "ben", 0, None, None, None, mark)


USER = credential("user:u1", user="u1", generation=2)


@pytest.mark.parametrize("kind", ["access:a1", "external:e1"])
async def test_a_token_that_is_renewed_stands_for_its_user(kind: str) -> None:
    token = credential(kind, user="u1")
    known = Known(USER, token)
    admitters = Admitters(cast("Directory", known))
    ben = let_in(await admitters.mark(token.principal()))
    del known.by_name[kind]
    assert await admitters.holds(ben), "it was renewed"
    known.by_name["user:u1"] = replace(USER, generation=3)
    assert not await admitters.holds(ben), "the user has signed out everywhere"
    assert await admitters.holds(let_in(ben.credential, Role.CUSTOMER))


async def test_a_renewed_token_of_nobody_ends_nothing() -> None:
    token = credential("access:a1", client="c1")
    admitters = Admitters(cast("Directory", Known(token)))
    assert await admitters.mark(token.principal()) == ""
    assert await admitters.holds(let_in(""))


async def test_a_sign_in_that_has_ended() -> None:
    known = Known(USER)
    admitters = Admitters(cast("Directory", known))
    here, there = (USER.principal(discriminator=f"sign-in:{number}") for number in (1, 2))
    ben, deb = let_in(await admitters.mark(here)), let_in(await admitters.mark(there))
    known.ended.add(here.token_login)
    assert [await admitters.holds(each) for each in (ben, deb)] == [False, True]


async def test_a_key_of_a_later_tenant_of_the_same_name_or_that_ended_meanwhile() -> None:
    key = credential("key:k1")
    known = Known(key)
    admitters = Admitters(cast("Directory", known))
    ben = let_in(await admitters.mark(key.principal()))
    assert await admitters.holds(ben)
    assert not await admitters.holds(replace(ben, tenant="other"))
    del known.by_name["key:k1"]
    assert not await admitters.holds(ben)
    assert not await admitters.holds(let_in(await admitters.mark(key.principal())))
