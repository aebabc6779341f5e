"""The ``hub`` command's table, and what a command imports: a listing or a publish must not cost what the server needs."""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from channels.commands import COMMANDS
from channels.families import FAMILIES
from hub.lazy_commands import LazyCommand, load
from tests.support.hub_process import clean_environment
from tools.sources import tracked

ROOT = Path(__file__).parents[1]

SERVER = {"fastapi", "prometheus_client", "psycopg", "starlette", "uvicorn", "uvloop", "websockets"}
OPTIONS = {"pydantic", "rich"}
"""typer checks the options of a command with the one, and shows help with the other."""
CLIENT = {"aiohttp", "asyncio"}
TESTS = {"cryptography", "httpx", "joserfc", "jsonschema"}
"""Nothing that the product imports needs these."""
HEAVY = SERVER | OPTIONS | CLIENT | TESTS | {"pydantic_settings", "structlog"}

AFTER = "import json, sys; from channels.main import cli\ntry: cli()\nfinally: print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
"""Runs a command, and says what it has imported."""

INTERRUPTED_AT = """
import os, signal, sys

wanted = sys.argv.pop(1)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from channels.main import cli
cli()
"""
"""Presses Ctrl-C when the module of the first argument is imported."""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=clean_environment(), timeout=60, check=False
    )


def added_by(line: LazyCommand) -> set[str]:
    """The commands that a line's function adds."""
    return {other.name for other in COMMANDS if other.target == line.target}


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.name)
def test_listing_shows_the_help_that_the_command_has(line: LazyCommand) -> None:
    """The listing shows a command's first paragraph, which the table repeats."""
    paragraph, _, _ = (load(line).help or "").partition("\n\n")
    assert " ".join(paragraph.split()) == line.help


def test_every_function_that_adds_commands_is_in_the_table() -> None:
    """A module whose ``register`` nobody calls would be a command that nobody has."""
    found = set()
    for path in tracked(ROOT):
        module = path.relative_to(ROOT).with_suffix("")
        if path.suffix == ".py" and module.parts[0] in {"hub", "channels"}:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and node.name == "register":
                    found.add(f"{'.'.join(module.parts)}:register")
    assert {line.target for line in COMMANDS} == found


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.name)
def test_every_command_of_a_function_is_in_the_table(line: LazyCommand) -> None:
    module, _, function = line.target.partition(":")
    app = typer.Typer()
    app.callback()(lambda: None)
    getattr(sys.modules.get(module) or __import__(module, fromlist=[function]), function)(app, *line.arguments)
    assert set(typer.main.get_group(app).commands) == added_by(line)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--version"], set()),
        (["--help"], {"rich"}),
        (["publish", "--help"], CLIENT | OPTIONS),
        (["listen", "--help"], CLIENT | OPTIONS),
        (["explain", "--help"], CLIENT | OPTIONS),
        (["feed", "--help"], CLIENT | OPTIONS),
        (["simulate", "--help"], CLIENT | OPTIONS),
        (["receive", "--help"], CLIENT | OPTIONS),
        (["config", "--reference"], OPTIONS | {"asyncio", "pydantic_settings", "structlog"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_imports_what_it_needs(arguments: list[str], needed: set[str]) -> None:
    done = python(AFTER, *arguments)
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stderr.splitlines()[-1]))
    assert imported & (HEAVY - needed) == set()


WHERE_OTHERS_ARE = {
    "aiohttp",
    "hub.cluster.links",
    "hub.bus.redis",
    "psycopg",
    "redis",
    "websockets.asyncio.client",
    "websockets.client",
}
"""What a hub needs only if it sends webhooks, or where there are other nodes, a Redis or a PostgreSQL."""

DRAWS = {"pygments", "rich"}
"""What draws on terminals."""


def test_a_hub_alone_imports_nothing_that_connects_to_others(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AFTER, "serve", "--port", "0", "--data-dir", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as hub:
        assert hub.stderr is not None
        lines = iter(hub.stderr.readline, "")
        assert any('"listening"' in line for line in lines), "it does not start"
        hub.send_signal(signal.SIGTERM)
        *_, imported = lines
    assert hub.returncode == 0
    assert set(json.loads(imported)) & (WHERE_OTHERS_ARE | DRAWS | TESTS) == set()


def test_the_product_needs_nothing_of_the_test_extra() -> None:
    """jsonschema and httpx are installed wherever tests run: only their absence from the imports shows that a hub does without."""
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(json.dumps(sorted(sys.modules)))"
    targets = {line.target.partition(":")[0] for line in COMMANDS}
    done = python(code, *targets, *(f"channels.{family.name}.build" for family in FAMILIES))
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & {"httpx", "jsonschema"} == set()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("typer", ["--version"]), ("aiohttp", ["publish", "/a", "1"]), ("pydantic_settings", ["tenant", "list"]), ("fastapi", ["serve"])],
)
def test_interrupt_during_imports_is_quiet(module: str, arguments: list[str]) -> None:
    done = python(INTERRUPTED_AT, module, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ignored_interrupt_stays_ignored() -> None:
    """A shell starts background jobs with SIGINT ignored: they live on when Ctrl-C ends what is in front."""
    ignoring = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = python(INTERRUPTED_AT, "typer", "--version")
    finally:
        signal.signal(signal.SIGINT, ignoring)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hub ")
