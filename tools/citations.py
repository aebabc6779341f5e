"""Checks what the code and the documents refer to: `python -m tools.citations` names each reference that leads nowhere.

Three kinds of references are looked at:

- ``docs/protocol/bayeux.md#connect`` in docstrings and comments: the page is in the repository, and has a heading with that anchor;
- the name of any other Markdown file in a docstring or comment: the file is there, from the root or beside the file that names it;
- relative links between Markdown files, with their anchors.

Words such as "part 4 of the contract", which refer to a document that a reader of the repository does not have, are refused.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools.sources import tracked

ROOT = Path(__file__).parents[1]

CODE_FOLDERS = frozenset({"hub", "channels", "tests", "bench", "tools", "samples"})
CODE = frozenset({".py", ".js", ".mjs", ".html", ".css", ".sql", ".lua", ".toml", ".sh", ".c", ".h", ".go", ".java"})

_CITATION = re.compile(r"(?<![\w/.-])((?:[\w-]+/|\.\./)*[\w-]+\.md)(?:#([\w%-]+))?(?![\w/])")
_OUTSIDE = re.compile(r"\b(?:contract|design) part \d|\bcontract's \(part|\(design, rule|\bseed 00\d|\.md \d", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*")
_EXPLICIT_ANCHOR = re.compile(r"""<a\s+(?:id|name)=["']([^"']+)["']""")
_LINK = re.compile(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_FENCE = re.compile(r"\s*(```|~~~)")


class Fault(NamedTuple):
    """A reference that leads nowhere; ``why`` says what was expected."""

    path: Path
    line: int
    why: str


def slug(heading: str) -> str:
    """The anchor that the usual hosts of Markdown give to a heading: lower case, without punctuation, hyphens for blanks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a Markdown text outside its fenced blocks, numbered from 1."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if found and (not fence or found[1] == fence):
            fence = "" if fence else found[1]
        elif not fence:
            yield number, line


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a Markdown page. The second heading of the same words ends in ``-1``, as hosts make it."""
    found: set[str] = set()
    repeats: dict[str, int] = {}
    for _, line in prose(page.read_text(encoding="utf-8")):
        found.update(_EXPLICIT_ANCHOR.findall(line))
        if heading := _HEADING.fullmatch(line):
            name = slug(heading[1])
            count = repeats.get(name, 0)
            repeats[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
    return frozenset(found)


def remarks(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a Python file, each line with its number. Texts that the program uses are none. Of a file in another
    language all lines.

    Raises:
        SyntaxError: the file is not Python.
    """
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                yield number, lines[number - 1]


def faults_of_code(path: Path, root: Path) -> Iterator[Fault]:
    """What is wrong with the references in the docstrings and comments of one source file."""
    for number, line in remarks(path):
        if outside := _OUTSIDE.search(line):
            yield Fault(path, number, f"expected a page of docs/ with its anchor, got {outside[0]!r}, which readers do not have")
        for name, anchor in _CITATION.findall(line):
            page = next((place for place in (root / name, path.parent / name) if place.is_file()), None)
            if page is None:
                yield Fault(path, number, f"expected a page of the repository, got {name!r}")
            elif anchor and anchor not in anchors(page):
                yield Fault(path, number, f"expected an anchor of {name}, got {anchor!r}")


def faults_of_page(path: Path) -> Iterator[Fault]:
    """What is wrong with the relative links of one Markdown file."""
    for number, line in prose(path.read_text(encoding="utf-8")):
        for target in _LINK.findall(line):
            if "://" in target or target.startswith("mailto:"):
                continue
            name, _, anchor = target.partition("#")
            page = path.parent / name if name else path
            if not page.exists():
                yield Fault(path, number, f"expected a file of the repository, got {target!r}")
            elif anchor and page.suffix == ".md" and anchor not in anchors(page):
                yield Fault(path, number, f"expected an anchor of {name or path.name}, got {anchor!r}")


def faults(root: Path) -> list[Fault]:
    """What is wrong with the references of all files of the project below ``root``."""
    found: list[Fault] = []
    for path in tracked(root):
        if path.suffix == ".md":
            found.extend(faults_of_page(path))
        elif path.suffix in CODE and path.relative_to(root).parts[0] in CODE_FOLDERS:
            found.extend(faults_of_code(path, root))
    return sorted(found)


def main() -> int:
    """Print the faults, one a line. The exit code is 1 when there is one."""
    found = faults(ROOT)
    for fault in found:
        sys.stderr.write(f"{fault.path.relative_to(ROOT)}:{fault.line}: {fault.why}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
