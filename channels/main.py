"""The composition root: the list of families, and the ``hub`` command."""

import sys
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer

from channels import ingest, interactions, messaging, secure_email, simulator, statistics, wallboard
from channels.messaging import cli as messaging_cli
from hub import __version__
from hub.client import cli as client_cli
from hub.client.standard_output import Command
from hub.doctor import cli as doctor_cli
from hub.eventlog.interface import EventLogError
from hub.family import Family
from hub.node import Node, check_supported, check_usable
from hub.ops import cli as ops_cli
from hub.ops.logging import configure as configure_logging
from hub.ops.repeats import Repeats
from hub.ops.settings import Settings, SettingsError, load
from hub.ops.start_errors import explain
from hub.outbox import cli as outbox_cli
from hub.outbox import receive as outbox_receive
from hub.security import cli as security_cli
from hub.security.hosts import local_url
from hub.storage.transactions import StorageError
from hub.transports.runtime import run
from hub.transports.server import StartError

FAMILIES: Final[tuple[Family, ...]] = (
    statistics.family,
    interactions.family,
    ingest.family,
    secure_email.family,
    messaging.family,
    simulator.family,
    wallboard.family,
)
"""Every family, in the order in which their services start: who lives on events comes before who takes them in."""

cli = Command(
    name="hub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="The real-time event hub for contact centres.",
    epilog="Example: `hub serve --demo`, then open http://localhost:8080",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hub {__version__}")
        raise typer.Exit


@cli.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False) -> None:
    pass


def _fail(problem: object) -> typer.Exit:
    for line in str(problem).splitlines():
        typer.secho(f"hub: {line}", fg="red", err=True)
    return typer.Exit(2)


@cli.command(
    epilog="Examples:\n\n"
    "`hub serve --demo` — a simulated contact centre and built-in credentials, to look around\n\n"
    "`hub serve --host 0.0.0.0 --data-dir /var/lib/hub` — for real; then `hub tenant add`, `hub token add`\n\n"
    "`hub serve --demo --extensions samples/extension.py:Desk` — code of your own beside it, see docs/extensions.md\n\n"
    "`HUB_LIMITS__TIMEOUT_MS=30000 hub serve --config hub.toml` — see `hub config --reference` for every setting"
)
def serve(
    config: Annotated[Path | None, typer.Option(help="Settings file; else `hub.toml` of this folder, if there is one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8080]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve; this version takes 1 alone. [default: 1]")] = None,
    role: Annotated[str | None, typer.Option(help="What the process does; this version takes all alone. [default: all]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the hub's files. [default: ./hub-data]")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis that connects nodes; this version refuses one.")] = None,
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
        settings = load(FAMILIES, config=config, flags=flags)
        check_supported(settings)
    except SettingsError as fault:
        raise _fail(fault) from None
    repeats = configure_logging(settings)
    try:
        run(_serve(settings, repeats))
    except (SettingsError, StartError, EventLogError, StorageError, OSError, ValueError) as fault:
        raise _fail(fault if isinstance(fault, SettingsError | StartError) else explain(fault, settings) or fault) from None


async def _serve(settings: Settings, repeats: Repeats) -> None:
    log = structlog.get_logger("hub")
    if settings.open:
        log.warning("open", effect="clients without credentials are let in, as role anonymous of tenant demo; never do this in public")
    if settings.demo:
        log.warning("demo", effect="built-in credentials demo-token, demo-key and demo / demo are valid; never do this in public")

    def ready(port: int) -> None:
        log.info("listening", url=local_url(settings.host, port), host=settings.host, port=port)

    await Node(settings, FAMILIES, repeats).run(ready)


ops_cli.register(cli, lambda: FAMILIES, check_usable)
doctor_cli.register(cli, lambda: FAMILIES)
security_cli.register(cli, lambda: FAMILIES)
outbox_cli.register(cli, lambda: FAMILIES)
messaging_cli.register(cli, lambda: FAMILIES)
client_cli.register(cli)
outbox_receive.register(cli)
for _family in FAMILIES:
    if _family.commands is not None:
        _family.commands(cli)

if __name__ == "__main__":
    sys.exit(cli())
