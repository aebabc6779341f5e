"""Sub-commands that are imported when they are asked for: a listing of commands costs none of what the commands need."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from hub.interrupts import quiet_interrupts

MARKUP: Final = "markdown"
"""How the texts of help are written."""


class LazyCommand(NamedTuple):
    """One line of a table of commands."""

    name: str
    target: str
    """``module:function``; the function takes a :class:`typer.Typer` and adds the command, or the group of commands, of this name to it."""
    help: str
    """The command's own one-line help, for the listing; ``tests/test_commands.py`` holds that it is the same."""
    arguments: tuple[object, ...] = ()
    """What the function takes beside the :class:`typer.Typer`."""


def load(command: LazyCommand) -> Any:
    """Import a command: a click command as typer makes it.

    Raises:
        ImportError: there is no such module, or what it needs is not installed.
        KeyError: the target adds no command of this name.
    """
    with quiet_interrupts():
        module, _, function = command.target.partition(":")
        app = typer.Typer(rich_markup_mode=MARKUP, add_completion=False, pretty_exceptions_enable=False)
        app.callback()(lambda: None)  # with one command and no callback typer makes no group
        getattr(importlib.import_module(module), function)(app, *command.arguments)
        return typer.main.get_group(app).commands[command.name]


class LazyGroup(TyperGroup):
    """A group that lists the commands of a table, and imports the one that is run. A subclass gives the table."""

    table: Sequence[LazyCommand] = ()

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self._table = {line.name: line for line in self.table}
        for line in self.table:
            self.add_command(TyperCommand(line.name, help=line.help, rich_markup_mode=MARKUP))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is run, the real one."""
        name, command, rest = super().resolve_command(ctx, args)
        line = self._table.get(name) if name is not None else None
        return name, command if line is None else load(line), rest
