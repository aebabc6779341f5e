"""The built-in credentials of ``--demo`` (docs/protocol/commands.md#demo).

They exist in memory only: without ``--demo`` they are not valid.
"""

import hmac
from collections.abc import Iterable
from typing import Final

from hub.security.changes import Changes
from hub.security.credentials import Credential, hash_secret
from hub.security.roles import BUILT_IN, Grants

TENANT: Final = "demo"
KEY: Final = "demo-key"
TOKEN: Final = "demo-token"  # noqa: S105  a public one, by design
TOKEN_ID: Final = "token:demo"  # noqa: S105  no secret: an id
"""The id of the credential of :data:`TOKEN`."""
ACCESS_KEY: Final = "AKIAHUBDEMO"
ACCESS_SECRET: Final = "demo-secret"  # noqa: S105  as above
USER: Final = "demo"
PASSWORD: Final = "demo"  # noqa: S105  as above

_ADMIN: Final = frozenset({"admin"})


def _credential(identifier: str, subject: str, secret: str) -> Credential:
    return Credential(identifier, TENANT, subject, _ADMIN, BUILT_IN["admin"].grants, hash_secret(secret))


class DemoLookup:
    """A :class:`hub.security.lookup.Lookup` of four credentials that never change. All have the role ``admin`` in the tenant ``demo``."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        made = (
            _credential(TOKEN_ID, USER, TOKEN),
            _credential("key:demo", f"key:{KEY}", KEY),
            _credential(f"aws:{ACCESS_KEY}", f"key:{ACCESS_KEY}", ACCESS_SECRET),
            _credential("user:demo", USER, PASSWORD),
        )
        self._by_id = {credential.id: credential for credential in made}

    async def changes(self, after: int | None) -> Changes:
        return Changes(0, ())

    async def client_origins(self) -> list[tuple[str, str]]:
        return []

    async def ended_sign_ins(self) -> list[tuple[str, int]]:
        return []

    def accept_issuers(self, fingerprints: frozenset[str]) -> None:
        """It has no such tokens."""

    async def by_token(self, digest: str) -> Credential | None:
        token = self._by_id[TOKEN_ID]
        return token if hmac.compare_digest(digest, token.fingerprint) else None

    async def by_key(self, digest: str) -> Credential | None:
        key = self._by_id["key:demo"]
        return key if hmac.compare_digest(digest, key.fingerprint) else None

    async def by_access_key(self, key_id: str) -> Credential | None:
        return self._by_id.get(f"aws:{key_id}")

    async def by_user(self, tenant: str, name: str) -> Credential | None:
        return self._by_id["user:demo"] if (tenant, name) == (TENANT, USER) else None

    async def by_ids(self, ids: Iterable[str]) -> dict[str, Credential]:
        return {each: self._by_id[each] for each in ids if each in self._by_id}

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        return tuple(grant for role in sorted(roles) for grant in (BUILT_IN[role].grants if role in BUILT_IN else ()))
