"""What commands print for people. Texts that others chose, such as names, reach a terminal without anything that it obeys."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich import console
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hub.terminal_text import shown

_FIRST: Final = 40
"""Cells up to which texts of the first column stay in one line: half of a terminal, and room for a UUID."""

_LONGEST: Final = 100_000
"""Cells of a line in a pipe, at most."""


class Console(console.Console):
    """A console that shows every text by :func:`shown`, in tables too."""

    def render_str(self, text: str, **options: Any) -> Text:
        """See :meth:`rich.console.Console.render_str`."""
        return super().render_str(shown(text), **options)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output. The first column is what other commands take, so it stays in one line if there is room; texts of
    the others go on in the next line. Nothing is cut off.
    """
    table = Table()
    first, *others = columns
    texts = list(rows)
    widest = max((cell_len(shown(row[0])) for row in texts), default=0)
    table.add_column(first, overflow="fold", no_wrap=widest <= _FIRST)
    for column in others:
        table.add_column(column, overflow="fold")
    for row in texts:
        table.add_row(*row)
    _print(table)


def print_fields(fields: Mapping[str, str]) -> None:
    """Print one thing on standard output, a field a line. Nothing is cut off."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, value)
    _print(table)


def _print(table: Table) -> None:
    out = Console(highlight=False)
    if not sys.stdout.isatty():  # a pipe has no width: each row is a line
        out.width = max(out.width, out.measure(table, options=out.options.update(max_width=_LONGEST)).maximum)
    out.print(table, markup=False)
