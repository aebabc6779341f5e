"""Each promise of the threat model names the tests that hold it. That they are there is checked with all other places that pages name."""

from __future__ import annotations

import re

from tests.docs.test_architecture import ROOT, has, places

HEADING = "## Threats and promises"
ATTACKERS = 7


def promises() -> list[tuple[str, str]]:
    """The rows of the tables: a promise, and what holds it."""
    section = (ROOT / "docs/security.md").read_text(encoding="utf-8").partition(HEADING)[2]
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in section.splitlines() if line.startswith("| ")]
    return [(row[0], row[1]) for row in rows if row[0] != "promise"]


def test_each_promise_has_a_test() -> None:
    found = promises()
    assert len(found) > 30
    for promise, tests in found:
        named = list(places(tests))
        assert named, promise
        for _, path, name in named:
            assert name.rpartition(".")[2].startswith("test_"), (promise, name)
            assert path.startswith("tests/"), (promise, path)
            assert has(ROOT / path, name), (promise, f"{path}:{name}")


def test_of_each_attacker_is_said_what_is_not_promised() -> None:
    section = (ROOT / "docs/security.md").read_text(encoding="utf-8").partition(HEADING)[2]
    parts = section.split("\n### ")[1:]
    assert len(parts) == ATTACKERS
    assert [part.partition("\n")[0] for part in parts if "\nNot promised: " not in part or "| promise | test |" not in part] == []
