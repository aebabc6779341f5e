"""``hub feed``: sends a recording of events to a running hub."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, tzinfo
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from channels.ingest.queue_log import Converter
from channels.ingest.recording import RecordingError, as_recorded, converted, open_recording, read_events, shifted
from hub.client import console
from hub.client.options import DEFAULT_URL, ApiKey, Token, Url, client_of
from hub.client.pace import Due, Progress
from hub.client.producer import Producer

_EXAMPLES = (
    "Examples:\n\n"
    "`hub feed samples/office-day.ndjson.gz --speed 60 --skip 390 --token demo-token` — a recorded day from 6:30 on, an hour a minute\n\n"
    "`my-switch-adapter | hub feed - --token ...` — a live pipe of NDJSON\n\n"
    "`hub feed /var/log/asterisk/queue_log --format queue-log --past --token ...` — what an Asterisk logged of its queues"
)


class Format(StrEnum):
    """The format of a recording."""

    CLOUDEVENTS = "cloudevents"
    QUEUE_LOG = "queue-log"


def register(app: typer.Typer) -> None:
    """Add the command to ``hub``."""

    @app.command("feed", epilog=_EXAMPLES)
    def feed(
        file: Annotated[str, typer.Argument(help="A recording, plain or gzipped; - is standard input")],
        written: Annotated[
            Format,
            typer.Option("--format", help="cloudevents: NDJSON or a JSON array of them; queue-log: Asterisk's queue_log"),
        ] = Format.CLOUDEVENTS,
        zone: Annotated[
            str | None, typer.Option(help="Zone of the dates in a queue_log that name none, like Europe/Madrid; default UTC")
        ] = None,
        speed: Annotated[float, typer.Option(help="Divide the gaps between events by this", min=0.001)] = 1.0,
        skip: Annotated[float, typer.Option(metavar="MINUTES", help="Send what happens in the first MINUTES at once", min=0)] = 0.0,
        recorded: Annotated[
            bool,
            typer.Option(
                "--past",
                "--as-recorded",
                help="Keep the times, however old they are, and send as fast as possible; needs a credential that may do /ingest/past",
            ),
        ] = False,
        url: Url = DEFAULT_URL,
        token: Token = "",
        api_key: ApiKey = "",
        give_up: Annotated[float, typer.Option(help="Seconds to keep trying while the hub is away", min=0)] = 60.0,
    ) -> None:
        """Send recorded events into a running hub.

        The times are moved so that the first event happens now; the gaps stay, divided by --speed. The recorded day of samples/ begins at
        midnight, and its first agents come at 6:37: --skip 390 goes there.
        Ends with 1 when events were refused, with 2 when the hub could not be reached.
        """
        converter = Converter(_zone(zone)) if written is Format.QUEUE_LOG else None
        try:
            stream = open_recording(file)
        except OSError as error:
            raise typer.BadParameter(f"cannot read {file}: {error.strerror}", param_hint="FILE") from None

        def events(progress: Progress) -> AsyncIterator[Due]:
            read = read_events(stream) if converter is None else converted(stream, progress.refuse, converter)
            if recorded:
                return as_recorded(read, progress.refuse)
            return shifted(read, progress.refuse, start_ms=time.time_ns() // 1_000_000, speed=speed, skip_ms=int(skip * 60_000))

        try:
            with stream:
                code = asyncio.run(
                    console.run(events, client_of(Producer, url, token=token, api_key=api_key, give_up_s=give_up, past=recorded))
                )
        except RecordingError as error:
            raise typer.BadParameter(f"{file}: {error}", param_hint="FILE") from None
        if converter is not None:
            _tell(converter)
        raise typer.Exit(code)


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(f"expected a time zone like Europe/Madrid, got {name}", param_hint="--zone") from None


def _tell(converter: Converter) -> None:
    """Print on standard error which lines of a queue_log made no event."""
    if converter.others:
        kinds = ", ".join(f"{event} {count}" for event, count in sorted(converter.others.items())[:10])
        typer.echo(f"{sum(converter.others.values())} lines of other events left out: {kinds}", err=True)
    if converter.repeated:
        typer.echo(f"{converter.repeated} lines that tell again what is over left out", err=True)
    if converter.differing:
        typer.echo(f"{converter.differing} durations that differ from the times of the lines: the times count", err=True)
