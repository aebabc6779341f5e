"""The blocks for a browser, in a real Chromium: on a page of the hub, with the npm package cometd beside it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import BrowserContext, Route, sync_playwright

from tests.docs.examples import ROOT, Example
from tests.docs.terminal import BLOCK_S, ExampleError, check_output
from tests.support.browser import FLAGS, chromium

_COMETD: Final = ROOT / "tests/clients/node/node_modules/cometd"
_PAGE: Final = "guide"
_FRAME: Final = """<!doctype html>
<meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{"imports": {"cometd": "./cometd/cometd.js"}}</script>
"""


@contextmanager
def browser_context() -> Iterator[BrowserContext]:
    """A fresh profile of Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser.new_context()
        finally:
            browser.close()


def run_in_browser(context: BrowserContext, url: str, example: Example, text: str, meanwhile: Iterator[None]) -> None:
    """Load a page of the hub at ``url`` that holds the block; ``until`` is looked for in what the page writes to its console. A step of
    ``meanwhile`` is made between two looks.

    Raises:
        ExampleError: the console does not show it in time, or shows an error.
    """
    content = text if example.language == "html" else f'<script type="module">\n{text}\n</script>'

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(f"{url}/{_PAGE}/")
        if name:
            route.fulfill(path=_COMETD / Path(name).name)
        else:
            route.fulfill(content_type="text/html; charset=utf-8", body=_FRAME + content)

    page = context.new_page()
    lines: list[str] = []
    page.goto(url)  # with --demo the hub's page signs in: its cookie is there from now on
    page.on("console", lambda message: lines.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: lines.append(f"error: {error}"))
    page.route(f"{url}/{_PAGE}/**", serve)
    page.goto(f"{url}/{_PAGE}/")
    wanted = re.compile(example.directives["until"])
    until = time.monotonic() + BLOCK_S
    while not wanted.search(printed := "\n".join(lines)):
        if any(line.startswith("error:") for line in lines):
            raise ExampleError(f"{example.place}: the page's console shows an error:\n{printed}")
        if time.monotonic() > until:
            raise ExampleError(f"{example.place}: expected /{wanted.pattern}/ on the page's console, got:\n{printed}")
        next(meanwhile)
        page.wait_for_timeout(50)
    page.close()
    check_output(example, printed)
