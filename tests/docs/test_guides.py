"""Every example of the front page and of the guides, run as it stands there: only the hub's port is put in."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import BrowserContext

from tests.conftest import SMALL_CENTRE
from tests.docs.browser import browser_context, run_in_browser
from tests.docs.examples import ROOT, Example, examples_of, indented_blocks, pages
from tests.docs.terminal import ExampleError, Terminal
from tests.hub.storage.backends import Postgres, postgres
from tests.support.browser import NOT_INSTALLED, chromium
from tests.support.hub_process import HubProcess, clean_environment, free_port, hub_command
from tests.support.puppet import why_no_node

__all__ = ["postgres"]

FRAMES: Final = Path(__file__).with_name("frames")
PAGES: Final = {str(page.relative_to(ROOT)): examples_of(page) for page in pages()}
RUNNABLE: Final = {page: examples for page, examples in PAGES.items() if any(example.looked_at for example in examples)}
TOOLS: Final = ("bash", "curl", "openssl", "make")
TOOLS_OF_PAGES: Final = {"docs/deployment.md": ("redis-server", "haproxy")}

_SERVES: Final = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:hub serve|make run)\b", re.MULTILINE)
_PORTS: Final = ("8080", "8081", "8082", "8083", "8091", "8092", "8093", "6379", "9000")
"""Ports of the pages, in whose place free ones are put; a hub has 8080 by its environment where a page does not name it."""

_PORT: Final = re.compile(
    rf"(?<=localhost:)({'|'.join(_PORTS)})\b|(?<=127\.0\.0\.1:)({'|'.join(_PORTS)})\b"
    rf"|(?<=[-_]port[ =])({'|'.join(_PORTS[1:])})\b|(?<=PORT=)9000\b"
)

_DATABASE: Final = "postgresql://hub:hub@localhost/hub"
"""The PostgreSQL of the pages, in whose place a database of the tests' own server is put."""


