"""Refuses text with a NUL. PostgreSQL's ``text`` cannot contain one (https://www.postgresql.org/docs/current/datatype-character.html), and
SQLite's functions ignore what follows one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class NulTextError(Exception):
    """A parameter of a statement is text with a NUL; ``text`` is that parameter. The statement was not run."""

    def __init__(self, text: str) -> None:
        super().__init__("expected text without NUL (U+0000), got one with it")
        self.text = text


def check_text(parameters: Iterable[Any]) -> None:
    """Check the parameters of a statement; also those of several runs, as a list of lists.

    Raises:
        NulTextError: a parameter is text with a NUL.
    """
    for each in parameters:
        if isinstance(each, str):
            if "\x00" in each:
                raise NulTextError(each)
        elif isinstance(each, Mapping):
            check_text(each.values())
        elif isinstance(each, list | tuple):
            check_text(each)
