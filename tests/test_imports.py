"""No module of the product imports itself by way of others, also not for its types alone."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def modules(root: Path) -> dict[str, Path]:
    """The modules of the product, by name."""
    found = {}
    for package in ("hub", "channels"):
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that one imports, wherever in it and for whatever: what stands under ``TYPE_CHECKING`` too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & known.keys()


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some modules that import each other in a circle; empty where there are none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as fault:
        return list(fault.args[1])
    return []


def graph_of(root: Path) -> dict[str, set[str]]:
    known = modules(root)
    return {name: imports(path, known) - {name} for name, path in known.items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(graph_of(ROOT)) == []


def test_a_circle_for_types_alone_is_found(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "channels").mkdir()
    (tmp_path / "hub" / "a.py").write_text("from hub.b import B\n")
    (tmp_path / "hub" / "b.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hub import a\n")
    assert set(circle(graph_of(tmp_path))) == {"hub.a", "hub.b"}
