"""The backends of the event log, the channel log and the bus: tables from a value in the settings to the function that opens the backend.
:mod:`hub.storage.backends` has the kinds of databases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hub.bus.interface import Bus
from hub.bus.memory import MemoryBus
from hub.core.ports import Clock
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.channel_log_sqlite import SqliteChannelLog
from hub.eventlog.interface import EventLog
from hub.eventlog.memory import MemoryEventLog
from hub.eventlog.sqlite import SqliteEventLog
from hub.ops.settings import Settings, SettingsError, split_urls
from hub.storage.url import DatabaseUrl
from hub.storage.watch import Watched

if TYPE_CHECKING:
    from hub.bus.redis.bus import RedisBus


class OpenEventLog(NamedTuple):
    """An event log, and its file where it has one."""

    log: EventLog
    file: Watched | None
    """Its file or database, whose trouble ``/readyz`` tells."""
    shared: bool = False
    """Whether all nodes have the same one."""


class OpenChannelLog(NamedTuple):
    """A channel log, and its file where it has one."""

    log: ChannelLog
    file: Watched | None


def _sqlite_event_log(settings: Settings) -> OpenEventLog:
    log = SqliteEventLog(settings.data_dir)
    return OpenEventLog(log, log.file)


def _no_event_log(_settings: Settings) -> OpenEventLog:
    """For a worker that owns no tenant, and so appends nothing."""
    return OpenEventLog(MemoryEventLog(), None)


def _postgres_event_log(settings: Settings) -> OpenEventLog:
    # imported here, because most hubs do not use PostgreSQL
    from hub.eventlog.postgresql import PostgresEventLog

    log = PostgresEventLog(DatabaseUrl.parse(settings.database), patience=settings.patience)
    return OpenEventLog(log, log.database, shared=True)


def _sqlite_channel_log(settings: Settings, clock: Clock, steady: Clock | None) -> OpenChannelLog:
    log = SqliteChannelLog(settings.data_dir, clock, settings.replay.retention, steady=steady)
    return OpenChannelLog(log, log.file)


def _memory_channel_log(settings: Settings, clock: Clock, steady: Clock | None) -> OpenChannelLog:
    return OpenChannelLog(MemoryChannelLog(clock, settings.replay.retention, steady=steady), None)


def _redis_bus(settings: Settings, url: str, incarnation: str) -> RedisBus:
    # imported here, because the Redis client takes time to load and most hubs do not use it
    from hub.bus.redis.bus import open_bus

    try:
        urls = split_urls(url)
        return open_bus(urls, settings.redis_prefix, settings.redis_durable, settings.replay.retention, node=incarnation)
    except ValueError as error:
        raise SettingsError([f"redis_url: {error}"]) from None


def _memory_bus(_settings: Settings, log: ChannelLog) -> Bus:
    return MemoryBus(log)


EVENT_LOGS: Final[Mapping[str, Callable[[Settings], OpenEventLog]]] = {
    "sqlite": _sqlite_event_log,
    "postgresql": _postgres_event_log,
    "none": _no_event_log,
}
"""By :func:`event_log_of`."""
CHANNEL_LOGS: Final[Mapping[str, Callable[[Settings, Clock, Clock | None], OpenChannelLog]]] = {
    "sqlite": _sqlite_channel_log,
    "memory": _memory_channel_log,
}
"""By the setting ``replay.store``."""
BUSES: Final[Mapping[str, Callable[[Settings, ChannelLog], Bus]]] = {"memory": _memory_bus}


@dataclass(frozen=True, slots=True)
class Backends:
    """The bus and the two logs of a node, open."""

    bus: Bus
    channel_log: OpenChannelLog
    event_log: OpenEventLog
    redis: RedisBus | None = None
    """The bus, if it is Redis: also a service of the node, which connects when it starts."""

    async def close(self) -> None:
        """Close the bus, then the logs: the bus still writes its last messages to the channel log."""
        await self.bus.close()
        await self.channel_log.log.close()
        await self.event_log.log.close()


def event_log_of(settings: Settings, *, linked: bool, keeps_files: bool = True) -> str:
    """Where the event log is: ``postgresql`` for nodes that share a Redis and a PostgreSQL and are ``linked``, and so are one hub; else
    ``sqlite`` in the process that ``keeps_files``, and ``none`` in the others.
    """
    shared = linked and settings.redis_url is not None and not DatabaseUrl.parse(settings.database).is_sqlite
    return "postgresql" if shared else "sqlite" if keeps_files else "none"


def open_backends(
    settings: Settings, clock: Clock, incarnation: str, *, linked: bool = False, keeps_files: bool = True, steady: Clock | None = None
) -> Backends:
    """Open the backends that the settings name, for the process of this incarnation. The lock of the event log's file refuses a second hub
    on the same data folder. ``linked``, ``keeps_files``: see :func:`event_log_of`. ``steady`` tells what is old; without it
    ``clock`` does.

    Raises:
        EventLogError: a file cannot be used.
        LogInUseError: another hub uses the file.
        SettingsError: ``redis_url`` is not a URL of Redis.
    """
    event_log = EVENT_LOGS[event_log_of(settings, linked=linked, keeps_files=keeps_files)](settings)
    if settings.redis_url is not None:
        redis = _redis_bus(settings, settings.redis_url, incarnation)
        return Backends(redis, OpenChannelLog(redis.log, None), event_log, redis)
    channel_log = CHANNEL_LOGS[settings.replay.store](settings, clock, steady)
    return Backends(BUSES["memory"](settings, channel_log.log), channel_log, event_log)
