"""Sub-commands that are imported only when they run, so that the list of commands is shown without their imports."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from hub.collector import paused_collector
from hub.interrupts import quiet_interrupts

MARKUP: Final = "markdown"
"""The format of help texts."""


class LazyCommand(NamedTuple):
    """One line of a table of commands."""

    name: str
    target: str
    """``module:function``; the function takes a :class:`typer.Typer` and adds the command, or the group of commands, of this name to it."""
    help: str
    """The command's own one-line help, for the list; ``tests/test_commands.py`` checks that both are the same."""
    arguments: tuple[object, ...] = ()
    """Further arguments of the function, after the :class:`typer.Typer`."""
    first: str = ""
    """A module that is imported before the target's, if any: what it does must precede their imports."""


def load(command: LazyCommand) -> Any:
    """Import a command, and make the click command with typer.

    Raises:
        ImportError: there is no such module, or a package that it imports is not installed.
        KeyError: the target adds no command of this name.
    """
    with quiet_interrupts(), paused_collector():
        module, _, function = command.target.partition(":")
        if command.first:
            importlib.import_module(command.first)
        app = typer.Typer(rich_markup_mode=MARKUP, add_completion=False, pretty_exceptions_enable=False)
        app.callback()(lambda: None)  # with one command and no callback typer makes no group
        getattr(importlib.import_module(module), function)(app, *command.arguments)
        return typer.main.get_group(app).commands[command.name]


class LazyGroup(TyperGroup):
    """A group that lists the commands of a table, and imports only the command that runs. A subclass sets the table."""

    table: Sequence[LazyCommand] = ()

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self._table = {line.name: line for line in self.table}
        for line in self.table:
            self.add_command(TyperCommand(line.name, help=line.help, rich_markup_mode=MARKUP))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command to run, imported now if it is in the table."""
        name, command, rest = super().resolve_command(ctx, args)
        line = self._table.get(name) if name is not None else None
        return name, command if line is None else load(line), rest
