"""What docs/ says of the code by name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tools.sources import tracked

ROOT = Path(__file__).parents[2]

_PLACE = re.compile(r"`((?:hub|channels|tests|bench|tools)/[\w/]+\.py)(?::([A-Za-z_][\w.]*))?`")
"""`folder/module.py`, or `folder/module.py:Class.method`."""


def places(text: str) -> Iterator[tuple[int, str, str]]:
    """Each place in the code that a page names: its line, the file, and the name within it, which may be empty."""
    for number, line in enumerate(text.splitlines(), 1):
        for path, name in _PLACE.findall(line):
            yield number, path, name


def defined(body: list[ast.stmt], within: str = "") -> Iterator[str]:
    """What a module or class defines: functions, names that are assigned, and classes with what these define, ``Class.method``."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + node.name
        elif isinstance(node, ast.ClassDef):
            yield within + node.name
            yield from defined(node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from (within + target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield within + node.target.id


@cache
def names(path: Path) -> frozenset[str]:
    """The names that a module defines; its tree, of a megabyte, is not kept."""
    return frozenset(defined(ast.parse(path.read_text(encoding="utf-8")).body))


def has(path: Path, name: str) -> bool:
    """Whether a file is there and defines ``Class.method``, ``Class`` or ``function``."""
    return path.is_file() and (not name or name in names(path))


PAGES = [str(path.relative_to(ROOT)) for path in tracked(ROOT) if path.suffix == ".md" and path.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES)
def test_places_in_the_code_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [f"{page}:{line}: {path}:{name}" for line, path, name in places(text) if not has(ROOT / path, name)] == []


def test_the_walks_name_many_places() -> None:
    """Else the form of the names has changed, and the test above looks at nothing."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert len([name for _, _, name in places(text) if name]) > 30


def test_names_that_are_not_there_are_found(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("LIMIT: int = 1\n\n\nclass A:\n    size = 1\n\n    async def go(self) -> None: ...\n\n\ndef f() -> None: ...\n")
    assert [name for name in ("", "A", "A.go", "A.size", "f", "LIMIT") if not has(file, name)] == []
    assert [name for name in ("B", "A.come", "f.go", "go", "A.go.x") if has(file, name)] == []
    assert not has(tmp_path / "b.py", "")


def test_the_list_of_documents_has_every_page() -> None:
    """A folder of docs/ has a list of its own, which is named."""
    pages = [path.relative_to(ROOT / "docs") for path in tracked(ROOT / "docs") if path.suffix == ".md" and path.name != "README.md"]
    listed = {folder: (ROOT / "docs" / folder / "README.md").read_text(encoding="utf-8") for folder in {page.parent for page in pages}}
    assert [str(page) for page in pages if f"]({page.name})" not in listed[page.parent]] == []
    assert [str(folder) for folder in listed if folder.name and f"]({folder}/README.md)" not in listed[Path()]] == []
