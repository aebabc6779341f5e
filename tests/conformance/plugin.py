"""Options of the conformance suite, its rules by transport, and the table at the end of a run.

Loaded by tests/conftest.py: xdist's controller, which collects nothing, prints the table too.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.conformance.rules import FAILED, HOOKS, NOT_OFFERED, PASSED, Rule, RuleTable, contradictions, rule_of

PROPERTY = "conformance"
"""The name of the user property that carries a rule, its transport and what became of it from a worker to the controller."""

NOT_OFFERED_TEXT = "not offered: "
"""A skip whose reason begins with this is no fault of the server's."""

OWN_HUB = "a hub of the suite's own"

_table = pytest.StashKey[RuleTable]()
_others = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a user says of the server that is to be tried."""
    group = parser.getgroup("conformance", "tests/conformance: a black-box suite for any Bayeux server")
    group.addoption("--hub-url", metavar="URL", help="base URL of the server to try; without it each worker starts a hub of its own")
    group.addoption("--bayeux-path", metavar="PATH", default="/cometd", help="path of its Bayeux endpoint (default: %(default)s)")
    group.addoption("--hub-token", metavar="TOKEN", help="goes with each handshake as ext.authentication.token")
    group.addoption(
        "--max-interval-ms",
        metavar="MS",
        type=int,
        default=10_000,
        help="how long that server keeps a session without a connect; needed with --hub-url only (default: %(default)s)",
    )
    group.addoption(
        "--hooks",
        metavar="NAMES",
        type=_hooks,
        default=(),
        help="the hooks that server has, with commas between them: " + ", ".join(HOOKS) + "; see docs/conformance.md (default: none)",
    )
    group.addoption("--conformance-json", metavar="FILE", type=Path, help="write the table of rules here, as JSON")


def _hooks(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if unknown := sorted(set(names) - set(HOOKS)):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(HOOKS)}, got {', '.join(unknown)}")
    return names


def pytest_configure(config: pytest.Config) -> None:
    """Tell the mark, and begin an empty table."""
    config.addinivalue_line("markers", "rule(rule): the rule of Bayeux that a conformance test stands for")
    config.addinivalue_line("markers", "hook(name): the test needs a server that has this hook")
    config.stash[_table] = RuleTable()
    config.stash[_others] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A rule is tried on each transport that it applies to."""
    mark = metafunc.definition.get_closest_marker("rule")
    if mark is not None:
        metafunc.parametrize("transport", mark.args[0].transports, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write the rule on each test, where its reports will carry it.

    Raises:
        pytest.UsageError: one id stands for two rules.
    """
    rules = []
    for item in items:
        if (rule := rule_of(item)) is not None:
            rules.append(rule)
            transport = item.callspec.params["transport"]  # type: ignore[attr-defined]  # parametrised above
            item.user_properties.append((PROPERTY, {"rule": asdict(rule), "transport": transport}))
    if twice := contradictions(rules):
        raise pytest.UsageError(
            f"rule ids: expected one sentence, level and list of transports for each, got several for {', '.join(twice)}"
        )


class _Collector:
    """Takes reports into the table, in the process that prints it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test has ended."""
        carried = dict(report.user_properties).get(PROPERTY)
        if not isinstance(carried, dict):
            self._config.stash[_others].append(report.nodeid)
            return
        if report.when != "call" and report.passed:
            return
        rule = Rule(**{**carried["rule"], "transports": tuple(carried["rule"]["transports"])})
        why = _reason(report)
        result = PASSED if report.passed else NOT_OFFERED if NOT_OFFERED_TEXT in why else FAILED
        self._config.stash[_table].add(rule, carried["transport"], result, f"{report.nodeid.rpartition('::')[2]}: {why}")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect where reports arrive: in the one process, or in xdist's controller."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Collector(session.config))


def _reason(report: pytest.TestReport) -> str:
    """One line of why a test failed or was skipped."""
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return text.strip().splitlines()[0][:300] if text.strip() else "failed"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table; among other tests its totals only."""
    table = config.stash[_table]
    if not len(table):
        return
    server = config.getoption("--hub-url") or OWN_HUB
    terminalreporter.section(f"conformance of {server}")
    for line in table.summary() if config.stash[_others] else table.text():
        terminalreporter.write_line(line)
    path: Path | None = config.getoption("--conformance-json")
    if path is not None:
        path.write_text(table.json(server), encoding="utf-8")
        terminalreporter.write_line(f"written to {path}")
