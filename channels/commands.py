"""The table of the ``hub`` command's sub-commands. This module imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.client.standard_output import Command
from hub.lazy_commands import MARKUP, LazyCommand, LazyGroup

if TYPE_CHECKING:
    from hub.family import Family


def families() -> Sequence[Family]:
    """The families of this hub, for the commands whose settings are those of the server."""
    from channels.families import FAMILIES

    return FAMILIES


COMMANDS: Final = (
    LazyCommand("serve", "hub.cli:register", "Start the server.", (families,), first="hub.ops.plain_structlog"),
    LazyCommand(
        "config",
        "hub.ops.cli:register",
        "Print the settings in force as TOML, secrets hidden; --reference: what each means; --check: whether they can be used.",
        (families,),
    ),
    LazyCommand(
        "doctor",
        "hub.doctor.cli:register",
        "Check a data folder and its database: integrity, versions, space, clock, permissions; and, where several hubs work together, "
        "their Redis, the nodes that live, and who owns which tenant. "
        "It changes nothing, and may run beside a hub; it ends with 1 when there is a problem.",
        (families,),
    ),
    LazyCommand(
        "migrate",
        "hub.storage.cli:register",
        "Copy the database of a hub that is stopped from SQLite into PostgreSQL. The data folder stays as it is.",
        (families,),
    ),
    LazyCommand("listen", "hub.client.cli:register", 'Print events as they come, each as one line of JSON: {"channel":...,"data":...}.'),
    LazyCommand(
        "publish",
        "hub.client.cli:register",
        "Publish an event, or one for each line of standard input. The data is sent as it is written: 1.10 stays 1.10.",
    ),
    LazyCommand("login", "hub.client.login_cli:register", "Sign in at a hub in a browser; other commands then need no --token."),
    LazyCommand("logout", "hub.client.login_cli:register", "End the login at a hub, there and here."),
    LazyCommand("receive", "hub.outbox.receive:register", "Receive webhooks on any path, check their signatures, print them."),
    LazyCommand(
        "explain",
        "channels.statistics.cli:register",
        "Say what a predefined statistic means: what is counted, for which objects, and when subscribers hear of it.",
    ),
    LazyCommand("feed", "channels.ingest.cli:register", "Send recorded events into a running hub."),
    LazyCommand("simulate", "channels.simulator.cli:register", "Simulate a contact centre and send its events into a running hub."),
    LazyCommand("tenant", "hub.security.cli:register", "Tenants: one for each contact centre.", (families,)),
    LazyCommand(
        "client", "hub.security.cli_clients:register", "OAuth clients: applications that sign users in, and programs.", (families,)
    ),
    LazyCommand("auth", "hub.security.cli_auth:register", "Signing keys of the authorization server.", (families,)),
    LazyCommand("role", "hub.security.cli:register", "Roles: what credentials may do.", (families,)),
    LazyCommand("access", "hub.security.cli_access:register", "Who may do what, and why.", (families,)),
    LazyCommand("user", "hub.security.cli:register", "Users: who signs in with a password.", (families,)),
    LazyCommand("key", "hub.security.cli:register", "API keys, and access keys for clients of Amazon: for programs.", (families,)),
    LazyCommand("token", "hub.security.cli:register", "Bearer tokens: for programs and dashboards, with an end if you like.", (families,)),
    LazyCommand("audit", "hub.audit.cli:register", "The audit log: who changed or tried what.", (families,)),
    LazyCommand("endpoint", "hub.outbox.cli:register", "Endpoints: where webhooks go.", (families,)),
    LazyCommand(
        "channel",
        "channels.messaging.cli:register",
        "Messaging channels: third parties that bring and take messages.",
        (families,),
    ),
    LazyCommand("file", "channels.files.cli:register", "Files around conversations: attached files, and those of chats.", (families,)),
    LazyCommand("interaction", "channels.statistics.cli:register", "Interactions as the statistics know them."),
)
"""Every command, as ``hub --help`` lists them."""


class _Group(LazyGroup):
    table = COMMANDS


command_line = Command(
    name="hub",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    help="The real-time event hub for contact centres.",
    epilog="Example: `hub serve --demo`, then open http://localhost:8080",
)
"""The command line as a whole."""


def _version(wanted: bool) -> None:
    if wanted:
        from hub import __version__

        typer.echo(f"hub {__version__}")
        raise typer.Exit


@command_line.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False) -> None:
    pass
