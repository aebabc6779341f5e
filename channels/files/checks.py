"""Checks what clients announce: names, sizes, types."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from channels.files.errors import InvalidFile, InvalidReason
from channels.files.file_types import TYPES, extension_of
from channels.files.models import NewFile
from channels.files.settings import FilesSettings
from hub.core.json_text import show

MAX_NAME: Final = 256
"""Characters of a name."""

MIN_EXPIRY_S: Final = 5
MAX_EXPIRY_S: Final = 300

_TYPE: Final = re.compile(
    r"[A-Za-z0-9][\w.+!#$&^-]{0,126}/[A-Za-z0-9][\w.+!#$&^-]{0,126}"
    r"(?:;[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|\"[!#-+\--:<-\[\]-~]*\"))*",
    re.ASCII,
)
"""A media type (RFC 9110 section 8.3.1), in printable ASCII without blanks as links have it. A comma is refused in values in quotes, too:
those who read the header divide it there.
"""
_MAX_TYPE: Final = 255


def check_new(new: NewFile, settings: FilesSettings) -> str:
    """Check an announced file. Returns its content type, as links have it: without blanks.

    Raises:
        InvalidFile: a field is wrong.
    """
    _check_name(new.name)
    if not 1 <= new.size <= settings.max_bytes:
        expected = "at least 1" if new.size < 1 else f"at most {settings.max_bytes} (files.max_bytes)"
        raise InvalidFile(InvalidReason.SIZE, "size", f"expected {expected}, got {new.size}")
    extension = extension_of(new.name)
    if extension not in settings.extensions:
        expected = f"a name that ends in one of {', '.join(settings.extensions)}"
        raise InvalidFile(InvalidReason.TYPE, "name", f"expected {expected}, got {show(new.name)}")
    if len(new.tags) > settings.max_tags:
        raise InvalidFile(None, "tags", f"expected at most {settings.max_tags}, got {len(new.tags)}")
    if not MIN_EXPIRY_S <= new.url_expiry_s <= MAX_EXPIRY_S:
        raise InvalidFile(None, "expiry", f"expected {MIN_EXPIRY_S} to {MAX_EXPIRY_S} seconds, got {new.url_expiry_s}")
    if not new.content_type:
        return TYPES[extension]
    declared = re.sub(r"[ \t]*;[ \t]*", ";", new.content_type.strip(" \t"))
    if len(declared) > _MAX_TYPE or not _TYPE.fullmatch(declared):
        raise InvalidFile(InvalidReason.TYPE, "type", f"expected a media type such as image/png, got {show(new.content_type)}")
    return declared


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidFile(InvalidReason.NAME, "name", f"expected 1 to {MAX_NAME} characters, got {len(name)}")
    if (unseen := first_unseen(name)) is not None:
        raise InvalidFile(InvalidReason.NAME, "name", f"expected no control characters and marks, got U+{ord(unseen):04X}")
    if "/" in name or "\\" in name:
        raise InvalidFile(InvalidReason.NAME, "name", f"expected a name without folders, got {show(name)}")


def first_unseen(text: str) -> str | None:
    """The first character of a name that nobody sees; None: there is none. Control and format characters, among them those that turn the
    direction of text; halves of pairs; what no alphabet has.
    """
    return next((each for each in text if unicodedata.category(each).startswith("C")), None)
