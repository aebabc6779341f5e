"""The keys of an issuer: which are read, how long they are kept, and how often they are fetched."""

from __future__ import annotations

import asyncio
import json

import pytest

from hub.security.issuers.counters import IssuerCounters
from hub.security.issuers.keys import KeyCache, KeysUnavailableError, read_keys
from hub.security.issuers.refusals import Reason, RefusedTokenError
from tests.hub.security.issuers.conftest import SmallIssuer, key_of, settings
from tests.world import ManualClock


class Cache:
    """A cache of the small issuer's keys."""

    def __init__(self, clock: ManualClock) -> None:
        self.issuer = SmallIssuer()
        self.issuer.add("one", "EdDSA")
        self.counters = IssuerCounters()
        self.keys = KeyCache("corp", lambda: self.issuer.key_set(settings()), clock, self.counters)

    async def find(self, kid: str | None = "one") -> str | None:
        return (await self.keys.find("EdDSA", kid)).kid

    async def missing(self, kid: str | None = "two") -> None:
        with pytest.raises(RefusedTokenError) as error:
            await self.find(kid)
        assert error.value.reason is Reason.KEY


@pytest.fixture
def cache(clock: ManualClock) -> Cache:
    return Cache(clock)


async def test_keys_are_fetched_once_for_many_tokens_at_once(cache: Cache) -> None:
    assert await asyncio.gather(*(cache.find() for _ in range(50))) == ["one"] * 50
    assert cache.issuer.fetched == 1


async def test_keys_that_are_old_serve_until_the_new_ones_have_come(cache: Cache, clock: ManualClock) -> None:
    await cache.find()
    clock.advance(599)
    await cache.find()
    assert cache.issuer.fetched == 1
    clock.advance(1)
    del cache.issuer.keys["one"]
    cache.issuer.add("two", "EdDSA")
    assert await cache.find() == "one"
    await asyncio.sleep(0)
    assert cache.issuer.fetched == 2
    await cache.missing("one")
    assert await cache.find("two") == "two"


async def test_an_unknown_key_is_looked_for_every_30_seconds_at_most(cache: Cache, clock: ManualClock) -> None:
    await cache.find()
    for _ in range(100):
        await cache.missing()
    assert cache.issuer.fetched == 1  # a fetch has just been
    clock.advance(30)
    await asyncio.gather(*(cache.missing(f"made up {number}") for number in range(100)))
    assert cache.issuer.fetched == 2
    cache.issuer.add("two", "EdDSA")
    await cache.missing()
    clock.advance(30)
    assert await cache.find("two") == "two"


async def test_the_last_good_keys_serve_for_a_day(cache: Cache, clock: ManualClock) -> None:
    await cache.find()
    cache.issuer.fails = "no route"
    for _ in range(23):
        clock.advance(3600)
        assert await cache.find() == "one"
        await asyncio.sleep(0)
    assert cache.keys.trouble == "no route"
    clock.advance(3600)
    with pytest.raises(KeysUnavailableError, match="no route"):
        await cache.find()
    assert cache.counters.fetches_failed > 20
    clock.advance(5)
    cache.issuer.fails = None
    assert await cache.find() == "one"
    assert cache.keys.trouble is None


async def test_without_keys_a_fetch_is_tried_every_5_seconds_at_most(cache: Cache, clock: ManualClock) -> None:
    cache.issuer.fails = "no route"
    for _ in range(10):
        with pytest.raises(KeysUnavailableError):
            await cache.find()
    assert cache.issuer.fetched == 1
    clock.advance(5)
    cache.issuer.fails = None
    assert await cache.find() == "one"


async def test_a_token_that_names_no_key_needs_that_there_is_one(cache: Cache, clock: ManualClock) -> None:
    assert await cache.find(None) == "one"
    cache.issuer.add("two", "EdDSA")
    clock.advance(30)
    await cache.missing("three")
    await cache.missing(None)


async def test_a_caller_that_goes_ends_no_fetch(cache: Cache) -> None:
    gone = asyncio.create_task(cache.find())
    await asyncio.sleep(0)
    gone.cancel()
    assert await cache.find() == "one"
    assert cache.issuer.fetched == 1


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": 1}', b"\xff", b"[" * 100_000, json.dumps({"keys": [{}] * 65}).encode()]
)
def test_what_is_no_key_set_is_an_error(document: bytes) -> None:
    with pytest.raises(KeysUnavailableError):
        read_keys(document)


def test_keys_that_cannot_check_signatures_are_left_out() -> None:
    issuer = SmallIssuer()
    issuer.add("good", "EdDSA")
    whole = key_of("ES256").as_dict(private=True)
    public = key_of("ES256").as_dict(private=False)
    issuer.more = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {**whole, "kid": "private"},
        {**public, "use": "enc", "kid": "for encryption"},
        {**public, "alg": "ECDH-ES", "kid": "for agreement"},
        {**public, "crv": "P-521", "kid": "another curve"},
        {**public, "x": "AA", "kid": "no point"},
        {**public, "x": 7, "kid": "no text"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short"},
        {"kty": "RSA", "n": "f" * 3000, "e": "AQAB", "kid": "endless"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": ["RSA"], "kid": "a list"},
        {**public, "kid": 7},
        {**public, "alg": ["ES256"]},
        {**public, "crv": {"P-256": 1}},
        {**public, "key_ops": None, "kid": "no operations"},
        "text",
        None,
    ]
    assert [key.kid for key in read_keys(issuer.document())] == ["good"]


async def test_a_set_without_a_key_for_signatures_takes_no_good_ones_place(cache: Cache, clock: ManualClock) -> None:
    await cache.find()
    cache.issuer.keys.clear()
    clock.advance(600)
    await cache.find()
    await asyncio.sleep(0)
    assert await cache.find() == "one"
    assert cache.keys.trouble == "keys: expected at least one for signatures"
