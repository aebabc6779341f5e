"""Lines of a queue_log: the forms that there are, and what is none."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from channels.events import InteractionQueued
from channels.ingest.queue_log import Converter
from channels.ingest.queue_log_line import LineError, parse_line
from tests.channels.ingest.support import Ingesting, served
from tests.channels.ingest.test_cli import _run

TIMES = [
    ("1772442000", 1_772_442_000_000),
    ("1772442000.25", 1_772_442_000_250),
    ("1772442000.123456", 1_772_442_000_123),
    ("2026-03-02 09:00:00", 1_772_442_000_000),
    ("2026-03-02 09:00:00.250000", 1_772_442_000_250),
    ("2026-03-02T09:00:00,250", 1_772_442_000_250),
    ("2026-03-02 10:00:00+0100", 1_772_442_000_000),
    ("2026-03-02T09:00:00Z", 1_772_442_000_000),
]


@pytest.mark.parametrize(("text", "expected"), TIMES)
def test_the_forms_of_the_time(text: str, expected: int) -> None:
    assert parse_line(f"{text}|1.1|sales|NONE|ENTERQUEUE||555|1", UTC).time_ms == expected


def test_a_date_without_a_zone_is_of_the_zone_that_is_given() -> None:
    line = parse_line("2026-03-02 10:00:00|1.1|sales|NONE|ENTERQUEUE||555|1", ZoneInfo("Europe/Madrid"))
    assert line.time_ms == 1_772_442_000_000


@pytest.mark.parametrize(
    "text",
    ["1|1.1|sales|SIP/1|CONNECT|5|1.2|3", " 1 | 1.1 | sales | SIP/1 | CONNECT | 5 | 1.2 | 3 \r\n", "1|1.1|sales|SIP/1|CONNECT|5|1.2|3||"],
)
def test_spaces_and_bars_at_the_end_mean_nothing(text: str) -> None:
    line = parse_line(text, UTC)
    assert line[1:] == ("1.1", "sales", "SIP/1", "CONNECT", ("5", "1.2", "3"))
    assert (line.seconds(0, "holdtime"), line.seconds(7, "more")) == (5, None)


BAD = [
    ("", "expected time|call|queue|agent|event, got ''"),
    ("nonsense", "expected time|call|queue|agent|event, got 'nonsense'"),
    ("1|2|3", "expected time|call|queue|agent|event, got '1|2|3'"),
    ("soon|1.1|sales|NONE|ENTERQUEUE", "time: expected seconds since 1970, or a date such as 2026-03-02 09:30:00, got 'soon'"),
    ("2026-02-30 09:00:00|1.1|sales|NONE|ENTERQUEUE", "time: expected seconds since 1970"),
    ("1900-01-01 09:00:00|1.1|sales|NONE|ENTERQUEUE", "time: expected seconds since 1970"),
    ("-1|1.1|sales|NONE|ENTERQUEUE", "time: expected seconds since 1970"),
    ("1|1.1|sales|NONE|enter queue", "event: expected a word in capitals such as ENTERQUEUE, got 'enter queue'"),
    ("1|NONE|sales|NONE|ENTERQUEUE", "call: expected one for ENTERQUEUE, got NONE"),
    ("1|1.1|NONE|NONE|ABANDON|1|1|5", "queue: expected one for ABANDON, got NONE"),
    ("1|1.1|sales|NONE|CONNECT|5", "agent: expected one for CONNECT, got NONE"),
    ("1|1.1|sales|SIP/1|CONNECT|five", "holdtime: expected whole seconds, got 'five'"),
    ("1|1.1|sales|SIP/1|CONNECT|-5", "holdtime: expected whole seconds, got '-5'"),
    ("1|1.1|sales|SIP/1|COMPLETEAGENT|5|1e3", "calltime: expected whole seconds, got '1e3'"),
    ("1|1.1|sales|SIP/1|RINGNOANSWER|x", "ringtime: expected whole milliseconds, got 'x'"),
    (f"1|{'9' * 300}|sales|NONE|ENTERQUEUE", "call: expected at most 255 characters without control characters"),
    ("1|1.1|sa\x07les|NONE|ENTERQUEUE", "queue: expected at most 255 characters without control characters"),
    ("1|1.1|sales|NONE|ABANDON|1|1|٣", "waittime: expected whole seconds"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_line_is_refused_with_the_field_and_leaves_nothing(text: str, message: str) -> None:
    converter = Converter()
    with pytest.raises(LineError) as refusal:
        converter.take(text)
    assert str(refusal.value).startswith(message)
    (_, queued) = converter.take("5|1.1|sales|NONE|ENTERQUEUE||555|1")
    assert (queued.time_ms, queued.data) == (5000, InteractionQueued(interaction_id="1.1", queue="sales"))


def test_the_callers_number_stays_in_the_log() -> None:
    assert all(b"5551234" not in str(event).encode() for event in Converter().take("1|1.1|sales|NONE|ENTERQUEUE||5551234|1"))


def test_events_that_are_not_asterisks_own_are_counted_and_left_out() -> None:
    converter = Converter()
    for event in ("DID|555", "INFO|HOLD|1", "DID|556"):
        assert converter.take(f"1|1.1|sales|NONE|{event}") == []
    assert converter.take("1|NONE|NONE|NONE|CONFIGRELOAD|") == []
    assert converter.others == {"DID": 2, "INFO": 1}


def test_the_same_line_has_the_same_ids_again_and_two_alike_have_their_own() -> None:
    lines = ["1|1.1|sales|NONE|ENTERQUEUE||555|1", "2|1.1|sales|SIP/1|RINGNOANSWER|0", "2|1.1|sales|SIP/1|RINGNOANSWER|0"]
    first, second = ([event.id for line in lines for event in converter.take(line)] for converter in (Converter(), Converter()))
    assert first == second
    assert len(set(first)) == len(first)


def test_calls_whose_end_is_missing_do_not_stay_for_ever() -> None:
    converter = Converter()
    for number in range(100):
        converter.take(f"{number}|1.{number}|sales|NONE|ENTERQUEUE||555|1")
    finished = converter.take("86500|2.1|sales|NONE|ENTERQUEUE||555|1")
    assert [event.type for event in finished].count("cx.interaction.finished") == 100


LOG = [
    "1772442000|100.1|sales|NONE|DID|555",
    "1772442000|100.1|sales|NONE|ENTERQUEUE||5551234|1",
    "this is not a line",
    "1772442005|100.1|sales|SIP/201|CONNECT|5|100.2|0",
    "1772442006|100.2|sales|SIP/201|CONNECT|many|100.2|0",
    "1772442065|100.1|sales|SIP/201|COMPLETECALLER|5|60|1",
    "1772442065|100.1|sales|SIP/201|COMPLETECALLER|5|60|1",
]


@pytest.mark.parametrize("name", ["queue_log", "queue_log.1.gz"])
def test_a_log_is_fed_with_counts_of_what_is_wrong(tmp_path: Path, name: str) -> None:
    text = "\n".join(LOG).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    hub = Ingesting()
    with served(hub) as url:
        result = _run(str(tmp_path / name), "--format", "queue-log", "--past", "--url", url, "--token", "demo-token")
    assert result.exit_code == 1
    assert "7 accepted, 0 repeats, 2 refused" in result.output
    assert "line 3: expected time|call|queue|agent|event" in result.output
    assert "line 5: holdtime: expected whole seconds, got 'many'" in result.output
    assert "1 lines of other events left out: DID 1" in result.output
    assert "1 lines that tell again what is over left out" in result.output
    logged = [(event.type.removeprefix("cx.interaction."), event.time_ms) for _, event in asyncio.run(hub.logged())]
    assert [kind for kind, _ in logged] == ["started", "queued", "distributed", "ringing", "established", "released", "finished"]
    assert [at - 1_772_442_000_000 for _, at in logged] == [0, 0, 5000, 5000, 5000, 65_000, 65_000]


def test_a_log_moves_to_now_without_past(tmp_path: Path) -> None:
    (tmp_path / "queue_log").write_text(LOG[1])
    hub = Ingesting()
    with served(hub) as url:
        result = _run(str(tmp_path / "queue_log"), "--format", "queue-log", "--url", url, "--token", "demo-token")
    assert result.exit_code == 0, result.output
    (_, started), _ = asyncio.run(hub.logged())
    assert started.time_ms > 1_772_442_000_000


def test_an_unknown_zone_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue_log").write_text(LOG[1])
    result = _run(str(tmp_path / "queue_log"), "--format", "queue-log", "--zone", "Mars/Base")
    assert result.exit_code == 2
    assert "expected a time zone like Europe/Madrid, got Mars/Base" in result.output
