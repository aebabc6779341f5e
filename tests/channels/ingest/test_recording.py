import asyncio
import gzip
import io
import os
from pathlib import Path

import msgspec
import orjson
import pytest

from channels.events import parse_time
from channels.ingest.recording import RecordingError, as_recorded, open_recording, read_events, shifted
from hub.client.pace import Due
from tests.channels.ingest.support import NOON_MS, cloudevent


async def _texts(path: Path, **bounds: int) -> list[tuple[str, bytes]]:
    with open_recording(str(path)) as stream:
        return [event async for event in read_events(stream, **bounds)]


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "events"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b'{"a":1}', [("line 1", b'{"a":1}')]),
        (b'{"a":1}\n\n{"b":2}\r\n', [("line 1", b'{"a":1}'), ("line 3", b'{"b":2}\r')]),
        (b'\n [{"a":1},\n{"b":2}]', [("event 1", b'{"a":1}'), ("event 2", b'{"b":2}')]),
        (b"[]", []),
    ],
)
async def test_every_form(tmp_path: Path, pack: type[bytes], content: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert await _texts(_write(tmp_path, pack(content))) == expected


async def test_gzip_members_that_follow_one_another(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a":1}\n{"b"') + gzip.compress(b":2}\n") + gzip.compress(b'{"c":3}')
    assert [text for _, text in await _texts(_write(tmp_path, packed))] == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


@pytest.mark.parametrize("read_bytes", [1, 7, 64 * 1024])
async def test_it_does_not_matter_in_which_pieces_it_is_read(tmp_path: Path, read_bytes: int) -> None:
    lines = [b'{"n":%d}' % number for number in range(20)]
    assert [text for _, text in await _texts(_write(tmp_path, b"\n".join(lines)), read_bytes=read_bytes)] == lines


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[{"a":1}', "JSON array"),
        (b"[1 2]", "JSON array"),
        (b"[" * 100_000, "JSON array"),
        (gzip.compress(os.urandom(100_000))[:50_000], "ends before it"),
        (b"\x1f\x8bnonsense", "gzip data"),
    ],
)
async def test_what_is_no_recording(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(RecordingError, match=expected):
        await _texts(_write(tmp_path, content))


async def test_a_line_that_never_ends(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="line 2: expected at most 1000 bytes"):
        await _texts(_write(tmp_path, b"{}\n" + b"x" * 2000), max_event_bytes=1000)


async def test_what_cannot_be_read(tmp_path: Path) -> None:
    class Broken(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with Broken(_write(tmp_path, b"x")) as stream, pytest.raises(RecordingError, match="cannot be read: Input/output error"):
        await anext(read_events(stream))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        open_recording("/nowhere/at/all")


async def test_standard_input() -> None:
    reading, writing = os.pipe()
    with open_recording("-", stdin=reading) as stream:
        events = read_events(stream)
        os.write(writing, b'{"a":1}\n')
        assert await anext(events) == ("line 1", b'{"a":1}')
        os.write(writing, b'{"b":2}\n')
        assert await anext(events) == ("line 2", b'{"b":2}')
        waiting = asyncio.ensure_future(anext(events))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        waiting.cancel()
        os.close(writing)
    os.close(reading)


# -- times ----------------------------------------------------------------------------------------------------------------------


async def _due(path: Path, how: str, **options: float) -> tuple[list[Due], list[tuple[str, str]]]:
    refused: list[tuple[str, str]] = []

    def refuse(why: str, place: str) -> None:
        refused.append((place, why))

    with open_recording(str(path)) as stream:
        if how == "recorded":
            dues = [due async for due in as_recorded(read_events(stream), refuse)]
        else:
            dues = [
                due
                async for due in shifted(
                    read_events(stream), refuse, start_ms=NOON_MS, speed=options.get("speed", 1.0), skip_ms=int(options.get("skip_ms", 0))
                )
            ]
    return dues, refused


def _lines(*times: str) -> bytes:
    return b"\n".join(orjson.dumps(cloudevent(str(number), time=time)) for number, time in enumerate(times))


async def test_times_are_moved_and_gaps_kept(tmp_path: Path) -> None:
    path = _write(tmp_path, _lines("2020-01-01T00:00:10Z", "2020-01-01T00:00:11.5Z", "2020-01-01T00:00:10Z"))
    dues, _ = await _due(path, "shifted")
    assert [due.at_s for due in dues] == [0.0, 1.5, 0.0]
    assert [parse_time(orjson.loads(due.payload)["time"]) - NOON_MS for due in dues] == [0, 1500, 0]
    assert dues[1].simulated_ms == parse_time("2020-01-01T00:00:11.5Z")
    assert dues[1].label == "line 2"


async def test_what_is_skipped_comes_at_once_and_the_rest_after_it(tmp_path: Path) -> None:
    lines = _lines("2020-01-01T00:00:00Z", "2020-01-01T06:00:00Z", "2020-01-01T06:30:00Z", "2020-01-01T07:30:00Z")
    dues, _ = await _due(_write(tmp_path, lines), "shifted", speed=60, skip_ms=390 * 60_000)
    assert [due.at_s for due in dues] == [0, 0, 0, 60]


async def test_speed_divides_the_gaps(tmp_path: Path) -> None:
    dues, _ = await _due(_write(tmp_path, _lines("2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z")), "shifted", speed=60)
    assert dues[1].at_s == 60.0
    assert parse_time(orjson.loads(dues[1].payload)["time"]) == NOON_MS + 60_000


async def test_everything_but_the_time_stays_as_it_was(tmp_path: Path) -> None:
    line = b'{"data":{"x": 1.10, "big":18446744073709551617},"id":"1" , "time":"2020-01-01T00:00:00Z","ext":"\\u00e9"}'
    dues, _ = await _due(_write(tmp_path, line), "shifted")
    assert b'"data":{"x": 1.10, "big":18446744073709551617}' in dues[0].payload
    assert msgspec.json.decode(dues[0].payload)["ext"] == "é"


async def test_as_recorded_nothing_changes(tmp_path: Path) -> None:
    content = _lines("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z")
    dues, refused = await _due(_write(tmp_path, content), "recorded")
    assert b"\n".join(due.payload for due in dues) == content
    assert {due.at_s for due in dues} == {0.0}
    assert refused == []


@pytest.mark.parametrize("how", ["recorded", "shifted"])
async def test_what_is_no_event_is_refused_with_its_place_and_the_rest_goes_on(tmp_path: Path, how: str) -> None:
    bad = [b"nonsense", b"[1]", b"5", b'{"id":"\xff"}', b'{"id":"1"}', b'{"time":5}', b'{"time":"yesterday"}', b'{"time":"\xff"}']
    path = _write(tmp_path, b"\n".join([*bad, orjson.dumps(cloudevent())]))
    dues, refused = await _due(path, how)
    assert [due.label for due in dues] == ["line 9"]
    assert [place for place, _ in refused] == [f"line {number}" for number in range(1, 9)]
    assert all("expected" in why and "got" in why for _, why in refused)
