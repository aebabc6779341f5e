"""The checks of the hub itself, in the order in which they run. Families add theirs in ``Family.checks``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hub.doctor import databases, folder, processes
from hub.doctor.inspection import Check, Finding, Inspection, Level
from hub.storage.transactions import StorageError

CHECKS: Final[tuple[Check, ...]] = (
    folder.permissions,
    folder.space,
    folder.clock,
    databases.integrity,
    databases.versions,
    databases.server,
    databases.clocks,
    processes.open_files,
    processes.workers,
)


def examine(inspection: Inspection, checks: Iterable[Check]) -> list[Finding]:
    """Run all checks and return their findings. If a check cannot read the database, that is a finding, and the other checks still run."""
    found: list[Finding] = []
    for check in checks:
        try:
            found.extend(check(inspection))
        except StorageError as error:
            found.append(Finding(Level.PROBLEM, check.__name__.replace("_", " "), str(error)))
    return found
