"""``hub simulate``: simulates a contact centre, and sends its events to a running hub or writes them to a file."""

import asyncio
import contextlib
import gzip
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import typer

from channels.events import Event, encode_cloudevent
from channels.simulator.centre import DAY_MS, HOUR_MS, Centre, demo_centre, office_centre
from channels.simulator.model import Model
from hub.client import console
from hub.client.options import DEFAULT_URL, ApiKey, Token, Url, client_of
from hub.client.pace import Due, Progress
from hub.client.producer import Producer

_EXAMPLES = (
    "Examples:\n\n"
    "`hub simulate --token demo-token` — a centre that never closes, in real time, until Ctrl-C\n\n"
    "`hub simulate --agents 200 --speed 10 --hours 2` — busier, ten times as fast, two simulated hours\n\n"
    "`hub simulate --centre office --seed 1 --day 2026-03-02 --output day.ndjson.gz --books day.books.json` — a recorded day"
)


class Kind(StrEnum):
    """The simulated centre."""

    DEMO = "demo"
    OFFICE = "office"


def register(app: typer.Typer) -> None:
    """Add the command to ``hub``."""

    @app.command("simulate", epilog=_EXAMPLES)
    def simulate(
        agents: Annotated[int | None, typer.Option(help="How many agents; 40 for demo, 12 for office", min=2, max=5000)] = None,
        centre: Annotated[Kind, typer.Option(help="demo never closes, office has office hours")] = Kind.DEMO,
        seed: Annotated[int | None, typer.Option(help="The same seed gives the same day; without it every run is different")] = None,
        load: Annotated[float | None, typer.Option(help="Share of the agents' time that customers fill", min=0.01, max=2)] = None,
        speed: Annotated[float, typer.Option(help="Divide the gaps between events by this; times are now", min=0.001)] = 1.0,
        hours: Annotated[float | None, typer.Option(help="Simulated hours, then stop; a recorded day has 24", min=0.001)] = None,
        until: Annotated[str | None, typer.Option(help="Simulated time of day at which to stop, HH:MM")] = None,
        day: Annotated[str | None, typer.Option(help="The day of --output or --as-recorded, YYYY-MM-DD; default today")] = None,
        zone: Annotated[str | None, typer.Option(help="Whose midnight the day begins at, like Europe/Madrid; default the system's")] = None,
        output: Annotated[Path | None, typer.Option(help="Write a day to this file as NDJSON instead of sending; gzipped for .gz")] = None,
        books: Annotated[Path | None, typer.Option(help="Write the simulator's own figures to this file, as JSON")] = None,
        recorded: Annotated[
            bool,
            typer.Option(
                "--past",
                "--as-recorded",
                help="Send a whole day as fast as possible with its own times (HUB_STATISTICS__CLOCK=events); "
                "needs a credential that may do /ingest/past",
            ),
        ] = False,
        url: Url = DEFAULT_URL,
        token: Token = "",
        api_key: ApiKey = "",
        give_up: Annotated[float, typer.Option(help="Seconds to keep trying while the hub is away", min=0)] = 60.0,
    ) -> None:
        """Simulate a contact centre and send its events into a running hub.

        Ends with 1 when events were refused, with 2 when the hub could not be reached.
        """
        whole_day = recorded or output is not None
        if day is not None and not whole_day:
            raise typer.BadParameter("expected together with --output or --as-recorded: live events happen now", param_hint="--day")
        if books is not None and not whole_day and speed != 1:
            raise typer.BadParameter(
                f"expected --speed 1, got {speed:g}: at another speed times shrink and the books do not", param_hint="--books"
            )
        where = _zone(zone)
        now_ms = time.time_ns() // 1_000_000
        midnight_ms = _midnight(_day(day, where), where)
        start_ms = midnight_ms if whole_day else now_ms
        end_ms = _end(start_ms, hours, until, where, default_h=24.0 if whole_day else None)
        chosen_seed = secrets.randbits(32) if seed is None else seed
        # two live runs must not have the same ids: the hub would drop the events of the second as repeats
        run = "s" if whole_day else f"{now_ms:x}"
        model = Model(_centre(centre, agents, load), seed=chosen_seed, start_ms=start_ms, midnight_ms=midnight_ms, run=run)
        typer.echo(f"seed {chosen_seed}", err=True)

        if output is not None:
            assert end_ms is not None
            with _writing(output, "--output"):
                count = write_day(model, end_ms, output)
            typer.echo(f"{count:,} events written to {output}", err=True)
            code = 0
        else:
            live = Live(model, start_ms=start_ms, end_ms=end_ms, speed=speed, paced=not whole_day)
            producer = client_of(Producer, url, token=token, api_key=api_key, give_up_s=give_up, past=recorded)
            code = asyncio.run(console.run(live.events, producer, closing=live.closing))
            end_ms = live.reached_ms
        if books is not None:
            with _writing(books, "--books"):
                books.write_text(json.dumps(model.ledger.as_json(end_ms), indent=1) + "\n")
        raise typer.Exit(code)


