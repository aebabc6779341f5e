"""A field that is wrong: its name, what was expected, what came. One exception for the conversations and for REST."""

from __future__ import annotations

from typing import Final, Self

from hub.core.json_text import show

_KINDS: Final = {
    b'"'[0]: "a text",
    b"{"[0]: "an object",
    b"["[0]: "an array",
    b"t"[0]: "true",
    b"f"[0]: "false",
    b"n"[0]: "null",
}


class FieldError(ValueError):
    """A field of what was asked for is wrong. Code below the routes raises it; the answer of a REST call is 400.

    ``field`` names the field, ``expected`` says in words what it may be, ``got`` says in words what came.
    """

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field
        self.expected = expected
        self.got = got

    @classmethod
    def of_value(cls, field: str, expected: str, value: object) -> Self:
        """The error for a value, which is shown as JSON, cut to 120 characters."""
        return cls(field, expected, show(value))

    @classmethod
    def of_json(cls, field: str, expected: str, raw: bytes) -> Self:
        """The error for a JSON text, of which the kind is told: ``a text``, ``an object``, ``a number`` and so on."""
        return cls(field, expected, _KINDS.get(raw[0], "a number"))
