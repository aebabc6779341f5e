"""The rules of Bayeux as marks on tests, and the table of what a server makes of them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pytest

WEBSOCKET = "websocket"
LONG_POLLING = "long-polling"
CALLBACK_POLLING = "callback-polling"

EVERY = (WEBSOCKET, LONG_POLLING, CALLBACK_POLLING)
"""The connection types of the table."""
ALL = (WEBSOCKET, LONG_POLLING, CALLBACK_POLLING)
HTTP = (LONG_POLLING, CALLBACK_POLLING)

MUST = "MUST"
"""The specification says MUST, or clients break without it."""
SHOULD = "SHOULD"
"""The specification says SHOULD, or the clients in use depend on it."""
CHOICE = "choice"
"""The specification leaves it free, and this hub or CometD's dialect chose: other servers may rightly differ."""

HOOKS = ("echo", "kick", "deliver-kick", "call", "vetoed", "denied", "cors")
"""What a server can be set up with, so that its own side can be tried: docs/conformance.md says what each is."""

PAGES_ORIGIN = "http://pages.example"
"""The origin whose pages a server with the hook ``cors`` lets in."""

PASSED, FAILED, NOT_OFFERED = "passed", "FAILED", "not offered"

_IDENTIFIER = re.compile(r"(?:\d+(?:\.\d+)+|C\d)(?:\.[A-Za-z0-9-]+)*")
_LEVELS = (MUST, SHOULD, CHOICE)
_SENTENCE_WIDTH = 86

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what a test function, in all its cases, stands for."""

    id: str
    """A part and a number within it ("1.5.2"), a choice of the hub's own and a name ("C3.limits"), or a list of behaviours that CometD's
    own suites check, their name for it and a number ("4.1.CometDFalsyMessageTest.1"): docs/protocol/bayeux.md#rule-ids.
    """
    sentence: str
    level: str
    transports: tuple[str, ...]


def rule(identifier: str, sentence: str, level: str = MUST, transports: Sequence[str] = ALL) -> Callable[[Test], Test]:
    """Mark a test as that of a rule; it runs once for each of ``transports``, and gets the one by the fixture ``transport``.

    Raises:
        ValueError: the id, the level or a transport is none.
    """
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValueError(f"rule id: expected a part and a number (1.5.2) or C, a digit and a name (C3.limits), got {identifier!r}")
    if level not in _LEVELS:
        raise ValueError(f"level of rule {identifier}: expected one of {', '.join(_LEVELS)}, got {level!r}")
    if not transports or not set(transports) <= set(EVERY):
        raise ValueError(f"transports of rule {identifier}: expected some of {', '.join(EVERY)}, got {transports!r}")
    mark = pytest.mark.rule(Rule(identifier, sentence, level, tuple(transports)))

    def marked(test: Test) -> Test:
        result: Test = mark(test)
        return result

    return marked


def hook(name: str) -> Callable[[Test], Test]:
    """Mark a test that needs one of :data:`HOOKS`: its server has it, or the test is skipped as not offered.

    Raises:
        ValueError: there is no such hook.
    """
    if name not in HOOKS:
        raise ValueError(f"hook: expected one of {', '.join(HOOKS)}, got {name!r}")
    mark = pytest.mark.hook(name)

    def marked(test: Test) -> Test:
        result: Test = mark(test)
        return result

    return marked


def rule_of(item: pytest.Item) -> Rule | None:
    """The rule that a test stands for."""
    mark = item.get_closest_marker("rule")
    return None if mark is None else mark.args[0]


@dataclass(slots=True)
class Outcome:
    """What one transport of a server makes of one rule."""

    result: str = PASSED
    why: list[str] = field(default_factory=list)
    """Of each failed case one line, or why the rule could not be tried."""

    def add(self, result: str, why: str) -> None:
        """One case of the rule has ended: a failure counts more than everything else, and a case that could not be tried more than one
        that passed.
        """
        order = (PASSED, NOT_OFFERED, FAILED)
        if order.index(result) > order.index(self.result):
            self.result = result
            self.why = []
        if result == self.result and result != PASSED:
            self.why.append(why)


class RuleTable:
    """Rules and their outcomes, collected from the reports of tests, of this process or of xdist's workers."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, rule: Rule, transport: str, result: str, why: str = "") -> None:
        """One phase of one test of a rule has ended."""
        self._rules[rule.id] = rule
        self._outcomes.setdefault(rule.id, {}).setdefault(transport, Outcome()).add(result, why)

    def rows(self) -> list[tuple[Rule, dict[str, Outcome]]]:
        """Each rule with its outcome by transport, in the order of the parts."""
        return [(self._rules[name], self._outcomes[name]) for name in sorted(self._rules, key=_natural)]

    def totals(self) -> dict[str, dict[str, int]]:
        """By level, and over all levels, how many pairs of a rule and a transport have each result."""
        totals = {level: dict.fromkeys((PASSED, FAILED, NOT_OFFERED), 0) for level in (*_LEVELS, "all")}
        for rule, outcomes in self.rows():
            for outcome in outcomes.values():
                totals[rule.level][outcome.result] += 1
                totals["all"][outcome.result] += 1
        return totals

    def text(self) -> list[str]:
        """The table as lines of text."""
        width = max(map(len, self._rules), default=0)
        lines = [_line(width, "rule", "level", "", EVERY)]
        for rule, outcomes in self.rows():
            cells = [outcomes[name].result if name in outcomes else "-" for name in EVERY]
            first, *rest = textwrap.wrap(rule.sentence, _SENTENCE_WIDTH)
            lines.append(_line(width, rule.id, rule.level, first, cells))
            lines.extend(_line(width, "", "", more, ("", "", "")).rstrip() for more in rest)
        return lines + self.summary()

    def summary(self) -> list[str]:
        """The totals as lines of text."""
        lines = [f"{len(self)} rules; rules by transport:"]
        for level, counts in self.totals().items():
            lines.append(f"  {level:<7}" + ", ".join(f"{count} {result}" for result, count in counts.items()))
        return lines

    def json(self, server: str) -> str:
        """The table for machines: ``{"server", "totals", "rules": [{"id", "sentence", "level", "transports", "results": {transport:
        {"result", "why"}}}]}``.
        """
        rules = [{**asdict(rule), "results": {name: asdict(one) for name, one in outcomes.items()}} for rule, outcomes in self.rows()]
        return json.dumps({"server": server, "totals": self.totals(), "rules": rules}, indent=1) + "\n"


def contradictions(rules: Iterable[Rule]) -> list[str]:
    """Ids that stand for more than one rule: the table could not say which."""
    known: dict[str, Rule] = {}
    return sorted({one.id for one in rules if known.setdefault(one.id, one) != one})


def _natural(identifier: str) -> list[tuple[int, int, str]]:
    parts = identifier.split(".")
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _line(width: int, identifier: str, level: str, sentence: str, cells: Sequence[str]) -> str:
    return f"{identifier:<{width}} {level:<6} {sentence:<{_SENTENCE_WIDTH}} " + " ".join(f"{cell:<16}" for cell in cells)
