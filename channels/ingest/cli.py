"""``hub feed``: a recording of events into a running hub."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from channels.ingest.recording import RecordingError, as_recorded, open_recording, shifted
from hub.client import console
from hub.client.pace import Due, Progress
from hub.client.producer import Producer

_EXAMPLES = (
    "Examples:\n\n"
    "`hub feed samples/office-day.ndjson.gz --speed 60 --token demo-token` — a recorded day, an hour a minute\n\n"
    "`my-switch-adapter | hub feed - --token ...` — a live pipe of NDJSON"
)


def register(app: typer.Typer) -> None:
    """Add the command to ``hub``."""

    @app.command("feed", epilog=_EXAMPLES)
    def feed(
        file: Annotated[str, typer.Argument(help="NDJSON or a JSON array of CloudEvents, plain or gzipped; - is standard input")],
        speed: Annotated[float, typer.Option(help="Divide the gaps between events by this", min=0.001)] = 1.0,
        recorded: Annotated[
            bool,
            typer.Option(
                "--past",
                "--as-recorded",
                help="Keep the times, however old they are, and send as fast as possible; needs a credential that may do /ingest/past",
            ),
        ] = False,
        url: Annotated[str, typer.Option(envvar="HUB_URL", help="Where the hub is")] = "http://127.0.0.1:8080",
        token: Annotated[str, typer.Option(envvar="HUB_TOKEN", help="A bearer token")] = "",
        api_key: Annotated[str, typer.Option(envvar="HUB_API_KEY", help="An API key")] = "",
        give_up: Annotated[float, typer.Option(help="Seconds to keep trying while the hub is away", min=0)] = 60.0,
    ) -> None:
        """Send recorded events into a running hub.

        The times are moved so that the first event happens now; the gaps stay, divided by --speed.
        Ends with 1 when events were refused, with 2 when the hub could not be reached.
        """
        try:
            stream = open_recording(file)
        except OSError as fault:
            raise typer.BadParameter(f"cannot read {file}: {fault.strerror}", param_hint="FILE") from None

        def events(progress: Progress) -> AsyncIterator[Due]:
            if recorded:
                return as_recorded(stream, progress.refuse)
            return shifted(stream, progress.refuse, start_ms=time.time_ns() // 1_000_000, speed=speed)

        try:
            with stream:
                code = asyncio.run(console.run(events, Producer(url, token=token, api_key=api_key, give_up_s=give_up, past=recorded)))
        except RecordingError as fault:
            raise typer.BadParameter(f"{file}: {fault}", param_hint="FILE") from None
        raise typer.Exit(code)
