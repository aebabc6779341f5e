"""A small issuer of the tests' own, and a hub that takes its tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from hub.audit.log import Recorder
from hub.security.gate import Gate
from hub.security.issuers.keys import KeysUnavailableError
from hub.security.issuers.service import ExternalTokens
from hub.security.issuers.settings import IssuerSettings
from hub.security.issuers.store import ExternalStore
from hub.storage.database import Database
from tests.hub.security.conftest import Access, clock, make_access
from tests.hub.storage.backends import database, empty_url, light_database, postgres, running, sqlite
from tests.world import ManualClock

__all__ = ["clock", "database", "empty_url", "light_database", "postgres", "sqlite"]

ISSUER = "https://login.example.com/realms/centre"
AUDIENCE = "cx-hub"
NOW_S = 1_800_000_000
"""The time of day of the manual clock."""


@cache
def key_of(algorithm: str, name: str = "one") -> Any:
    """A key for an algorithm; for another name another one. Making one takes a moment, so each is made once."""
    if algorithm in ("RS256", "PS256", "RS384"):
        return RSAKey.generate_key(2048)
    return ECKey.generate_key("P-256") if algorithm == "ES256" else OKPKey.generate_key("Ed25519")


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(value: Any) -> str:
    """A part of a token: JSON, or a text as it stands."""
    return b64(value.encode() if isinstance(value, str) else json.dumps(value).encode())


def claims(**more: Any) -> dict[str, Any]:
    """The claims of an access token of ana, a supervisor of acme; None leaves one out."""
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ana",
        "exp": NOW_S + 300,
        "iat": NOW_S,
        "jti": "token-1",
        "realm_access": {"roles": ["offline_access", "team-leads"]},
        **more,
    }
    return {name: value for name, value in made.items() if value is not None}


def sign(payload: Any, algorithm: str = "RS256", *, key: Any = None, kid: str | None = "one", **header: Any) -> str:
    """A token. ``payload`` is a mapping, or a text as it stands; a header that is None is left out."""
    head = {name: value for name, value in {"alg": algorithm, "typ": "at+jwt", "kid": kid, **header}.items() if value is not None}
    text = f"{part(head)}.{part(payload)}"
    return f"{text}.{b64(signature_of(text, algorithm, key or key_of(algorithm, kid or 'one')))}"


def signature_of(text: str, algorithm: str, key: Any) -> bytes:
    """The signature of a header and a payload."""
    return bytes(jws.JWSRegistry.algorithms[algorithm].sign(text.encode(), key))


@dataclass
class SmallIssuer:
    """Its keys by name, and what happens when they are fetched."""

    keys: dict[str, Any] = field(default_factory=dict)
    fetched: int = 0
    fails: str | None = None
    more: list[Any] = field(default_factory=list)

    def add(self, kid: str, algorithm: str = "RS256", **more: Any) -> None:
        public = key_of(algorithm, kid).as_dict(private=False)
        self.keys[kid] = {**public, "kid": kid, "use": "sig", **more}

    def document(self) -> bytes:
        return json.dumps({"keys": [*self.keys.values(), *self.more]}).encode()

    async def key_set(self, issuer: IssuerSettings) -> bytes:
        self.fetched += 1
        if self.fails is not None:
            raise KeysUnavailableError(self.fails)
        return self.document()

    async def stop(self) -> None:
        """There is nothing to stop."""


def settings(**more: Any) -> IssuerSettings:
    """The settings of the small issuer."""
    made = {
        "name": "corp",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["RS256", "PS256", "ES256", "EdDSA"],
        "tenant": "acme",
        "roles_claim": "realm_access.roles",
        "roles": {"team-leads": "supervisor", "walls": ["dashboard", "viewer"]},
        **more,
    }
    return IssuerSettings.model_validate({name: value for name, value in made.items() if value is not None})


@dataclass
class World:
    """A gate that takes tokens of the small issuer."""

    access: Access
    gate: Gate
    issuer: SmallIssuer
    external: ExternalTokens
    store: ExternalStore
    again: Callable[..., tuple[Gate, ExternalTokens]]
    """Another node of the hub, perhaps with other settings of the issuer."""

    async def who(self, token: str) -> str | None:
        """Tenant, subject and roles of a token, in one text; None if it is refused."""
        principal = (await self.gate.from_ext({"token": token})).principal
        return None if principal is None else f"{principal.tenant} {principal.subject} {','.join(sorted(principal.roles))}"

    async def block(self, tenant: str, name: str) -> int:
        """What ``hub token block`` does; returns how many tokens end."""
        return await self.store.block(tenant, name, Recorder(self.access.audit))

    def refused(self) -> dict[str, int]:
        """How many tokens were refused, by the reason."""
        counters = self.external.counters
        names = [each for each in counters.__slots__ if each.startswith("refused_")]
        return {each.removeprefix("refused_"): count for each in names if (count := getattr(counters, each))}


async def make_world(database: Database, clock: ManualClock, max_tokens: int = 1000) -> AsyncIterator[World]:
    async with running(database) as transactions:
        access = await make_access(transactions, clock)
        issuer = SmallIssuer()
        issuer.add("one")
        store = ExternalStore(transactions, clock.wall_ms, max_tokens)

        def node(*issuers: IssuerSettings) -> tuple[Gate, ExternalTokens]:
            gate = access.make_gate()
            external = ExternalTokens(issuers or [settings()], issuer, store, clock)  # type: ignore[arg-type]
            gate.directory.take_external(external)
            return gate, external

        gate, external = node()
        await gate.refresh()
        yield World(access, gate, issuer, external, store, node)
        await external.stop()


@pytest.fixture
async def world(light_database: Database, clock: ManualClock) -> AsyncIterator[World]:
    async for each in make_world(light_database, clock):
        yield each


@pytest.fixture
async def world_both(database: Database, clock: ManualClock) -> AsyncIterator[World]:
    """The same on each backend."""
    async for each in make_world(database, clock):
        yield each
