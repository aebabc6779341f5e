"""The checks of the hub itself, in the order in which they run. Families add theirs in ``Family.checks``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hub.doctor import databases, folder, processes
from hub.doctor.inspection import Check, Finding, Inspection, Level
from hub.storage.transactions import StorageError


def redis_servers(inspection: Inspection) -> Iterable[Finding]:
    """Check the Redis that connects several hubs, if the settings name one."""
    if inspection.settings.redis_url is None:
        return ()
    from hub.doctor.redis_servers import examine as of_servers  # the client of Redis takes time to load, and most hubs do not use it

    return of_servers(inspection)


def nodes(inspection: Inspection) -> Iterable[Finding]:
    """Check the other nodes of the hub, if the settings name a Redis."""
    if inspection.settings.redis_url is None:
        return ()
    from hub.doctor.cluster_nodes import examine as of_nodes  # likewise

    return of_nodes(inspection)


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
    redis_servers,
    nodes,
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
