"""Where messages and events are kept and how nodes are connected: tables from a word of the settings to what opens it. The kinds of
databases stand in :mod:`hub.storage.backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from hub.bus.interface import Bus
from hub.bus.memory import MemoryBus
from hub.core.ports import Clock
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.channel_log_sqlite import SqliteChannelLog
from hub.eventlog.interface import EventLog
from hub.eventlog.sqlite import SqliteEventLog
from hub.ops.settings import Settings
from hub.storage.watch import Watched


class OpenEventLog(NamedTuple):
    """An event log, and its file where it has one."""

    log: EventLog
    file: Watched | None


class OpenChannelLog(NamedTuple):
    """A log of ``log`` channels, and its file where it has one."""

    log: ChannelLog
    file: Watched | None


def _sqlite_event_log(settings: Settings) -> OpenEventLog:
    log = SqliteEventLog(settings.data_dir)
    return OpenEventLog(log, log.file)


def _sqlite_channel_log(settings: Settings, clock: Clock) -> OpenChannelLog:
    log = SqliteChannelLog(settings.data_dir, clock, settings.replay.retention)
    return OpenChannelLog(log, log.file)


def _memory_channel_log(settings: Settings, clock: Clock) -> OpenChannelLog:
    return OpenChannelLog(MemoryChannelLog(clock, settings.replay.retention), None)


def _memory_bus(_settings: Settings, log: ChannelLog) -> Bus:
    return MemoryBus(log)


EVENT_LOGS: Final[Mapping[str, Callable[[Settings], OpenEventLog]]] = {"sqlite": _sqlite_event_log}
CHANNEL_LOGS: Final[Mapping[str, Callable[[Settings, Clock], OpenChannelLog]]] = {
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

    async def close(self) -> None:
        """Close them, the bus first, whose messages the log takes."""
        await self.bus.close()
        await self.channel_log.log.close()
        await self.event_log.log.close()


def open_backends(settings: Settings, clock: Clock) -> Backends:
    """Open what the settings name. By the lock of the event log's file a second hub on the same data folder is refused.

    Raises:
        EventLogError: a file cannot be used.
        LogInUseError: another hub has it.
    """
    event_log = EVENT_LOGS["sqlite"](settings)
    channel_log = CHANNEL_LOGS[settings.replay.store](settings, clock)
    return Backends(BUSES["memory"](settings, channel_log.log), channel_log, event_log)
