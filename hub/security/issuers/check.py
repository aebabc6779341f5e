"""What ``hub doctor`` looks at of external issuers: their keys, and whether the tenants and roles of their settings are there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from hub.doctor.inspection import Finding, Inspection, Level
from hub.outbox.addresses import Network
from hub.outbox.guard import Guard
from hub.security.issuers.keys import IssuerKey, KeysUnavailableError, read_keys
from hub.security.issuers.settings import IssuerSettings
from hub.security.roles import BUILT_IN

NETWORKS: Final = "auth.issuer_networks"


def examine_issuers(inspection: Inspection, issuers: Sequence[IssuerSettings], networks: Iterable[Network]) -> list[Finding]:
    """Fetch the keys of each issuer, as the hub does, and look its tenants and roles up.

    Raises:
        StorageError: the database cannot be read.
    """
    if not issuers:
        return []
    tenants = {name for (name,) in inspection.rows("SELECT name FROM tenants")}
    own: dict[str, set[str]] = {}
    for tenant, role in inspection.rows("SELECT tenant, name FROM roles"):
        own.setdefault(tenant, set()).add(role)
    fetched = asyncio.run(_fetch(issuers, Guard(networks, setting=NETWORKS)))
    return [
        finding
        for issuer, keys in zip(issuers, fetched, strict=True)
        for finding in (_of_keys(issuer, keys), *_of_names(issuer, tenants, own))
    ]


async def _fetch(issuers: Sequence[IssuerSettings], guard: Guard) -> list[tuple[IssuerKey, ...] | str]:
    from hub.security.issuers.fetching import Fetcher  # the client of HTTP takes time to load

    fetcher = Fetcher(guard)

    async def one(issuer: IssuerSettings) -> tuple[IssuerKey, ...] | str:
        try:
            return read_keys(await fetcher.key_set(issuer))
        except KeysUnavailableError as error:
            return str(error)

    try:
        return await asyncio.gather(*map(one, issuers))
    finally:
        await fetcher.stop()


def _of_keys(issuer: IssuerSettings, keys: tuple[IssuerKey, ...] | str) -> Finding:
    subject = f"issuer {issuer.name}"
    if isinstance(keys, str):
        return Finding(Level.WARNING, subject, f"its keys cannot be had: {keys}", "until they can, its tokens are answered with 503")
    useless = [algorithm for algorithm in issuer.algorithms if not any(key.serves(algorithm) for key in keys)]
    if len(useless) == len(issuer.algorithms):
        message = f"none of its {len(keys)} keys is for {', '.join(useless)}"
        return Finding(Level.WARNING, subject, message, "name the algorithms that it signs with in auth.issuers: algorithms")
    return Finding(Level.OK, subject, f"{len(keys)} keys")


def _of_names(issuer: IssuerSettings, tenants: set[str], own: dict[str, set[str]]) -> Iterable[Finding]:
    subject = f"issuer {issuer.name}"
    missing = sorted(issuer.known_tenants - tenants)
    if missing:
        message = f"no tenant {', '.join(missing)}: its tokens for it are refused"
        yield Finding(Level.WARNING, subject, message, f"hub tenant add {missing[0]}, or change auth.issuers")
    for tenant in sorted(issuer.known_tenants & tenants):
        unknown = sorted(issuer.known_roles - BUILT_IN.keys() - own.get(tenant, set()))
        if unknown:
            message = f"the tenant {tenant} has no role {', '.join(unknown)}: who has it by this issuer may do nothing by it"
            yield Finding(Level.WARNING, subject, message, f"hub role add {unknown[0]} --tenant {tenant}, or change auth.issuers")
