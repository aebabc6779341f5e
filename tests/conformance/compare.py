"""``make conformance``: the whole suite against the hub and against other Bayeux servers; writes the tables of docs/conformance.md.

What stands in that page outside of the marked blocks is written by hand, and kept.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.conformance.peers.servers import PEERS, READY, Peer, ToolchainError
from tests.conformance.rules import EVERY, FAILED, NOT_OFFERED, PASSED
from tests.support.hub_process import free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"
HUB = "hub"

TIMEOUT_MS = 1_000
MAX_INTERVAL_MS = 2_000
READY_WITHIN_S = 30.0
RUN_WITHIN_S = 3_000.0
WORKERS = 6
"""Against a foreign server most of the time goes by in waiting for answers that never come."""

_PERCENT = re.compile(r"\[\s*(\d+)%\]")


@dataclass(slots=True)
class Column:
    """What one server makes of the rules."""

    name: str
    title: str
    version: str = ""
    missing: str = ""
    """Why the server could not be tried; empty when it was."""
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    """By id of a rule and transport: passed, FAILED or not offered."""
    rules: list[dict[str, Any]] = field(default_factory=list)

    def take(self, table: dict[str, Any]) -> None:
        """Take what ``--conformance-json`` wrote."""
        self.rules = table["rules"]
        self.results = {rule["id"]: {name: one["result"] for name, one in rule["results"].items()} for rule in self.rules}

    def total(self, result: str) -> int:
        """How many pairs of a rule and a transport came out so."""
        return sum(list(outcomes.values()).count(result) for outcomes in self.results.values())


@contextmanager
def running(peer: Peer, log: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Run another server; gives its URL and what it says it is. It is ended at the end.

    Raises:
        ToolchainError: it did not say that it is ready.
    """
    port = free_port()
    process = subprocess.Popen(
        peer.command(port, TIMEOUT_MS, MAX_INTERVAL_MS), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        yield f"http://localhost:{port}", _ready(process, Path(log.name))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        if line := READY.search(log.read_text(errors="replace")):
            return line[1]
        time.sleep(0.05)
    raise ToolchainError(f"not ready within {READY_WITHIN_S:.0f} s: {log.read_text(errors='replace')[-2000:]}")


class Comparison:
    """Runs the suite for one server after the other, with a line of progress for each."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress

    def hub(self) -> Column:
        """The hub: the suite starts its own, with and without the hooks."""
        column = Column(HUB, "CX Event Hub", f"cx-event-hub {version('cx-event-hub')}")
        self._try(column, ["-n", "2", "--dist", "loadfile"])
        return column

    def peer(self, peer: Peer) -> Column:
        """Another server, or why it could not be tried."""
        column = Column(peer.name, peer.title)
        try:
            peer.prepare()
            with (self._folder / f"{peer.name}.log").open("wb") as log, running(peer, log) as (url, column.version):
                limits = ["--max-interval-ms", str(MAX_INTERVAL_MS if peer.has_max_interval else 2 * TIMEOUT_MS)]
                self._try(column, ["-n", str(WORKERS), "--hub-url", url, "--hooks", ",".join(peer.hooks), *limits])
        except ToolchainError as fault:
            column.missing = str(fault).splitlines()[0]
            self._progress.console.print(f"{column.title}: {fault}", markup=False)
        return column

    def _try(self, column: Column, flags: Sequence[str]) -> None:
        table = self._folder / f"{column.name}.json"
        command = [sys.executable, "-m", "pytest", "tests/conformance", "-q", "--tb=no", "-p", "no:cacheprovider", *flags]
        command += ["--conformance-json", str(table)]
        task = self._progress.add_task(column.title, total=100, totals="")
        until = time.monotonic() + RUN_WITHIN_S
        output = self._folder / f"{column.name}.out"
        with output.open("wb") as written:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT)
            try:
                while process.poll() is None:
                    if time.monotonic() > until:
                        raise RuntimeError(f"{column.title}: the suite did not end within {RUN_WITHIN_S:.0f} s")
                    percents = _PERCENT.findall(output.read_text(errors="replace"))
                    self._progress.update(task, completed=int(percents[-1]) if percents else 0)
                    time.sleep(0.2)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if not table.exists():
            raise RuntimeError(f"{column.title}: the suite wrote no table:\n{output.read_text(errors='replace')[-4000:]}")
        column.take(json.loads(table.read_text(encoding="utf-8")))
        totals = f"{column.total(PASSED)} passed, {column.total(FAILED)} failed, {column.total(NOT_OFFERED)} not offered"
        self._progress.update(task, completed=100, totals=totals)


_SHORT = {"websocket": "WS", "long-polling": "LP", "callback-polling": "CP"}


def cell(outcomes: dict[str, str] | None) -> str:
    """One rule of one server: over all transports that it offers, those that failed are named."""
    if not outcomes:
        return "-"
    failed = [_SHORT[name] for name in EVERY if outcomes.get(name) == FAILED]
    if not failed:
        return "pass" if PASSED in outcomes.values() else "not offered"
    return "**fail**" if PASSED not in outcomes.values() else f"**fail** {', '.join(failed)}"


def totals_table(columns: Sequence[Column]) -> list[str]:
    """The block ``totals``: what each server is, and its totals."""
    lines = ["| server | version | rules by transport: passed | failed | not offered |", "|---|---|---|---|---|"]
    for column in columns:
        if column.missing:
            lines.append(f"| {column.title} | not tried: {_cell_text(column.missing)} | | | |")
        else:
            counts = " | ".join(str(column.total(result)) for result in (PASSED, FAILED, NOT_OFFERED))
            lines.append(f"| {column.title} | {column.version} | {counts} |")
    return lines


def rules_table(columns: Sequence[Column]) -> list[str]:
    """The block ``rules``: every rule, a column for each server."""
    rules = next((column.rules for column in columns if column.rules), [])
    lines = ["| rule | level | what | " + " | ".join(column.title for column in columns) + " |", "|---" * (3 + len(columns)) + "|"]
    for rule in rules:
        cells = " | ".join(cell(column.results.get(rule["id"])) for column in columns)
        lines.append(f"| {rule['id']} | {rule['level']} | {_cell_text(rule['sentence'])} | {cells} |")
    return lines


def _cell_text(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def with_block(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with other lines between ``<!-- begin: name -->`` and ``<!-- end: name -->``.

    Raises:
        ValueError: the page has no such block, or several.
    """
    block = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
    if len(block.findall(page)) != 1:
        raise ValueError(f"{PAGE.name}: expected one block {name!r}, got {len(block.findall(page))}")
    return block.sub(lambda found: found[1] + "\n" + "\n".join(lines) + "\n\n" + found[2], page)


def main() -> None:
    """Compare, print the totals, and write the page when all servers were asked for."""
    names = [HUB, *(peer.name for peer in PEERS)]
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.compare", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, help="try these, and leave the page as it is")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and tables there")
    options = parser.parse_args()
    asked = options.only or names
    bars = (SpinnerColumn(), TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[totals]}"))
    with tempfile.TemporaryDirectory() as temporary, Progress(*bars, console=Console()) as progress:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        comparison = Comparison(folder.resolve(), progress)
        columns = [comparison.hub()] if HUB in asked else []
        columns += [comparison.peer(peer) for peer in PEERS if peer.name in asked]
    if options.only is None:
        page = PAGE.read_text(encoding="utf-8")
        page = with_block(page, "totals", totals_table(columns))
        PAGE.write_text(with_block(page, "rules", rules_table(columns)), encoding="utf-8")


if __name__ == "__main__":
    main()
