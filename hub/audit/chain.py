"""The chain of hashes by which a change of the log shows.

Each row's hash covers the row and the hash of the row before it. Where the chain of a tenant begins and ends is a row of ``audit_chains``,
sealed under a key that comes from ``HUB_SECRET``: who can write the database, but does not know the secret, cannot make another chain, nor
cut rows off either end.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from hub.audit.models import Row

START: Final = "0" * 64
"""What stands for the hash of the row before the first one."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the chain of a tenant begins and ends: the row of ``audit_chains``."""

    tenant: str
    number: int
    """That of the newest row; 0: there has been none."""
    hash: str
    """That of the newest row, or :data:`START`."""
    first: int
    """The number of the oldest row that is kept. Those before it were removed when their time was over."""
    anchor: str
    """The hash of the row before that."""


def hash_of(previous: str, row: Row) -> str:
    """The hash of a row, SHA-256 in hexadecimal, over a JSON array without blanks of the hash before it and the fields of the row in their
    order. docs/audit.md describes it for those who check an export by themselves.
    """
    fields = [previous, row.tenant, row.number, row.at_ms, row.event, row.who, row.address, row.client, row.target, row.count]
    covered = json.dumps([*fields, row.before, row.after], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(covered.encode()).hexdigest()


def seal_of(key: bytes, ends: Ends) -> str:
    """The seal of the ends of a chain: an HMAC with SHA-256 in hexadecimal."""
    covered = json.dumps([ends.tenant, ends.number, ends.hash, ends.first, ends.anchor], separators=(",", ":"))
    return hmac.digest(key, covered.encode(), "sha256").hex()
