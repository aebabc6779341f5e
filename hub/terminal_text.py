"""Texts that others chose, such as names, as a terminal may get them. It imports no library of consoles: servers use it for their log."""

from __future__ import annotations

import re
from typing import Final

_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 but tab and end of line, DEL, C1, the marks that change the direction of a text (Unicode Standard Annex 9), and surrogates, which
have no bytes. ESC begins a sequence that clears the screen, changes its title, or writes over what stands there.
"""


def shown(text: str) -> str:
    r"""A text as a terminal may get it: each character that it obeys as ``\u001b``. In JSON that stands for the same text."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
