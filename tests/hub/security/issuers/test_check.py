"""What `hub doctor` says of an issuer."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.auth.family import external_issuers, family
from hub.doctor.inspection import Inspection
from hub.ops.settings import load
from hub.security.issuers import check
from hub.security.issuers.keys import KeysUnavailableError
from hub.security.issuers.settings import IssuerSettings
from hub.storage.database import Database
from tests.hub.security.conftest import make_access
from tests.hub.security.issuers.conftest import SmallIssuer, clock, light_database, sqlite
from tests.hub.storage.backends import running
from tests.world import ManualClock

__all__ = ["clock", "light_database", "sqlite"]

FILE = """
database_url = "{url}"
[[auth.issuers]]
name = "corp"
issuer = "https://login.example.com"
audience = "cx-hub"
{more}
"""
GOOD = 'tenant = "acme"\ndefault_roles = "viewer"'
"""What an issuer has of which there is nothing to say."""
CAPTAIN = 'tenant = "acme"\ndefault_roles = ["viewer", "captain"]'


@pytest.mark.parametrize(
    ("more", "algorithm", "told"),
    [
        (GOOD, "RS256", [("ok", "1 keys")]),
        (GOOD, "EdDSA", [("warning", "none of its 1 keys is for RS256")]),
        (GOOD, None, [("warning", "its keys cannot be had: no route")]),
        ('tenant = "nobody"\ndefault_roles = "viewer"', "RS256", [("ok", "1 keys"), ("warning", "no tenant nobody")]),
        (CAPTAIN, "RS256", [("ok", "1 keys"), ("warning", "the tenant acme has no role captain")]),
    ],
)
async def test_the_doctor_tells_what_is_wrong(
    light_database: Database,
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    algorithm: str | None,
    told: list[tuple[str, str]],
) -> None:
    issuer = SmallIssuer(fails="no route" if algorithm is None else None)
    issuer.add("one", algorithm or "RS256")

    async def fetched(issuers: tuple[IssuerSettings, ...], _: object) -> list[object]:
        try:
            return [check.read_keys(await issuer.key_set(each)) for each in issuers]
        except KeysUnavailableError as error:
            return [str(error)]

    monkeypatch.setattr(check, "_fetch", fetched)
    async with running(light_database) as transactions:
        await make_access(transactions, clock)
        path = tmp_path / "hub.toml"
        path.write_text(FILE.format(url=light_database.url, more=more))
        found = await _examined(path)
    assert [(level, message[: len(want)]) for (level, message), (_, want) in zip(found, told, strict=True)] == told


async def _examined(path: Path) -> list[tuple[str, str]]:
    """The findings; the check runs a loop of its own, as `hub doctor` does."""
    import asyncio

    inspection = Inspection(load([family], config=path, flags={}), 0, ())
    findings = await asyncio.to_thread(lambda: list(external_issuers(inspection)))
    return [(str(each.level), each.message) for each in findings]
