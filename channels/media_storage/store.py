"""The SQL of media storage. Every function runs inside a transaction.

Changes of one tenant's files run one after the other: each locks the tenant's row of ``media_usage`` first.
"""

from __future__ import annotations

from typing import Final

from channels.media_storage.models import Kept, Listed, MediaObject, Page, Usage
from hub.storage.transactions import Transaction

_COLUMNS: Final = "path, object, size, md5, sha256, modified_ms"


def born_ms(transaction: Transaction, tenant: str) -> int | None:
    """When the tenant was made, in ms since 1970 UTC: another one of the same name has another moment. None: there is no such tenant."""
    row = transaction.row("SELECT created_ms FROM tenants WHERE name = ?", (tenant,))
    return None if row is None else int(row[0])


def find(transaction: Transaction, tenant: str, path: str) -> MediaObject | None:
    """The file of a key."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM media_objects WHERE tenant = ? AND path = ?", (tenant, path))
    return None if row is None else MediaObject(*row)


def usage(transaction: Transaction, tenant: str) -> Usage:
    """What a tenant's files take together."""
    row = transaction.row("SELECT bytes, files, links FROM media_usage WHERE tenant = ?", (tenant,))
    return Usage(0, 0) if row is None else Usage(*row)


def lock(transaction: Transaction, tenant: str) -> Usage | None:
    """As :func:`usage`; others that change the tenant's files wait until this transaction has ended. None: there is no such tenant."""
    if born_ms(transaction, tenant) is None:
        return None
    row = transaction.row(
        "INSERT INTO media_usage (tenant, bytes, files) VALUES (?, 0, 0)"
        " ON CONFLICT (tenant) DO UPDATE SET bytes = media_usage.bytes RETURNING bytes, files, links",
        (tenant,),
    )
    assert row is not None
    return Usage(*row)


def put(transaction: Transaction, tenant: str, folder: str, made: MediaObject, before: MediaObject | None) -> None:
    """Insert a file, in place of the one that had its key. The tenant is locked."""
    transaction.run(
        f"INSERT INTO media_objects (tenant, folder, top, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (tenant, path) DO UPDATE SET object = excluded.object, size = excluded.size, md5 = excluded.md5,"
        " sha256 = excluded.sha256, modified_ms = excluded.modified_ms",
        (tenant, folder, folder.partition("/")[0], *made),
    )
    _count(transaction, tenant, made.size - (0 if before is None else before.size), int(before is None))


def remove(transaction: Transaction, tenant: str, path: str) -> MediaObject | None:
    """Delete the file of a key, and return it; None: there is none."""
    if lock(transaction, tenant) is None:
        return None
    row = transaction.row(f"DELETE FROM media_objects WHERE tenant = ? AND path = ? RETURNING {_COLUMNS}", (tenant, path))
    if row is None:
        return None
    found = MediaObject(*row)
    _count(transaction, tenant, -found.size, -1)
    return found


def _count(transaction: Transaction, tenant: str, more_bytes: int, more_files: int) -> None:
    transaction.run("UPDATE media_usage SET bytes = bytes + ?, files = files + ? WHERE tenant = ?", (more_bytes, more_files, tenant))


def has_arrived(transaction: Transaction, identifier: str) -> bool:
    """Whether what arrived at the store was taken in under this id."""
    return transaction.row("SELECT 1 FROM media_arrivals WHERE object = ?", (identifier,)) is not None


def arrive(transaction: Transaction, identifier: str, at_ms: int) -> bool:
    """Note that what arrived at the store is taken in. Returns whether it was not before."""
    return bool(transaction.run("INSERT INTO media_arrivals (object, taken_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", (identifier, at_ms)))


def forget_arrivals(transaction: Transaction, before_ms: int) -> int:
    """Delete the notes of what was taken in before a moment, which is removed from the store since. Returns how many."""
    return transaction.run("DELETE FROM media_arrivals WHERE taken_ms < ?", (before_ms,))


# -- links that were used -------------------------------------------------------------------------------------------------------


def used_for(transaction: Transaction, tenant: str, link: str) -> str | None:
    """The object that was uploaded by a link; None: none was."""
    row = transaction.row("SELECT object FROM media_used_links WHERE tenant = ? AND link = ?", (tenant, link))
    return None if row is None else str(row[0])


def use(transaction: Transaction, tenant: str, link: str, identifier: str, ends_ms: int) -> None:
    """Remember that an object was uploaded by a link. The tenant is locked."""
    transaction.run("INSERT INTO media_used_links (tenant, link, object, ends_ms) VALUES (?, ?, ?, ?)", (tenant, link, identifier, ends_ms))
    transaction.run("UPDATE media_usage SET links = links + 1 WHERE tenant = ?", (tenant,))


def forget_links(transaction: Transaction, before_ms: int, limit: int) -> int:
    """Forget links that ended before a moment, of one tenant. Returns how many; 0: there are none."""
    first = transaction.row("SELECT tenant FROM media_used_links WHERE ends_ms < ? ORDER BY ends_ms LIMIT 1", (before_ms,))
    if first is None or lock(transaction, first[0]) is None:
        return 0
    gone = transaction.run(
        "DELETE FROM media_used_links WHERE tenant = ? AND link IN"
        " (SELECT link FROM media_used_links WHERE tenant = ? AND ends_ms < ? ORDER BY ends_ms LIMIT ?)",
        (first[0], first[0], before_ms, limit),
    )
    transaction.run("UPDATE media_usage SET links = links - ? WHERE tenant = ?", (gone, first[0]))
    return gone


# -- listings -------------------------------------------------------------------------------------------------------------------


