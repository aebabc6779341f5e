"""``hub serve``: the server itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from hub.eventlog.interface import EventLogError
from hub.node import Node
from hub.ops.logging import configure as configure_logging
from hub.ops.repeats import Repeats
from hub.ops.settings import Settings, SettingsError, load
from hub.ops.start_errors import explain
from hub.ops.usable import check_supported
from hub.security.hosts import local_url
from hub.storage.transactions import StorageError
from hub.transports.runtime import run
from hub.transports.server import StartError

if TYPE_CHECKING:
    from hub.family import Family


def _fail(problem: object) -> typer.Exit:
    for line in str(problem).splitlines():
        typer.secho(f"hub: {line}", fg="red", err=True)
    return typer.Exit(2)


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add the command ``hub serve``. ``families`` returns the families of the hub."""

    @app.command(
        "serve",
        epilog="Examples:\n\n"
        "`hub serve --demo` — a simulated contact centre and built-in credentials, to look around\n\n"
        "`hub serve --host 0.0.0.0 --data-dir /var/lib/hub` — for real; then `hub tenant add`, `hub token add`\n\n"
        "`hub serve --demo --extensions samples/extension.py:Desk` — code of your own beside it, see docs/extensions.md\n\n"
        "`HUB_LIMITS__TIMEOUT_MS=30000 hub serve --config hub.toml` — see `hub config --reference` for every setting",
    )
    def serve(
        config: Annotated[Path | None, typer.Option(help="Settings file; else `hub.toml` of this folder, if there is one.")] = None,
        host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
        port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8080]")] = None,
        workers: Annotated[int | None, typer.Option(help="Processes that serve; this version takes 1 alone. [default: 1]")] = None,
        role: Annotated[str | None, typer.Option(help="What the process does; this version takes all alone. [default: all]")] = None,
        data_dir: Annotated[Path | None, typer.Option(help="Folder of the hub's files. [default: ./hub-data]")] = None,
        redis_url: Annotated[
            str | None, typer.Option(help="Redis or Valkey that connects several hubs, such as redis://localhost:6379/0.")
        ] = None,
        database_url: Annotated[str | None, typer.Option(help="PostgreSQL in place of SQLite.")] = None,
        metrics_port: Annotated[int | None, typer.Option(help="Serve /metrics on a port of its own, without credentials.")] = None,
        extensions: Annotated[
            list[str] | None, typer.Option(help="Extension of your own, `module:Class` or `file.py:Class`; may be given several times.")
        ] = None,
        demo: Annotated[bool | None, typer.Option("--demo", help="Tenant demo, built-in credentials, a simulated contact centre.")] = None,
        open_: Annotated[bool | None, typer.Option("--open", help="Let clients in without credentials. For development only.")] = None,
    ) -> None:
        """Start the server."""
        flags = {
            "host": host,
            "port": port,
            "workers": workers,
            "role": role,
            "data_dir": data_dir,
            "redis_url": redis_url,
            "database_url": database_url,
            "metrics_port": metrics_port,
            "extensions": tuple(extensions) if extensions else None,
            "demo": demo,
            "open": open_,
        }
        try:
            settings = load(families(), config=config, flags=flags)
            check_supported(settings)
        except SettingsError as error:
            raise _fail(error) from None
        repeats = configure_logging(settings)
        try:
            run(_serve(settings, families(), repeats))
        except (SettingsError, StartError, EventLogError, StorageError, OSError, ValueError) as error:
            raise _fail(error if isinstance(error, SettingsError | StartError) else explain(error, settings) or error) from None


async def _serve(settings: Settings, families: Sequence[Family], repeats: Repeats) -> None:
    log = structlog.get_logger("hub")
    if settings.open:
        log.warning("open", effect="clients without credentials are let in, as role anonymous of tenant demo; never do this in public")
    if settings.demo:
        log.warning("demo", effect="built-in credentials demo-token, demo-key and demo / demo are valid; never do this in public")

    def ready(port: int) -> None:
        log.info("listening", url=local_url(settings.host, port), host=settings.host, port=port)

    await Node(settings, families, repeats).run(ready)
