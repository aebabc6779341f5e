"""The keys are rotated while tokens are signed: whoever has kept the key set for a day still checks each of them."""

from __future__ import annotations

import asyncio
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet

from hub.audit.log import Recorder
from hub.security.signing import SigningKeys
from tests.channels.auth.conftest import Server
from tests.hub.security.conftest import SECRET
from tests.support.cheap_secrets import RSA_BITS

STEP_MS = 2 * 3_600_000
DAY_MS = 24 * 3_600_000
STEPS = 22
ROTATED_AT = 4
AT_ONCE = 4


async def refreshed(server: Server, tokens: dict[str, Any]) -> dict[str, Any]:
    answer = await server.token(grant_type="refresh_token", client_id="wall", refresh_token=tokens["refresh_token"])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_tokens_verify_by_the_key_sets_of_the_day_before_and_the_day_after(server: Server) -> None:
    """Two administrators rotate at once, on a node of their own, as `hub auth rotate-keys` does."""
    other = SigningKeys(server.access.transactions, SECRET, server.access.clock.wall_ms, Recorder(server.access.audit), RSA_BITS)
    families = [await server.tokens() for _ in range(AT_ONCE)]
    key_sets: list[KeySet] = []
    signed: list[tuple[int, str, str]] = []
    async with server.program() as program:
        for step in range(STEPS):
            rotations = [other.rotate(), other.rotate()] if step == ROTATED_AT else []
            families, published, *_ = await asyncio.gather(
                asyncio.gather(*(refreshed(server, each) for each in families)), program.get("/auth/v3/jwks.json"), *rotations
            )
            key_sets.append(KeySet.import_key_set(published.json()))
            for each in families:
                user = await server.get("/auth/v3/jwt-userinfo", each["access_token"])
                signed += [(step, "RS256", each["id_token"]), (step, "ES256", user.headers["x-gws-user"])]
            server.access.clock.advance(STEP_MS / 1000)
            await server.service.gate.refresh()  # as each second of a running hub
    day = (DAY_MS - 1) // STEP_MS
    kids: dict[str, set[str]] = {"RS256": set(), "ES256": set()}
    for step, algorithm, token in signed:
        for seen in range(max(0, step - day), min(STEPS, step + day + 1)):
            checked = jwt.decode(token, key_sets[seen], algorithms=[algorithm])
        kids[algorithm].add(checked.header["kid"])
    assert {algorithm: len(found) for algorithm, found in kids.items()} == {"RS256": 2, "ES256": 2}  # the new ones have begun to sign