def end_of(folder: str) -> str:
    """The first key behind all that begin with a folder's, which ends with a slash."""
    return f"{folder[:-1]}0"  # the character after the slash


def files_below(transaction: Transaction, tenant: str, folder: str, start: str, limit: int) -> Page:
    """The files below a folder and its folders, from a key on."""
    rows = transaction.rows(
        "SELECT path, size, modified_ms FROM media_objects WHERE tenant = ? AND path >= ? AND path < ? ORDER BY path LIMIT ?",
        (tenant, max(start, folder), end_of(folder), limit + 1),
    )
    return Page([Listed(*row) for row in rows[:limit]], rows[limit][0] if len(rows) > limit else None)


def files_in(transaction: Transaction, tenant: str, folder: str, start: str, limit: int) -> list[Listed]:
    """The files directly in a folder, from a key on."""
    rows = transaction.rows(
        "SELECT path, size, modified_ms FROM media_objects WHERE tenant = ? AND folder = ? AND path >= ? ORDER BY path LIMIT ?",
        (tenant, folder, start, limit),
    )
    return [Listed(*row) for row in rows]


def count_below(transaction: Transaction, tenant: str, folder: str, most: int) -> int | None:
    """How many files are below a folder and its folders; None: more than ``most``."""
    row = transaction.row(
        "SELECT COUNT(*) FROM (SELECT 1 FROM media_objects WHERE tenant = ? AND path >= ? AND path < ? LIMIT ?) AS counted",
        (tenant, folder, end_of(folder), most + 1),
    )
    assert row is not None
    return None if row[0] > most else int(row[0])


def count_in(transaction: Transaction, tenant: str, folder: str, most: int) -> int | None:
    """How many files are directly in a folder; None: more than ``most``."""
    row = transaction.row(
        "SELECT COUNT(*) FROM (SELECT 1 FROM media_objects WHERE tenant = ? AND folder = ? LIMIT ?) AS counted", (tenant, folder, most + 1)
    )
    assert row is not None
    return None if row[0] > most else int(row[0])


def folders_below(transaction: Transaction, tenant: str, folder: str, start: str, limit: int) -> list[str]:
    """The folders at and below a folder that have files directly in them, from one on. Each is found by one step in the index, however
    many files lie between two of them.
    """
    rows = transaction.rows(
        "WITH RECURSIVE found (folder) AS ("
        " SELECT MIN(folder) FROM media_objects WHERE tenant = ? AND folder >= ? AND folder < ?"
        " UNION ALL"
        " SELECT (SELECT MIN(folder) FROM media_objects WHERE tenant = ? AND folder > found.folder AND folder < ?)"
        " FROM found WHERE found.folder IS NOT NULL"
        ") SELECT folder FROM found WHERE folder IS NOT NULL LIMIT ?",
        (tenant, max(start, folder), end_of(folder), tenant, end_of(folder), limit),
    )
    return [row[0] for row in rows]


def folders_in(transaction: Transaction, tenant: str, folder: str, start: str, limit: int) -> list[str]:
    """The folders directly in a folder that have files below them, from one on."""
    found: list[str] = []
    at = max(start, folder)
    while len(found) < limit:
        row = transaction.row(
            "SELECT MIN(folder) FROM media_objects WHERE tenant = ? AND folder >= ? AND folder < ? AND folder <> ?",
            (tenant, at, end_of(folder), folder),
        )
        if row is None or row[0] is None:
            break
        name = row[0][len(folder) :].partition("/")[0]
        found.append(f"{folder}{name}/")
        at = end_of(found[-1])
    return found


# -- what is old, and what belongs to nothing -----------------------------------------------------------------------------------


def old(transaction: Transaction, top: str, before_ms: int, limit: int) -> list[tuple[str, str]]:
    """Tenant and key of files below a top folder that were written before a moment."""
    rows = transaction.rows(
        "SELECT tenant, path FROM media_objects WHERE top = ? AND modified_ms < ? ORDER BY modified_ms LIMIT ?", (top, before_ms, limit)
    )
    return [(tenant, path) for tenant, path in rows]


def objects_between(transaction: Transaction, tenant: str, after: str, last: str | None, limit: int) -> list[Kept]:
    """The files of a tenant whose objects come after one, up to another, in the order of the objects' ids; ``last`` None: all after it."""
    condition, values = ("", [tenant, after]) if last is None else (" AND object <= ?", [tenant, after, last])
    rows = transaction.rows(
        f"SELECT object, path, modified_ms FROM media_objects WHERE tenant = ? AND object > ?{condition} ORDER BY object LIMIT ?",
        (*values, limit),
    )
    return [Kept(*row) for row in rows]


def lose(transaction: Transaction, tenant: str, path: str, identifier: str) -> bool:
    """Delete a file whose object is gone, unless it has another one by now. Returns whether it was deleted."""
    if lock(transaction, tenant) is None:
        return False
    found = find(transaction, tenant, path)
    return found is not None and found.object == identifier and remove(transaction, tenant, path) is not None


def newest(transaction: Transaction, top: str, before_ms: int, limit: int) -> list[tuple[str, str]]:
    """Tenant and object of files below a top folder that were written before a moment, the newest first."""
    rows = transaction.rows(
        "SELECT tenant, object FROM media_objects WHERE top = ? AND modified_ms < ? ORDER BY modified_ms DESC LIMIT ?",
        (top, before_ms, limit),
    )
    return [(tenant, identifier) for tenant, identifier in rows]


def tenants(transaction: Transaction) -> list[str]:
    """The tenants that have, or had, files."""
    return [row[0] for row in transaction.rows("SELECT tenant FROM media_usage")]
