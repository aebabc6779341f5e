"""What the tests of this folder share: client libraries in long-lived processes, and a real Chromium."""

from __future__ import annotations

import itertools
import mimetypes
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright

from tests.clients.foreign import TOKEN, Connect, Kind
from tests.clients.oauth_hub import OAuthHub, run_oauth_hub
from tests.support.browser import FLAGS, chromium
from tests.support.hub_process import HubProcess
from tests.support.puppet import NODE_FOLDER, Puppet, PuppetProcess

NodeFactory = Callable[[str], Puppet]

PAGE_FOLDER = Path(__file__).with_name("browser")
LIBRARY_FOLDERS = {
    "lib": NODE_FOLDER / "node_modules" / "cometd",
    "faye": NODE_FOLDER / "node_modules" / "faye" / "client",
    "chatjs": NODE_FOLDER / "node_modules" / "amazon-connect-chatjs" / "dist",
}

_channels = itertools.count()


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses: the hub is shared."""
    return f"/test/clients/{next(_channels)}"


@pytest.fixture(scope="session")
def shared_process() -> Iterator[Callable[[str, str, Any], PuppetProcess]]:
    """The one process of a script in which every test of a worker has its clients: starting one costs more than most tests do."""
    running: dict[str, PuppetProcess] = {}

    def of(script: str, program: str = "node", folder: Any = NODE_FOLDER) -> PuppetProcess:
        if script not in running:
            running[script] = PuppetProcess(script, program=program, folder=folder)
        return running[script]

    yield of
    for process in running.values():
        process.close()


@pytest.fixture
def connect(shared_process: Callable[..., PuppetProcess]) -> Iterator[Connect]:
    """Make clients of a kind: see :data:`tests.clients.foreign.Connect`. Each leaves with the test."""
    made: list[Puppet] = []

    def make(hub: HubProcess, kind: Kind, *, handshake: bool = True, url: str | None = None, **options: Any) -> Puppet:
        process = shared_process(kind.script, kind.program, kind.folder)
        client = kind.open(process, url or hub.url, **options)
        made.append(client)
        if handshake:
            reply = client.call("handshake", TOKEN)
            assert reply["successful"], reply
        return client

    yield make
    for client in made:
        client.drop()


@pytest.fixture
def node() -> Iterator[NodeFactory]:
    """Start a script of tests/clients/node in a process that the test has for itself: ``node("cometd.mjs")``. Each ends with the test."""
    started: list[PuppetProcess] = []

    def start(script: str) -> Puppet:
        process = PuppetProcess(script)
        started.append(process)
        return process.client()

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def oauth_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuthHub]:
    """One hub with users and clients of OAuth for all tests of a worker that leave it as they found it."""
    yield from run_oauth_hub(tmp_path_factory.mktemp("oauth"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests of a worker that run in the session's event loop: each has a profile of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser_context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A fresh profile: no cookies, nothing cached."""
    context = await browser.new_context()
    yield context
    await context.close()


async def serve_library(route: Route) -> None:
    """Answer a request below /cometd-test/ with a page or a file of an npm package: the browser takes them for the hub's own."""
    name = urlsplit(route.request.url).path.removeprefix("/cometd-test/")
    library, _, rest = name.partition("/")
    file = LIBRARY_FOLDERS[library] / rest if rest else PAGE_FOLDER / name
    await route.fulfill(body=file.read_bytes(), content_type=mimetypes.guess_type(file)[0])


async def open_page(context: BrowserContext, page_origin: str, hub_url: str, transport: str, extensions: Sequence[str] = ()) -> Page:
    """A page of ``page_origin`` whose CometD client is configured for the hub."""
    page = await context.new_page()
    await page.route("**/cometd-test/**", serve_library)
    await page.goto(f"{page_origin}/cometd-test/cometd.html")
    await start_client(page, hub_url, transport, extensions)
    return page


async def start_client(page: Page, hub_url: str, transport: str, extensions: Sequence[str] = ()) -> None:
    """Configure the CometD client of a page that has just been loaded, or loaded again."""
    await page.wait_for_function("window.loaded")
    start = "([url, transport, extensions]) => window.start(url, [transport], extensions)"
    await page.evaluate(start, [f"{hub_url}/cometd", transport, list(extensions)])
