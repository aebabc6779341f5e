"""What ``hub doctor`` says of attachments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from channels.families import FAMILIES
from channels.secure_email.doctor import attachments
from hub.doctor.inspection import Finding, Inspection, Level
from hub.families import migrations_of
from hub.ops.settings import load
from tests.channels.secure_email.support import Office, attached
from tests.channels.secure_email.test_attachments import earlier


def found(office: Office, folder: Path, **flags: Any) -> list[Finding]:
    settings = load(FAMILIES, config=None, flags={"data_dir": str(folder), "database_url": str(office.database.url), **flags})
    return list(attachments(Inspection(settings, 0, migrations_of(()))))


async def test_where_attachments_are(office: Office, tmp_path: Path) -> None:
    shared = {"objects": {"url": f"file://{tmp_path}/shared"}}
    assert found(office, tmp_path) == []
    await earlier(office).send(attachments=[attached(), attached("b.png")])
    (one,) = found(office, tmp_path)
    if office.database.is_sqlite:
        assert (one.level, one.message) == (
            Level.OK,
            "2 of 2 attachments of secure e-mail are in the database yet: a hub that runs moves them",
        )
    else:
        assert (one.level, one.message) == (Level.OK, "2 attachments of secure e-mail, 0 MiB, are in the database")
        assert "objects.url" in one.advice
    assert "moves them" in found(office, tmp_path, **shared)[0].message
    await office.moves.trim()
    assert found(office, tmp_path, **shared)[0].message == "all 2 attachments of secure e-mail are in the object store"
    if not office.database.is_sqlite:
        (one,) = found(office, tmp_path)
        assert (one.level, "others do not find them" in one.message) == (Level.WARNING, True)


async def test_tables_of_an_earlier_version(light: Office, tmp_path: Path) -> None:
    await light.transactions.write(
        lambda tx: tx.run("UPDATE alembic_version SET version_num = 'secure_email_0002' WHERE version_num LIKE 'secure%'")
    )
    assert found(light, tmp_path) == []


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    settings = load(FAMILIES, config=None, flags={"data_dir": str(tmp_path)})
    assert list(attachments(Inspection(settings, 0, migrations_of(())))) == []
