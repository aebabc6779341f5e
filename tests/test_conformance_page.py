"""docs/conformance.md: what `make conformance` writes into it, and that the rules it names by hand are rules of the suite."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.compare import PAGE, Column, cell, rules_table, totals_table, with_block

SUITE = Path(__file__).parent / "conformance"
_RULE = re.compile(r"""@rule\(\s*"([^"]+)""")
_NAMED = re.compile(r"(?<![\w.])(?:\d\.\d+|C\d)\.[\w.-]*\w")


def ids() -> set[str]:
    """The ids of all rules."""
    return {name for path in SUITE.glob("test_*.py") for name in _RULE.findall(path.read_text(encoding="utf-8"))}


def by_hand() -> str:
    """The page without what is made."""
    return re.sub(r"<!-- begin: (\w+) -->.*?<!-- end: \1 -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_rules_that_are_named_are_there() -> None:
    tables = by_hand().split("## What CometD's own suites check")[1]
    named = set(_NAMED.findall(tables)) - {"4.1", "4.2"}
    assert len(named) > 100
    assert named - ids() == set()


def test_behaviours_of_cometd_are_all_named() -> None:
    named = set(_NAMED.findall(by_hand()))
    spans = re.findall(r"(\S+)\.(\d+) to \1\.(\d+)", by_hand())
    named |= {f"{base}.{number}" for base, first, last in spans for number in range(int(first), int(last) + 1)}
    assert {name for name in ids() if name.startswith(("4.1.", "4.2."))} - named == set()


def test_the_table_has_every_rule() -> None:
    """It was made after the last rule was written: `make conformance`."""
    table = PAGE.read_text(encoding="utf-8").split("<!-- begin: rules -->")[1]
    assert ids() - set(re.findall(r"^\| (\S+) \|", table, re.MULTILINE)) == set()


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"websocket": "passed", "long-polling": "passed"}, "pass"),
        ({"websocket": "not offered", "long-polling": "passed"}, "pass"),
        ({"websocket": "not offered"}, "not offered"),
        ({"websocket": "FAILED", "long-polling": "passed", "callback-polling": "FAILED"}, "**fail** WS, CP"),
        ({"websocket": "FAILED"}, "**fail**"),
        (None, "-"),
    ],
)
def test_cells(outcomes: dict[str, str] | None, expected: str) -> None:
    assert cell(outcomes) == expected


def test_a_server_that_could_not_be_tried_is_named_with_the_reason() -> None:
    tried = Column("a", "A", "a 1")
    results = {"websocket": {"result": "passed", "why": []}}
    tried.take({"rules": [{"id": "1.1.1", "level": "MUST", "sentence": "x | y", "results": results}]})
    missing = Column("b", "B", missing="mvn: not installed")
    assert totals_table([tried, missing])[2:] == ["| A | a 1 | 1 | 0 | 0 |", "| B | not tried: mvn: not installed | | | |"]
    assert rules_table([tried, missing])[2:] == ["| 1.1.1 | MUST | x \\| y | pass | - |"]


def test_what_is_written_by_hand_is_kept() -> None:
    page = "before\n<!-- begin: x -->\nold\n<!-- end: x -->\nafter\n"
    assert with_block(page, "x", ["new"]) == "before\n<!-- begin: x -->\n\nnew\n\n<!-- end: x -->\nafter\n"
    with pytest.raises(ValueError, match="expected one block 'y', got 0"):
        with_block(page, "y", [])
