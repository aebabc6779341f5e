"""The keys that sign: made once by however many nodes, rotated, and kept encrypted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet
from structlog.testing import capture_logs

from hub.audit.log import Recorder
from hub.security.oauth.keys import AFTER_MS, AHEAD_MS, ES256, RS256, SIGNS_MS
from hub.security.signing import FRESH_MS, SigningKeys
from tests.hub.security.conftest import SECRET, Access
from tests.support.cheap_secrets import RSA_BITS

DAY_S = 86_400


def node(access: Access, secret: bytes = SECRET) -> SigningKeys:
    return SigningKeys(access.transactions, secret, access.clock.wall_ms, Recorder(access.audit), RSA_BITS)


async def checked(keys: SigningKeys, token: str, algorithm: str) -> dict[str, Any]:
    """The claims of a token, checked with the published keys of a node."""
    found: dict[str, Any] = jwt.decode(token, KeySet.import_key_set(await keys.key_set()), algorithms=[algorithm]).claims
    return found


async def test_nodes_that_need_the_first_keys_at_once_share_them(access_both: Access) -> None:
    nodes = [node(access_both) for _ in range(3)]
    sets = await asyncio.gather(*(each.key_set() for each in nodes))
    assert sets[0] == sets[1] == sets[2]
    assert len(sets[0]["keys"]) == 2
    assert [key for key in sets[0]["keys"] if {"d", "p"} & key.keys()] == []
    for each in nodes:
        assert await checked(nodes[0], await each.sign(RS256, "JWT", {"n": 1}), RS256) == {"n": 1}


async def test_a_node_whose_clock_is_behind_signs_too(access: Access) -> None:
    await node(access).key_set()
    late = SigningKeys(access.transactions, SECRET, lambda: access.clock.wall_ms() - 60_000, Recorder(access.audit), RSA_BITS)
    assert await checked(node(access), await late.sign(ES256, "JWT", {"n": 1}), ES256) == {"n": 1}


async def test_a_successor_is_published_before_it_signs_and_the_old_key_after(access: Access) -> None:
    keys = node(access)
    first = await keys.sign(ES256, "JWT", {})
    (before,) = [key["kid"] for key in (await keys.key_set())["keys"] if key["alg"] == ES256]
    access.clock.advance((SIGNS_MS - AHEAD_MS) / 1000 + 1)
    known = [key["kid"] for key in (await keys.key_set())["keys"] if key["alg"] == ES256]
    assert len(known) == 2
    assert before in known
    assert jwt.decode(await keys.sign(ES256, "JWT", {}), KeySet.import_key_set(await keys.key_set())).header["kid"] == before
    access.clock.advance(AHEAD_MS / 1000)
    second = await keys.sign(ES256, "JWT", {})
    assert await checked(keys, second, ES256) == await checked(keys, first, ES256) == {}
    access.clock.advance((AFTER_MS + FRESH_MS) / 1000)
    assert before not in [key["kid"] for key in (await keys.key_set())["keys"]]


async def test_keys_of_another_secret_are_of_no_use_and_told_once(access: Access) -> None:
    old = node(access)
    token = await old.sign(ES256, "JWT", {})
    other = node(access, b"another secret of the hub")
    with capture_logs() as logs:
        await other.sign(ES256, "JWT", {})
        access.clock.advance(FRESH_MS / 1000 + 1)
        published = await other.key_set()
    assert [log["event"] for log in logs].count("signing_key_unreadable") == 2
    with pytest.raises(InvalidKeyIdError):
        jwt.decode(token, KeySet.import_key_set(published), algorithms=[ES256])


async def test_an_administrator_rotates_them(access: Access) -> None:
    keys = node(access)
    await keys.key_set()
    made = await keys.rotate()
    assert {each.signs_from_ms - access.clock.wall_ms() for each in made} == {AHEAD_MS}
    assert len((await keys.key_set())["keys"]) == 4
