"""Reads the commands of a dashboard client: from the bytes of one frame to checked fields, each kept as the sender's JSON text.

An error in one field is a :class:`CommandError`, which is answered; an error in the frame ends the conversation.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hub.core.json_validation import BadJsonError, check_syntax, guard, replace_lone_surrogates
from hub.core.limits import Limits

_SHOWN = 60
"""Characters of a wrong value that an error message repeats."""

POSITION_END = 2**53
"""Positions are below this, so that every reader of JSON holds them exactly."""

_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text_decoder = msgspec.json.Decoder(str)
_integer_decoder = msgspec.json.Decoder(int)

_KINDS = {ord("{"): "an object", ord("["): "an array", ord('"'): "a text", ord("t"): "true", ord("f"): "false", ord("n"): "null"}


class TooManyError(ValueError):
    """A frame has more commands than ``max_batch``."""


class CommandError(ValueError):
    """A field is missing or wrong. The text names the field, what was expected and what came."""


class Command:
    """One command: its fields by name, each the sender's own JSON text (ASCII), and its size.

    ``size`` is in bytes of UTF-8, as they came; 0 where the whole frame is no larger than one command may be.
    """

    __slots__ = ("fields", "size")

    def __init__(self, fields: Mapping[str, msgspec.Raw], size: int) -> None:
        self.fields = fields
        self.size = size

    def has(self, name: str) -> bool:
        """Whether the field was sent, also as null."""
        return name in self.fields

    def raw(self, name: str) -> bytes | None:
        """The field's JSON text; None if it was not sent."""
        value = self.fields.get(name)
        return None if value is None else bytes(value).strip()

    def shown(self, name: str) -> str:
        """The field for an error message: its kind, and its beginning where that helps."""
        raw = self.raw(name)
        return "nothing" if raw is None else _shown(raw)

    def identifier(self) -> bytes | None:
        """The ``id`` to be echoed, verbatim: a number or a text. None when the client sent none.

        Raises:
            CommandError: it is something else.
        """
        raw = self.raw("id")
        if raw is not None and raw[0] in b"{[tfn":
            raise CommandError(f"expected id to be a number or a text, got {self.shown('id')}")
        return raw

    def text(self, name: str) -> str:
        """A field that must be a text.

        Raises:
            CommandError: it is missing, or something else.
        """
        raw = self.raw(name)
        if raw is None or raw[0] != ord('"'):
            raise CommandError(f"expected {name} to be a text, got {self.shown(name)}")
        return _text_decoder.decode(raw)

    def position(self, name: str) -> int | None:
        """A field that is a position of the log (docs/protocol/channels.md#positions), None when it was not sent.

        Raises:
            CommandError: it is no integer, or none from 0 to 2^53 - 1.
        """
        raw = self.raw(name)
        if raw is None:
            return None
        try:
            position = _integer_decoder.decode(raw)
        except msgspec.MsgspecError:
            position = -1
        if not 0 <= position < POSITION_END:
            raise CommandError(f"expected {name} to be a position, an integer from 0 to 2^53 - 1, got {self.shown(name)}")
        return position

    def texts(self, name: str) -> list[str]:
        """A field that must be an array of at least one text; repeats are dropped.

        Raises:
            CommandError: it is missing, empty, or something else.
        """
        raw = self.raw(name)
        if raw is None or raw[0] != ord("["):
            raise CommandError(f"expected {name} to be an array of texts, got {self.shown(name)}")
        elements = _elements(raw)
        if not elements:
            raise CommandError(f"expected {name} to hold at least one text, got an empty array")
        for index, element in enumerate(elements):
            if element[0] != ord('"'):
                raise CommandError(f"expected {name}[{index}] to be a text, got {_shown(element)}")
        return list(dict.fromkeys(_text_decoder.decode(element) for element in elements))


def _shown(raw: bytes) -> str:
    kind = _KINDS.get(raw[0], "a number")
    if raw[0] in b"{[tfn":
        return kind
    text = raw.decode("ascii")
    return f"{kind}, {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"


def _elements(array: bytes) -> list[bytes]:
    return [bytes(element).strip() for element in _list_decoder.decode(array)]


def read_commands(payload: bytes, limits: Limits) -> list[Command]:
    """The commands of one frame: one object, or an array of objects (docs/protocol/dashboard.md#frames).

    Raises:
        BadJsonError: not strict JSON in UTF-8, nested deeper than ``max_json_depth``, or anything but objects.
        TooManyError: more than ``max_batch`` commands.
    """
    text = guard(payload, limits.max_json_depth)
    check_syntax(text)
    text = text.strip()
    if text[0] == ord("["):
        elements = _elements(text)
        if len(elements) > limits.max_batch:
            raise TooManyError(f"expected at most {limits.max_batch} commands in a frame, got {len(elements)}")
    else:
        elements = [text]
    sizes = _sizes(payload, elements) if len(payload) > limits.max_message_bytes else [0] * len(elements)
    commands = []
    for element, size in zip(elements, sizes, strict=True):
        if element[0] != ord("{"):
            raise BadJsonError(f"expected an object or an array of objects, got {_shown(element)}")
        commands.append(Command(_object_decoder.decode(element), size))
    return commands


def _sizes(payload: bytes, elements: list[bytes]) -> list[int]:
    """The size of each element in bytes, as the client sent it. Escaped text, which :func:`guard` makes, is longer."""
    if payload.isascii():
        return [len(element) for element in elements]
    sent = replace_lone_surrogates(payload).strip()
    return [len(element) for element in _elements(sent)] if sent[:1] == b"[" else [len(sent)]
