"""Settings that the parent of the workers has applied: a new worker cannot change them (docs/scaling.md#workers)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from hub.ops.settings import Settings
from hub.storage.url import DatabaseUrl


def fixed_settings(settings: Settings) -> Mapping[str, str]:
    """A fingerprint of each of these settings, by name. The values themselves may hold passwords."""
    return {
        name: hashlib.sha256(repr(value).encode()).hexdigest()[:16]
        for name, value in (
            ("host", settings.host),
            ("port", settings.port),
            ("workers", settings.workers),
            ("metrics_port", settings.metrics_port),
            ("data_dir", settings.data_dir.absolute()),
            ("redis_url", settings.redis_url),
            ("database_url", DatabaseUrl.parse(settings.database).is_sqlite),  # which kind; another PostgreSQL is for the workers to find
            ("supervision", settings.supervision),
        )
    }


def changed(parent: Mapping[str, str], worker: Mapping[str, str]) -> list[str]:
    """The settings that a worker has read otherwise than its parent."""
    return [name for name, value in parent.items() if worker.get(name, value) != value]
