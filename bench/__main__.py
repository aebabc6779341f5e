"""``python -m bench``: every scenario, a table as Markdown and JSON, and a picture."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import described
from bench.picture import draw
from bench.result import TINY, Result, Row, Size
from bench.scenarios import SCENARIOS, WITH_LIMIT, limit_beside

EPILOG = """examples:
  python -m bench                            everything, half an hour on two cores
  python -m bench fan-out latency            two of them
  python -m bench --tiny                     whether they still work, in a minute
  python -m bench --out results              results/bench.md, results/bench.json, results/bench.svg
"""


def _value(row: Row) -> str:
    number = f"{row.value:,.0f}" if abs(row.value) >= 1_000 else f"{row.value:,.2f}"
    return f"{number} {row.unit}".replace(" ,", ",").strip()


def _beside(row: Row) -> str:
    return "" if row.beside is None else (f"{row.beside:,.0f}" if abs(row.beside) >= 1_000 else f"{row.beside:,.2f}")


def _goal(row: Row) -> str:
    return row.goal if row.met is None else f"{row.goal}: {'met' if row.met else 'NOT met'}"


def markdown(results: list[Result], machine: str, day: str) -> str:
    """The table."""
    lines = [f"{day}, {machine}", "", "| what | figure | hub | C limit | goal |", "|---|---|---|---|---|"]
    for result in results:
        lines += [f"| {row.what} | {row.figure} | {_value(row)} | {_beside(row)} | {_goal(row)} |" for row in result.rows]
    return "\n".join(lines) + "\n"


def show(console: Console, results: list[Result]) -> None:
    """The same on a terminal."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "figure", "hub", "C limit", "goal"):
        table.add_column(heading, justify="right" if heading in {"hub", "C limit"} else "left")
    for result in results:
        for row in result.rows:
            table.add_row(row.what, row.figure, _value(row), _beside(row), _goal(row))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ``arguments`` are those of the process when None."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"one of {', '.join(SCENARIOS)}; all of them when none is named")
    parser.add_argument("--tiny", action="store_true", help="a few clients for a moment: sees that the benchmarks work, measures nothing")
    parser.add_argument("--runs", type=int, default=Size.runs, help="runs of which the median is told")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for bench.md, bench.json and bench.svg")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"expected scenarios of {', '.join(SCENARIOS)}; got {', '.join(unknown)}")
    size = TINY if given.tiny else Size(runs=given.runs)
    console = Console(width=None if sys.stdout.isatty() else 200)
    results = []
    chosen = given.scenarios or list(SCENARIOS)
    for number, name in enumerate(chosen, 1):
        began = time.monotonic()
        with console.status(f"{name} ({number} of {len(chosen)})"):
            results.append(SCENARIOS[name](size))
            if name not in WITH_LIMIT:
                results[-1].rows.append(limit_beside(size))
        console.print(f"\n{name}, {time.monotonic() - began:.0f} s", style="dim", highlight=False)
        show(console, results[-1:])
    machine, day = described(), datetime.now(UTC).date().isoformat()
    console.print(f"\n{machine}", highlight=False)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "bench.md").write_text(markdown(results, machine, day))
    written = [given.out / "bench.md", given.out / "bench.json"]
    if draw({each.name: each.detail for each in results}, given.out / "bench.svg", f"{day}, {machine}"):
        written.append(given.out / "bench.svg")
    document = {"day": day, "machine": machine, "size": dataclasses.asdict(size), "results": [dataclasses.asdict(each) for each in results]}
    (given.out / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"\nwritten: {', '.join(map(str, written))}", style="dim", highlight=False)


if __name__ == "__main__":
    main()
