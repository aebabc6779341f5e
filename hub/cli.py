"""``hub serve``: the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import structlog
import typer

from hub.collector import paused_collector
from hub.ops.logging import configure as configure_logging
from hub.ops.settings import Settings, load
from hub.ops.usable import check_supported
from hub.security.hosts import local_url
from hub.workers.place import GaveUpError
from hub.workers.seat import take_seat

if TYPE_CHECKING:
    from hub.family import Family


NOT_STARTED: Final = 2
"""Exit code when the hub does not start, as for wrong flags."""

GAVE_UP: Final = 1
"""Exit code when a worker does not stay alive."""


def _fail(problem: object, code: int = NOT_STARTED) -> typer.Exit:
    for line in str(problem).splitlines():
        typer.secho(f"hub: {line}", fg="red", err=True)
    return typer.Exit(code)


def register(app: typer.Typer, families: Callable[[], Sequence[Family]] = tuple) -> None:
    """Add the command ``hub serve``. ``families`` returns the families of the hub."""

    @app.command(
        "serve",
        epilog="Examples:\n\n"
        "`hub serve --demo` — a simulated contact centre and built-in credentials, to look around\n\n"
        "`hub serve --host 0.0.0.0 --data-dir /var/lib/hub` — for real; then `hub tenant add`, `hub token add`\n\n"
        "`hub serve --workers 4` — on four cores; they need a Redis (`--redis-url`), or the one that "
        "`pip install 'cx-event-hub[workers]'` brings\n\n"
        "`hub serve --demo --extensions samples/extension.py:Desk` — code of your own beside it, see docs/extensions.md\n\n"
        "`HUB_LIMITS__TIMEOUT_MS=30000 hub serve --config hub.toml` — see `hub config --reference` for every setting",
    )
    def serve(
        config: Annotated[Path | None, typer.Option(help="Settings file; else `hub.toml` of this folder, if there is one.")] = None,
        host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
        port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8080]")] = None,
        workers: Annotated[int | None, typer.Option(help="Processes that serve, one for each core. [default: 1]")] = None,
        role: Annotated[str | None, typer.Option(help="What the process does: all, edge or stat-server. [default: all]")] = None,
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

        def read() -> Settings:
            return load(families(), config=config, flags=flags)

        seat = take_seat()
        if seat is not None:
            from hub.workers.worker import serve_worker

            raise typer.Exit(serve_worker(seat, read, families()))
        settings: Settings | None = None
        try:
            settings = read()
            check_supported(settings)
            if settings.workers > 1:
                _run_parent(settings)
            else:
                _run_alone(settings, families())
        except GaveUpError as error:
            raise _fail(error, GAVE_UP) from None
        except Exception as error:
            # imported here: the parent of several workers needs little, and keeps running
            from hub.ops.start_errors import START_ERRORS, sentence

            if isinstance(error, START_ERRORS):
                raise _fail(sentence(error, settings)) from None
            raise


def _warn(settings: Settings) -> None:
    log = structlog.get_logger("hub")
    if settings.open:
        log.warning("open", effect="clients without credentials are let in, as role anonymous of tenant demo; never do this in public")
    if settings.demo:
        log.warning("demo", effect="the built-in credentials (token, keys, user) are valid; never do this in public")


def _run_parent(settings: Settings) -> None:
    from hub.workers.parent import Parent, own_command

    configure_logging(settings)
    _warn(settings)

    def ready(port: int) -> None:
        url = local_url(settings.host, port, tls=settings.tls.on)
        structlog.get_logger("hub").info("listening", url=url, host=settings.host, port=port, workers=settings.workers)

    async def main() -> None:
        await Parent(settings, own_command(), ready).run()

    asyncio.run(main())


def _run_alone(settings: Settings, families: Sequence[Family]) -> None:
    with paused_collector():
        # imported here, and not by the parent of several workers, which serves nothing
        from hub.node import Node
        from hub.transports.runtime import run

    repeats = configure_logging(settings)
    _warn(settings)

    def ready(port: int) -> None:
        url = local_url(settings.host, port, tls=settings.tls.on)
        structlog.get_logger("hub").info("listening", url=url, host=settings.host, port=port)

    async def main() -> None:
        with paused_collector():
            node = Node(settings, families, repeats)
        await node.run(ready)

    run(main())
