import asyncio
import gzip
import json
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from channels.events import AgentLogin, AgentLogout, InteractionFinished, InteractionStarted, parse_time
from channels.simulator.cli import register
from tests.channels.ingest.support import Ingesting, noon, served


def _run(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["simulate", *arguments])


_DAY = ("--centre", "office", "--seed", "1", "--day", "2026-03-02", "--zone", "Europe/Madrid")


@pytest.mark.parametrize("name", ["day.ndjson", "day.ndjson.gz"])
def test_a_recorded_day_is_the_same_every_time(tmp_path: Path, name: str) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        result = _run(*_DAY, "--output", str(tmp_path / folder / name), "--books", str(tmp_path / folder / "books.json"))
        assert result.exit_code == 0, result.output
    first, second = (tmp_path / folder / name for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "a" / "books.json").read_bytes() == (tmp_path / "b" / "books.json").read_bytes()
    lines = (gzip.decompress(first.read_bytes()) if name.endswith(".gz") else first.read_bytes()).splitlines()
    assert f"{len(lines):,} events written" in result.output
    times = [parse_time(orjson.loads(line)["time"]) for line in lines]
    assert times == sorted(times)
    assert times[0] == parse_time("2026-03-02T00:00:00+01:00")
    assert times[-1] < parse_time("2026-03-03T00:00:00+01:00")
    books = json.loads((tmp_path / "a" / "books.json").read_text())
    assert books["agents"]["ana.lopez"]["InboundCalls"] > 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("option", ["--output", "--books"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, option: str, packed: bool) -> None:
    """Also for a gzipped file, whose end is written when it is closed."""
    full = tmp_path / ("full.gz" if packed else "full")
    full.symlink_to("/dev/full")
    result = _run(*_DAY, "--hours", "9.5", *(() if option == "--output" else ("--output", str(tmp_path / "day"))), option, str(full))
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    said = " ".join(result.output.replace("│", " ").split())
    assert option in said
    assert "No space left on device" in said
    assert "events written" not in said.partition("cannot write")[0] or option == "--books"


def test_a_part_of_a_day(tmp_path: Path) -> None:
    for end in (("--hours", "9.5"), ("--until", "09:30")):
        assert _run(*_DAY, "--output", str(tmp_path / end[0]), *end).exit_code == 0
    assert (tmp_path / "--hours").read_bytes() == (tmp_path / "--until").read_bytes() != b""


def test_a_day_is_sent_as_recorded(tmp_path: Path) -> None:
    hub = Ingesting()
    with served(hub) as url:
        result = _run(*_DAY, "--hours", "10", "--as-recorded", "--url", url, "--token", "demo-token", "--books", str(tmp_path / "b"))
    assert result.exit_code == 0, result.output
    logged = [event for _, event in asyncio.run(hub.logged())]
    assert f"{len(logged):,} accepted, 0 repeats, 0 refused" in result.output
    assert logged[0].time_ms == parse_time("2026-03-02T00:00:00+01:00")
    assert json.loads((tmp_path / "b").read_text())["queues"]["billing"]["CallsEntered"] > 0


def test_a_live_run_is_sped_up_and_leaves_nobody_logged_in() -> None:
    clock = noon()
    clock.wall = time.time_ns() // 1_000_000
    hub = Ingesting(clock=clock)
    with served(hub) as url:
        result = _run("--speed", "3000", "--hours", "0.5", "--agents", "6", "--url", url, "--token", "demo-token")
    assert result.exit_code == 0, result.output
    logged = [event for _, event in asyncio.run(hub.logged())]
    span_ms = logged[-1].time_ms - logged[0].time_ms
    assert span_ms <= 1_800_000 / 3000 + 1
    present: Counter[str] = Counter()
    begun: Counter[str] = Counter()
    for event in logged:
        match event.data:
            case AgentLogin(agent_id=agent):
                present[agent] += 1
            case AgentLogout(agent_id=agent):
                present[agent] -= 1
            case InteractionStarted(interaction_id=call):
                begun[call] += 1
            case InteractionFinished(interaction_id=call):
                begun[call] -= 1
    assert set(present.values()) == {0}
    assert set(begun.values()) == {0}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--day", "2026-03-02"), "--output or --as-recorded"),
        (("--output", "x", "--day", "tomorrow"), "expected YYYY-MM-DD"),
        (("--zone", "Middle/Earth"), "time zone like Europe/Madrid"),
        (("--zone", "../../etc/passwd"), "time zone like Europe/Madrid"),
        (("--until", "noon"), "expected HH:MM"),
        (("--until", "12:00", "--hours", "1"), "one of --hours and --until"),
        (("--speed", "2", "--books", "x"), "expected --speed 1"),
        (("--agents", "1"), "or equal to 2"),
    ],
)
def test_wrong_options_are_explained(arguments: tuple[str, ...], expected: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.replace("│", " ").split())
