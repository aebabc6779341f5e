"""The examples of the documents: every fenced block of code, and what the page says of how to run it.

A comment on the line before a block, which a reader of the page does not see, says how the block is run:

    <!-- example: background until="listening" -->

``background``     the block goes on until the page is done, as in a terminal of its own
``beside``         what other blocks left running goes on, though this block starts hubs
``until="X"``      the block has succeeded when its output matches the regular expression X
``meanwhile="C"``  the shell command C is run, again and again, while the block waits: what it waits for
``expect="X"``     the output must match X; an answer that says it failed is expected then
``exit="N"``       the exit code of the shell block, 0 without it
``file="NAME"``    the block is the file NAME: it is saved under this name, and not run
``part-of="F"``    the block is an extract of the file F of the repository, with some of it left out
``frame="NAME"``   the block is a fragment; it is put into the frame ``tests/docs/frames/NAME``
``output``         the block is what the shell block before it prints; ``...`` stands for anything
``skip="REASON"``  the block cannot be run as it stands
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

RUN: Final = frozenset({"sh", "bash", "python", "js", "html"})
"""Languages whose blocks are run; a block in another one is data, and is looked at only where a comment says so."""

KEYS: Final = frozenset({"background", "beside", "until", "meanwhile", "expect", "exit", "file", "part-of", "frame", "output", "skip"})

_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>[a-z-]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"<!-- example:(?P<directives>.*?)-->\n *$")


@dataclass(frozen=True, slots=True)
class Example:
    """One block of a page; ``line`` is that of its first line."""

    page: str
    line: int
    language: str
    text: str
    directives: dict[str, str]

    @property
    def place(self) -> str:
        """Where the block stands, as an editor opens it."""
        return f"{self.page}:{self.line}"

    @property
    def looked_at(self) -> bool:
        """Whether a test does something with the block."""
        return self.language in RUN or bool(self.directives.keys() & {"output", "file", "part-of"})


def pages() -> list[Path]:
    """Every page whose examples are run: the front page, the guides, and what leads developers."""
    named = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "samples" / "README.md"]
    return [*named, *sorted((ROOT / "docs").rglob("*.md"))]


def examples_of(page: Path) -> list[Example]:
    """The blocks of a page, in their order.

    Raises:
        ValueError: a comment has a key that is not known.
    """
    text = page.read_text(encoding="utf-8")
    found = []
    for block in _FENCE.finditer(text):
        comment = _COMMENT.search(text, 0, block.start())
        directives = _directives(comment["directives"]) if comment else {}
        name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
        line = text.count("\n", 0, block.start()) + 2
        if unknown := directives.keys() - KEYS:
            raise ValueError(f"{name}:{line}: expected one of {sorted(KEYS)}, got {sorted(unknown)}")
        content = re.sub(rf"^{block['indent']}", "", block["text"], flags=re.MULTILINE)
        found.append(Example(name, line, block["language"], content, directives))
    return found


def indented_blocks(page: Path) -> list[int]:
    """The lines at which a page has code without a fence: no test finds such a block."""
    text = page.read_text(encoding="utf-8")
    outside = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    # below an item of a list an indented paragraph is text
    return [
        outside.count("\n", 0, found.start()) + 2
        for found in re.finditer(r"(?<=\n\n)(?: {4}.*\n)+", outside)
        if not re.search(r"(?:^|\n)(?:\d+\.|[-*]) [^\n]*\n(?:\n| +[^\n]*\n)*$", outside[: found.start()])
    ]


def _directives(text: str) -> dict[str, str]:
    """``background until="x y"`` as ``{"background": "", "until": "x y"}``."""
    return {key: value for key, _, value in (word.partition("=") for word in shlex.split(text))}
