"""The check of ``hub doctor`` for attachments: whether every hub on the database finds their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hub.doctor.inspection import Finding, Inspection, Level

_EARLIER: Final = {"secure_email_0001", "secure_email_0002"}
"""Versions of the tables whose attachments are all in the database; a hub changes them when it starts."""


def attachments(inspection: Inspection) -> Iterator[Finding]:
    """Check where the attachments lie that the database knows."""
    path = inspection.database_path
    if path is not None and not path.exists():
        return
    if _EARLIER & {str(version) for (version,) in inspection.rows("SELECT version_num FROM alembic_version")}:
        return
    ((count, size, objects),) = inspection.rows("SELECT count(*), coalesce(sum(size), 0), count(object) FROM secure_mail_attachments")
    if not count:
        return
    if path is None and inspection.settings.objects.url is None:
        if objects:
            message = f"{objects} attachments of secure e-mail lie in the folder of the hub that got them: others do not find them"
            yield Finding(Level.WARNING, "attachments", message, "set objects.url to the store that they were in, or to a common one")
        else:
            message = f"{count} attachments of secure e-mail, {size // 1024**2} MiB, are in the database"
            advice = "set objects.url to a store that all hubs share, and they are moved there (docs/secure-email.md)"
            yield Finding(Level.OK, "attachments", message, advice)
    elif count > objects:
        message = f"{count - objects} of {count} attachments of secure e-mail are in the database yet: a hub that runs moves them"
        yield Finding(Level.OK, "attachments", message)
    else:
        yield Finding(Level.OK, "attachments", f"all {count} attachments of secure e-mail are in the object store")
