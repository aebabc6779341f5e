"""How rows of the audit log look in answers and exports."""

from __future__ import annotations

import json
from typing import Any

from hub.audit.models import Row
from hub.core.time_text import time_text


def row_entry(row: Row) -> dict[str, Any]:
    """A row. With ``hash`` and the row before it everybody can check the chain: docs/audit.md#the-chain."""
    return {
        "tenant": row.tenant,
        "number": row.number,
        "at": time_text(row.at_ms),
        "atMs": row.at_ms,
        "event": row.event,
        "who": row.who,
        "address": row.address,
        "client": row.client,
        "target": row.target,
        "count": row.count,
        "before": None if row.before is None else json.loads(row.before),
        "after": None if row.after is None else json.loads(row.after),
        "hash": row.hash,
    }
