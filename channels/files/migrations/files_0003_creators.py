"""By whom a file is, as an id of its own, and how many rejected and failed files a tenant has."""

import json
import re
from typing import Final

from hub.storage.schema import Schema

revision = "files_0003"
after = ("files_0002",)

_PERSON: Final = re.compile(
    r"arn:aws:iam::[0-9]{12}:user/(?P<user>.+)|arn:[^:]*:connect:[^:]*:[^:]*:instance/[^/]+/agent/(?P<agent>.+)", re.DOTALL
)
_PAGE: Final = 1000


def upgrade(schema: Schema) -> None:
    """Add the columns, and fill them for the files that there are."""
    schema.run(
        "ALTER TABLE files ADD COLUMN creator VARCHAR(500)",
        "ALTER TABLE file_shares ADD COLUMN refused BIGINT NOT NULL DEFAULT 0",
    )
    tx = schema.transaction
    after_number = 0
    while rows := tx.rows("SELECT number, origin, created_by FROM files WHERE number > ? ORDER BY number LIMIT ?", (after_number, _PAGE)):
        for number, origin, created_by in rows:
            creator = created_by if origin == "participant" else _person(created_by)
            tx.run("UPDATE files SET creator = ? WHERE number = ?", (creator, number))
        after_number = rows[-1][0]
    schema.run(
        "UPDATE file_shares SET refused ="
        " (SELECT count(*) FROM files WHERE files.tenant = file_shares.tenant AND state IN ('rejected', 'failed'))",
        "UPDATE file_shares SET files = files - refused",
        "CREATE INDEX ix_files_creator ON files (tenant, creator) WHERE creator IS NOT NULL",
        "CREATE INDEX ix_files_refused ON files (tenant, decided_ms, number) WHERE state IN ('rejected', 'failed')",
        "CREATE INDEX ix_files_refused_age ON files (decided_ms) WHERE state IN ('rejected', 'failed')",
    )


def _person(created_by: str) -> str | None:
    for arn in json.loads(created_by).values():
        if (found := _PERSON.fullmatch(arn)) is not None:
            return found["user"] or found["agent"]
    return None