class Reader:
    """Who follows one page: a terminal, a folder with what a clone has beside it, and a hub where the page has none of its own."""

    def __init__(
        self, folder: Path, examples: list[Example], hub: HubProcess | None, stack: ExitStack, database: str | None = None
    ) -> None:
        self._hub = hub
        self._database = database
        self._stack = stack
        self._browser: BrowserContext | None = None
        self._printed = ""
        self._ports = {port: hub.port if hub and port == "8080" else free_port() for port in _PORTS}
        port = self._ports["8080"]
        for name in ("samples", "tests", "docs", "Makefile", "pyproject.toml", "constraints.txt", "hub", "channels", "deploy"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        environment = clean_environment(SMALL_CENTRE) | {"HUB_PORT": str(port), "HUB_URL": f"http://localhost:{port}"}
        environment["PATH"] = os.pathsep.join([str(hub_command().parent), str(Path(sys.executable).parent), environment["PATH"]])
        if hub is not None:
            # the page speaks of a hub that runs already: its commands work on that one's data
            environment["HUB_DATA_DIR"] = str(hub.data_dir)
        self.terminal = Terminal(folder, environment)
        stack.callback(self.terminal.close)

    @property
    def url(self) -> str:
        return f"http://localhost:{self._ports['8080']}"

    def follow(self, example: Example) -> None:
        """Do what a reader does with one block."""
        text = _PORT.sub(lambda found: str(self._ports[found[0]]), example.text)
        if self._database is not None:
            text = text.replace(_DATABASE, self._database)
        directives = example.directives
        if "skip" in directives:
            return
        if "output" in directives:
            assert matches(text, self._printed), f"{example.place}: expected what the block before it prints, which is:\n{self._printed}"
        elif "part-of" in directives:
            assert is_part(example.text, (ROOT / directives["part-of"]).read_text()), f"{example.place} is not in {directives['part-of']}"
        elif "file" in directives:
            (self.terminal.folder / directives["file"]).write_text(text)
        elif example.language in {"js", "html"}:
            if self._browser is None:
                self._browser = self._stack.enter_context(browser_context())
            run_in_browser(self._browser, self.url, example, self._framed(example, text), self.terminal.meanwhile(example))
        elif example.language == "python":
            (self.terminal.folder / "example.py").write_text(self._framed(example, text))
            self._printed = self.terminal.run(example, "exec python -u example.py" if "until" in directives else "python example.py")
        elif example.language in {"sh", "bash"}:
            if _SERVES.search(text) and "beside" not in directives:
                self.terminal.stop_others()
            self._printed = self.terminal.run(example, text)

    def _framed(self, example: Example, text: str) -> str:
        """A fragment within its frame; a whole program as it is."""
        name = example.directives.get("frame")
        if name is None:
            return text
        suffix = "py" if example.language == "python" else "js"
        return framed((FRAMES / f"{name}.{suffix}.txt").read_text(), text).replace("http://localhost:8080", self.url)


def matches(pattern: str, printed: str) -> bool:
    """Whether ``printed`` is what a page shows, where ``...`` stands for anything and space between words for any space."""
    words = (r"\s*".join(re.escape(word) for word in part.split()) for part in pattern.split("..."))
    return re.search(r".*?".join(words), printed, re.DOTALL) is not None


def is_part(extract: str, whole: str) -> bool:
    """Whether all lines of an extract stand in the whole, in this order."""
    lines = iter(line.strip() for line in whole.splitlines())
    return all(any(line == wanted for line in lines) for wanted in (line.strip() for line in extract.splitlines()) if wanted)


def framed(frame: str, fragment: str) -> str:
    """Put a fragment in the place of the comment ``the fragment``, as far to the right as that line."""
    found = re.search(r"^( *)(?:#|//) the fragment\n", frame, re.MULTILINE)
    assert found is not None
    return frame[: found.start()] + "".join(f"{found[1]}{line}\n" for line in fragment.splitlines()) + frame[found.end() :]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What the page leaves open ends with the test."""
    with ExitStack() as opened:
        yield opened


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUNNABLE)
def test_examples(page: str, tmp_path: Path, stack: ExitStack, request: pytest.FixtureRequest) -> None:
    """A fault is shown with its place in the page, what was expected and what came."""
    examples = RUNNABLE[page]
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    if any(example.language in {"js", "html"} and "skip" not in example.directives for example in examples):
        if chromium() is None:
            pytest.skip(NOT_INSTALLED)
        if why := why_no_node():
            pytest.skip(why)
    serves = any(_SERVES.search(example.text) and "skip" not in example.directives for example in examples)
    hub: HubProcess | None = None if serves else request.getfixturevalue("demo_hub")
    database: str | None = None
    if any(_DATABASE in example.text for example in examples):
        server: Postgres = request.getfixturevalue("postgres")
        database = server.url(asyncio.run(server.create())).replace("+psycopg", "")
    if missing := [tool for tool in TOOLS_OF_PAGES.get(page, ()) if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    reader = Reader(tmp_path, examples, hub, stack, database)
    for example in examples:
        reader.follow(example)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_found(page: str) -> None:
    """Code without a fence, or in a language that nobody runs, would never be tried."""
    assert indented_blocks(ROOT / page) == []
    known = {"sh", "bash", "python", "js", "html", "json", "toml", "nginx", "haproxy", "text", "http", "yaml", "mermaid"}
    assert [example.place for example in PAGES[page] if example.language not in known] == []


def test_what_is_not_run_says_why() -> None:
    silent = [
        example.place
        for examples in PAGES.values()
        for example in examples
        if "skip" in example.directives and len(example.directives["skip"].split()) < 4
    ]
    assert silent == []


# -- the runner itself: an example that is wrong must fail -------------------------------------------------------------


def example(text: str, language: str = "sh", **directives: str) -> Example:
    return Example("a-page.md", 3, language, text, directives)


@pytest.mark.parametrize(
    ("text", "directives", "why"),
    [
        ("false\necho done\n", {}, "ended with 1, expected 0"),
        ("true | false | true\n", {}, "ended with 1, expected 0"),
        ("exit 3\n", {}, "ended the shell"),
        ('echo \'{"status":{"code":404}}\'\n', {}, "expected no refusal"),
        ("echo no\n", {"expect": "yes"}, "expected /yes/"),
        ("echo no; exit 4\n", {"until": "yes"}, "ended with 4 before /yes/"),
        ("true\n", {"exit": "2"}, "ended with 0, expected 2"),
    ],
)
def test_wrong_examples_fail(text: str, directives: dict[str, str], why: str, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"PATH": os.environ["PATH"]})
    try:
        with pytest.raises(ExampleError, match=r"a-page.md:3") as raised:
            terminal.run(example(text, **directives), text)
        assert why in str(raised.value)
    finally:
        terminal.close()


def test_blocks_share_their_variables(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"PATH": os.environ["PATH"]})
    try:
        terminal.run(example("WORD='two words'\n"), "WORD='two words'\n")
        assert terminal.run(example('echo "$WORD"\n'), 'echo "$WORD"\n') == "two words\n"
        heard = terminal.run(example('echo "$WORD"; sleep 60\n', until="words"), 'echo "$WORD"; sleep 60\n')
        assert heard == "two words\n"
    finally:
        terminal.close()


def test_unknown_words_in_a_comment_are_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('<!-- example: untill="x" -->\n```sh\ntrue\n```\n')
    with pytest.raises(ValueError, match=r"page.md:3: expected one of .*'until'.*, got \['untill'\]"):
        examples_of(page)


@pytest.mark.parametrize(
    ("pattern", "printed", "fits"),
    [
        ('{"a": 1, ...}', '{"a":1,"b":2}', True),
        ('{"a": 1}', '{"a":2}', False),
        ("x ... z", "x and y\nand z", True),
    ],
)
def test_outputs_are_compared_by_their_words(pattern: str, printed: str, fits: bool) -> None:
    assert matches(pattern, printed) is fits