@contextlib.contextmanager
def _writing(file: Path, option: str) -> Iterator[None]:
    """Report an error of writing ``file`` as an error of the option that names it."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror or error}", param_hint=option) from None


class Live:
    """Gives a model's events with the times at which to send them. At a speed other than 1, the gaps between events are divided by it, and
    each event gets the time at which it is sent.
    """

    __slots__ = ("_end_ms", "_model", "_paced", "_speed", "_start_ms", "reached_ms")

    def __init__(self, model: Model, *, start_ms: int, end_ms: int | None, speed: float, paced: bool) -> None:
        self._model = model
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._speed = speed
        self._paced = paced
        self.reached_ms = start_ms

    async def events(self, _: Progress) -> AsyncIterator[Due]:
        """Yield the events, each with the time at which to send it."""
        while (next_ms := self._model.next_ms) is not None and (self._end_ms is None or next_ms <= self._end_ms):
            for event in self._model.run_until(next_ms):
                self.reached_ms = event.time_ms
                yield self._due(event)
        if self._end_ms is not None:
            self.reached_ms = self._end_ms

    def _due(self, event: Event) -> Due:
        if not self._paced:
            return Due(0.0, encode_cloudevent(event), event.time_ms)
        after_ms = (event.time_ms - self._start_ms) / self._speed
        moved = event if self._speed == 1 else msgspec.structs.replace(event, time_ms=self._start_ms + int(after_ms))
        return Due(after_ms / 1000, encode_cloudevent(moved), event.time_ms)

    def closing(self) -> list[Due]:
        """The events at the end of a live run: all agents log out, so that none stays in its last status for ever."""
        if not self._paced:
            return []
        return [self._due(event) for event in self._model.wind_up(self.reached_ms + 1)]


def write_day(model: Model, end_ms: int, output: Path) -> int:
    """Write the events up to ``end_ms`` as NDJSON, gzipped if the name ends in ``.gz``; returns the number of events.

    The same model gives the same bytes: gzip's header has neither name nor time.
    """
    with output.open("wb") as file:
        if output.suffix != ".gz":
            return _write_lines(model.run_until(end_ms), file)
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            return _write_lines(model.run_until(end_ms), packed)


def _write_lines(events: Iterator[Event], file: BinaryIO | gzip.GzipFile) -> int:
    count = 0
    for event in events:
        file.write(encode_cloudevent(event) + b"\n")
        count += 1
    return count


def _centre(kind: Kind, agents: int | None, load: float | None) -> Centre:
    make, count, usual = (demo_centre, 40, 0.9) if kind is Kind.DEMO else (office_centre, 12, 0.75)
    return make(agents or count, load=load or usual)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(f"expected a time zone like Europe/Madrid, got {name}", param_hint="--zone") from None


def _day(text: str | None, zone: tzinfo | None) -> date:
    if text is None:
        return datetime.now(UTC).astimezone(zone).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected YYYY-MM-DD, got {text}", param_hint="--day") from None


def _midnight(day: date, zone: tzinfo | None) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(midnight.astimezone(zone).timestamp() * 1000)


def _end(start_ms: int, hours: float | None, until: str | None, zone: tzinfo | None, *, default_h: float | None) -> int | None:
    """The last simulated moment; None if there is no end. A whole day ends a millisecond before midnight, so that no event is the next
    day's.
    """
    if until is not None:
        if hours is not None:
            raise typer.BadParameter("expected one of --hours and --until, got both", param_hint="--until")
        try:
            moment = datetime.strptime(until, "%H:%M")  # noqa: DTZ007 -- a time of day; the code below adds the zone
        except ValueError:
            raise typer.BadParameter(f"expected HH:MM, got {until}", param_hint="--until") from None
        start = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(zone)
        end = start.replace(hour=moment.hour, minute=moment.minute, second=0, microsecond=0)
        return int((end if end > start else end + timedelta(days=1)).timestamp() * 1000)
    if hours is None:
        if default_h is None:
            return None
        hours = default_h
    span_ms = int(hours * HOUR_MS)
    return start_ms + span_ms - (1 if span_ms == DAY_MS else 0)
