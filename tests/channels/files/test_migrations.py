"""An earlier database with files is brought up to date, on both kinds."""

from __future__ import annotations

import json

import pytest

from hub.storage.migrations import migrate
from hub.storage.transactions import Transaction
from tests.channels.files.conftest import PACKAGES
from tests.hub.storage.backends import migrated_url, opened, running_at

FILES = [
    ("attached", '{"AWSIdentityArn": "arn:aws:iam::000000000000:user/J\\u00fcrgen"}', "approved", "Jürgen"),
    ("attached", json.dumps({"AWSIdentityArn": 'arn:aws:iam::000000000000:user/team/a"b'}), "rejected", 'team/a"b'),
    ("attached", '{"ConnectUserArn": "arn:aws:connect:us-east-1:000000000000:instance/i/agent/ana"}', "failed", "ana"),
    ("attached", '{"ConnectUserArn": "arn:aws:connect:us-east-1:000000000000:instance/i/queue/ana"}', "started", None),
    ("participant", "p-1", "scanning", "p-1"),
]


def undo(tx: Transaction) -> None:
    """Make the tables of files_0002 of the newest ones, with files."""
    for index in ("ix_files_creator", "ix_files_refused", "ix_files_refused_age"):
        tx.run(f"DROP INDEX {index}")
    tx.run("ALTER TABLE files DROP COLUMN creator")
    tx.run("ALTER TABLE chats DROP COLUMN begun")
    tx.run("ALTER TABLE chat_participants DROP COLUMN credential")
    tx.run("ALTER TABLE file_shares DROP COLUMN refused")
    tx.run("DROP TABLE chat_admissions")
    for index in ("ix_chats_ends", "ix_chats_idle"):
        tx.run(f"DROP INDEX {index}")
    tx.run("CREATE INDEX ix_chats_idle ON chats (last_ms) WHERE ended_ms IS NULL")
    for table, column in (("chats", "ends_ms"), ("chats", "content_types"), ("chat_participants", "fields")):
        tx.run(f"ALTER TABLE {table} DROP COLUMN {column}")
    assert tx.run("UPDATE alembic_version SET version_num = 'files_0002' WHERE version_num LIKE 'files_%'") == 1
    tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 0), ('other', 0)")
    tx.run("INSERT INTO file_shares (tenant, files, tokens) VALUES ('acme', ?, 1), ('other', 0, 0)", (len(FILES),))
    for number, (origin, created_by, state, _) in enumerate(FILES):
        tx.run(
            "INSERT INTO files (id, tenant, origin, resource, name, size, content_type, state, created_by, tags, created_ms, link_ends_ms)"
            " VALUES (?, 'acme', ?, 'arn', 'a.txt', 5, 'text/plain', ?, ?, '{}', 0, 0)",
            (str(number), origin, state, created_by),
        )


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest) -> str:
    """Of a database with every table, on SQLite and on PostgreSQL."""
    return await migrated_url(request, PACKAGES)


async def test_creators_and_shares_are_filled_in(url: str) -> None:
    async with running_at(url) as transactions:
        await transactions.write(undo)
    async with opened(url) as database:
        await migrate(database, PACKAGES)
    async with running_at(url) as transactions:
        rows = await transactions.read(lambda tx: tx.rows("SELECT creator FROM files ORDER BY number"))
        shares = await transactions.read(lambda tx: tx.rows("SELECT tenant, files, refused, tokens FROM file_shares ORDER BY tenant"))
    assert [row[0] for row in rows] == [each[-1] for each in FILES]
    assert shares == [("acme", 3, 2, 1), ("other", 0, 0, 0)]
