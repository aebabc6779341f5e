"""Whether the operations that a new role names are there, and whether anybody but the server may publish on its channels. Otherwise the
role would be taken, and whoever gets it be refused without a hint why. The command line and REST ask here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Final

from hub.core.channels import SERVER_ROOTS, lies_within, overlaps
from hub.core.field_error import FieldError
from hub.security.roles import SERVER_ONLY

_WORDS_OF_OPERATION: Final = 2
_NEARLY: Final = 0.9
"""Similarity of two names, from 0 to 1, above which one counts as a misspelling of the other."""


def check_called(operations: Collection[str], patterns: Sequence[str], field: str) -> None:
    """Refuse a pattern to call that matches none of ``operations``; ``field`` is what the error calls the patterns.

    Raises:
        FieldError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(overlaps(pattern, operation) for operation in operations):
            raise FieldError(field, "an operation, or a pattern that matches one", f"{pattern}{_hint(operations, pattern)}")


def check_denied(operations: Collection[str], patterns: Sequence[str], field: str) -> None:
    """Refuse a pattern that looks like a misspelt operation, since denying it would have no effect. A channel may have nearly any name.
    Therefore only a pattern of two words, as operations have, is refused, if an operation has the same first word or a similar name.

    Raises:
        FieldError: a pattern looks like an operation, but is none.
    """
    for pattern in patterns:
        words = pattern.split("/")[1:]
        if len(words) != _WORDS_OF_OPERATION or "*" in pattern or any(overlaps(pattern, operation) for operation in operations):
            continue
        if any(operation.startswith(f"/{words[0]}/") for operation in operations) or difflib.get_close_matches(
            pattern, operations, 1, _NEARLY
        ):
            raise FieldError(field, "a channel, an operation, or a pattern of them", f"{pattern}{_hint(operations, pattern)}")


def check_published(patterns: Sequence[str], field: str) -> None:
    """Refuse a pattern to publish on under which the server alone publishes.

    Raises:
        FieldError: a pattern lies within one of :data:`hub.security.roles.SERVER_ONLY`.
    """
    for pattern in patterns:
        if any(lies_within(pattern, server) for server in SERVER_ONLY):
            roots = ", ".join(SERVER_ROOTS)
            raise FieldError(field, "a channel where others than the server may publish", f"{pattern}; it alone does below {roots}")


def _hint(operations: Collection[str], pattern: str) -> str:
    close = difflib.get_close_matches(pattern, operations, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(operations)}"
