"""The tables from a word of the settings to what is opened."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from hub.backends import CHANNEL_LOGS, open_backends
from hub.core.message import Topic
from hub.eventlog.interface import EventLogError, LogInUseError
from hub.ops.channel_settings import ReplaySettings
from hub.ops.settings import Settings
from hub.storage.backends import BACKENDS
from hub.transports.runtime import SystemClock

TOPIC = Topic("acme", "", "/log/x")


def test_each_word_of_the_setting_has_a_log() -> None:
    assert set(CHANNEL_LOGS) == set(get_args(ReplaySettings.model_fields["store"].annotation))
    assert set(BACKENDS) == {"sqlite", "postgresql"}


@pytest.mark.parametrize(("store", "kept"), [("sqlite", True), ("memory", False)])
async def test_what_a_log_keeps(tmp_path: Path, store: str, kept: bool) -> None:
    settings = Settings(data_dir=tmp_path, replay={"store": store})
    opened = open_backends(settings, SystemClock(), "0123456789ab")
    assert (opened.channel_log.file is not None) is kept
    assert opened.event_log.file is not None
    await opened.channel_log.log.append(TOPIC, b"1", b"")
    await opened.close()
    with pytest.raises(EventLogError):
        await opened.channel_log.log.append(TOPIC, b"1", b"")
    again = open_backends(settings, SystemClock(), "0123456789ab")
    span = await again.channel_log.log.span("acme")
    assert (span.newest > span.floor) is kept
    await again.close()


async def test_a_second_hub_is_refused_by_the_lock_of_the_event_log(tmp_path: Path) -> None:
    opened = open_backends(Settings(data_dir=tmp_path), SystemClock(), "0123456789ab")
    with pytest.raises(LogInUseError):
        open_backends(Settings(data_dir=tmp_path), SystemClock(), "0123456789ab")
    await opened.close()
