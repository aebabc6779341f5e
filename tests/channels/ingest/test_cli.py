import asyncio
import codecs
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from channels.ingest.cli import register
from tests.channels.ingest.support import Ingesting, cloudevent, noon, served
from tests.world import ManualClock

_COMMAND = """
import typer
from channels.ingest.cli import register
app = typer.Typer()
app.callback()(lambda: None)
register(app)
app()
"""


def _run(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["feed", *arguments], env={"COLUMNS": "300"})  # messages in one line, whatever the path in them


def _now() -> ManualClock:
    clock = noon()
    clock.wall = time.time_ns() // 1_000_000
    return clock


def _recording(folder: Path, *events: object) -> str:
    path = folder / "day.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join(event if isinstance(event, bytes) else orjson.dumps(event) for event in events)))
    return str(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_in_front_of_a_recording_is_skipped(tmp_path: Path, packed: bool) -> None:
    """Editors on Windows write one."""
    hub = Ingesting(clock=_now())
    lines = codecs.BOM_UTF8 + orjson.dumps(cloudevent("1")) + b"\n" + orjson.dumps(cloudevent("2"))
    path = tmp_path / "day.ndjson"
    path.write_bytes(gzip.compress(lines) if packed else lines)
    with served(hub) as url:
        result = _run(str(path), "--url", url, "--token", "demo-token", "--speed", "1000")
    assert "2 accepted, 0 repeats, 0 refused" in result.output
    assert result.exit_code == 0, result.output


def test_a_recording_is_fed_with_its_times_moved_to_now(tmp_path: Path) -> None:
    hub = Ingesting(clock=_now())
    path = _recording(tmp_path, cloudevent("1", time="2020-01-01T00:00:00Z"), cloudevent("2", time="2020-01-01T00:01:00Z"))
    with served(hub) as url:
        result = _run(path, "--speed", "1200", "--url", url, "--token", "demo-token")
    assert result.exit_code == 0, result.output
    assert "2 events sent" in result.output
    assert "2 accepted, 0 repeats, 0 refused" in result.output
    (_, first), (_, second) = asyncio.run(hub.logged())
    assert second.time_ms - first.time_ms == 50
    assert abs(first.time_ms - hub.clock.wall) < 60_000


@pytest.mark.parametrize("option", ["--past", "--as-recorded"])
def test_the_past(tmp_path: Path, option: str) -> None:
    hub = Ingesting()
    path = _recording(tmp_path, *(cloudevent(str(n), time=f"2020-01-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(1_200)))
    with served(hub) as url:
        result = _run(path, option, "--url", url, "--api-key", "demo-key")
    assert result.exit_code == 0, result.output
    assert all(hub.recorder.past)
    logged = asyncio.run(hub.logged())
    assert len(logged) == 1_200
    assert logged[-1][1].time_ms - logged[0][1].time_ms == 1_199 * 60_000


def test_credentials_come_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Ingesting()) as url:
        monkeypatch.setenv("HUB_URL", url)
        monkeypatch.setenv("HUB_TOKEN", "demo-token")
        assert _run(_recording(tmp_path, cloudevent())).exit_code == 0


def test_refused_events_make_the_command_fail_and_are_explained(tmp_path: Path) -> None:
    path = _recording(tmp_path, cloudevent("1"), b"nonsense", cloudevent("3", type="cx.nothing"))
    with served(Ingesting()) as url:
        result = _run(path, "--as-recorded", "--url", url, "--token", "demo-token")
    assert result.exit_code == 1
    assert "1 accepted, 0 repeats, 2 refused" in result.output
    assert "line 2: expected an event as a JSON object" in result.output
    assert "line 3: type: expected one of" in result.output


def test_who_may_not_send_the_past_is_told_so(tmp_path: Path) -> None:
    with served(Ingesting(role="producer")) as url:
        result = _run(_recording(tmp_path, cloudevent()), "--past", "--url", url, "--token", "demo-token")
    assert result.exit_code == 2
    assert "/ingest/past" in result.output


def test_a_wrong_token(tmp_path: Path) -> None:
    with served(Ingesting()) as url:
        result = _run(_recording(tmp_path, cloudevent()), "--url", url, "--token", "wrong")
    assert result.exit_code == 2
    assert "give a valid token" in result.output


def test_nobody_is_there(tmp_path: Path) -> None:
    result = _run(_recording(tmp_path, cloudevent()), "--url", "http://127.0.0.1:1", "--give-up", "0")
    assert result.exit_code == 2
    assert "did not take events" in result.output


def test_no_such_file() -> None:
    result = _run("/nowhere.ndjson")
    assert result.exit_code == 2
    assert "No such file" in result.output


def test_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"[1,")
    result = _run(str(path))
    assert result.exit_code == 2
    assert "JSON array of events" in result.output


def test_ctrl_c_ends_a_feed_from_a_silent_pipe_with_a_summary() -> None:
    hub = Ingesting(clock=_now())
    with served(hub) as url:
        feeding = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "feed", "-", "--url", url, "--token", "demo-token"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert feeding.stdin is not None
        assert feeding.stderr is not None
        feeding.stdin.write(orjson.dumps(cloudevent()) + b"\n")
        feeding.stdin.flush()
        for _ in range(3_000):
            if hub.sequencer.counters.accepted:
                break
            threading.Event().wait(0.01)
        os.kill(feeding.pid, signal.SIGINT)
        said = feeding.stderr.read().decode()
        assert feeding.wait(20) == 0, said
        feeding.stdin.close()
        feeding.stderr.close()
    assert "1 events sent" in said
    assert "Traceback" not in said
