"""The names of files that people upload: as others may see and save them, and as the header of a download has them (RFC 6266)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

MAX_NAME_BYTES: Final = 200
"""UTF-8 bytes of a file's name: file systems take 255."""

UNSEEN: Final = r"\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Characters between brackets of a pattern that nobody sees: marks that turn the direction of text, so that ``gpj.exe`` looks like
``exe.jpg``, separators of lines, tags, and others of no width, by which two names look alike. The two joiners are none of them: scripts
and emoji need these.
"""

_NOT_IN_NAMES: Final = re.compile(rf'[\x00-\x1f\x7f-\x9f"*/:<>?\\|{UNSEEN}\ud800-\udfff]+')
"""Control characters, what file systems forbid, and what nobody sees."""

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9 ._()+,=@~-]")


def clean_name(filename: str | None, otherwise: str = "file") -> str:
    """A file's name as others may see and save it: without folders, control characters and leading dots, of bounded length.
    ``otherwise`` takes the place of a name of which nothing is left.
    """
    name = re.split(r"[/\\]", filename or "")[-1]
    name = _NOT_IN_NAMES.sub("_", name).strip(" .")
    if len(name.encode()) > MAX_NAME_BYTES:
        stem, dot, extension = name.rpartition(".")
        extension = f"{dot}{extension}" if stem and len(extension) <= 10 else ""
        kept = name.encode()[: MAX_NAME_BYTES - len(extension.encode())].decode(errors="ignore")
        name = f"{kept}{extension}"
    return name or otherwise


def disposition(filename: str, *, inline: bool = False) -> str:
    """``Content-Disposition`` of a download: to be saved under its name, or with ``inline`` to be shown. The ASCII form of the name is for
    clients without RFC 8187.
    """
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{_NOT_PLAIN.sub('_', filename)}\"; filename*=UTF-8''{quote(filename, safe='')}"
