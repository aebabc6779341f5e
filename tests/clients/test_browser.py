"""cometd.js and the wallboard in a real Chromium: real cookies, real origins, real WebSockets."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.clients.conftest import open_page, serve_library, start_client
from tests.clients.raw import RawSession
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 30_000
"""How long a page may take on a machine that does much else."""

AUTHENTICATION = {"ext": {"authentication": {"token": HubProcess.token}}}


@pytest.fixture(params=["websocket", "long-polling", "callback-polling"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["websocket", "long-polling"])
def cookie_transport(request: pytest.FixtureRequest) -> str:
    """A transport over which cookies count, and origins: callback-polling looks at neither."""
    name: str = request.param
    return name


async def test_publish_and_receive(demo_hub: HubProcess, browser_context: BrowserContext, transport: str, channel: str) -> None:
    page = await open_page(browser_context, demo_hub.url, demo_hub.url, transport)
    assert (await page.evaluate("props => window.handshake(props)", AUTHENTICATION))["successful"]
    assert (await page.evaluate("channel => window.subscribe(channel)", channel))["successful"]
    assert (await page.evaluate("channel => window.publish(channel, {hi: '世界'})", channel))["successful"]
    await page.wait_for_function("window.received.length === 1")
    assert await page.evaluate("window.received") == [{"channel": channel, "data": {"hi": "世界"}}]
    assert (await page.evaluate("window.disconnect()"))["successful"]


async def test_two_tabs(demo_hub: HubProcess, browser_context: BrowserContext, transport: str, channel: str) -> None:
    """Two tabs share the cookies, and are two sessions all the same."""
    tabs = [await open_page(browser_context, demo_hub.url, demo_hub.url, transport) for _ in range(2)]
    for tab in tabs:
        await tab.evaluate("props => window.handshake(props)", AUTHENTICATION)
        await tab.evaluate("channel => window.subscribe(channel)", channel)
    await tabs[0].evaluate("channel => window.publish(channel, 'both')", channel)
    for tab in tabs:
        await tab.wait_for_function("window.received.length === 1")
    ids = [await tab.evaluate("window.client.getClientId()") for tab in tabs]
    assert ids[0] != ids[1]


async def test_reload(demo_hub: HubProcess, browser_context: BrowserContext, transport: str, channel: str) -> None:
    """A page that is loaded again makes a new session, and hears."""
    page = await open_page(browser_context, demo_hub.url, demo_hub.url, transport)
    await page.evaluate("props => window.handshake(props)", AUTHENTICATION)
    await page.reload()
    await start_client(page, demo_hub.url, transport)
    assert (await page.evaluate("props => window.handshake(props)", AUTHENTICATION))["successful"]
    await hears_itself(page, channel)


async def test_reload_that_loses_nothing(demo_hub: HubProcess, browser_context: BrowserContext, transport: str, channel: str) -> None:
    """With CometD's reload and ack extensions the page goes on in its session; what was published meanwhile comes once, in order."""
    extensions = ["ack", "reload"]
    listen = "([channel, props]) => window.listen(channel, props)"
    page = await open_page(browser_context, demo_hub.url, demo_hub.url, transport, extensions)
    await page.evaluate(listen, [channel, AUTHENTICATION])
    session = await page.evaluate("window.client.getClientId()")
    with RawSession(demo_hub) as publisher:
        for number in range(3):
            publisher.publish_text(channel, str(number))
        await page.wait_for_function("window.received.length === 3")
        heard = await page.evaluate("window.received.map(message => message.data)")
        await page.reload()
        for number in range(3, 6):
            publisher.publish_text(channel, str(number))
        await start_client(page, demo_hub.url, transport, extensions)
        await page.evaluate(listen, [channel, AUTHENTICATION])
        publisher.publish_text(channel, "6")
        await page.wait_for_function("window.received.length >= 4")
    heard += await page.evaluate("window.received.map(message => message.data)")
    assert heard == list(range(7))
    assert await page.evaluate("window.client.getClientId()") == session


async def test_callback_polling_spreads_a_batch_over_several_requests(
    demo_hub: HubProcess, browser_context: BrowserContext, channel: str
) -> None:
    """URLs are short: the library cuts the batch in pieces, and the order is kept."""
    page = await open_page(browser_context, demo_hub.url, demo_hub.url, "callback-polling")
    await page.evaluate("props => window.handshake(props)", AUTHENTICATION)
    await page.evaluate("channel => window.subscribe(channel)", channel)
    texts = [f"{number} {'x' * 400} é世\u2028" for number in range(12)]
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    assert await page.evaluate("([channel, list]) => window.publishBatch(channel, list)", [channel, texts]) == [True] * 12
    await page.wait_for_function("window.received.length === 12")
    assert await page.evaluate("window.received.map(message => message.data)") == texts
    assert len([url for url in requests if "xxxx" in url]) > 1


async def test_callback_polling_from_a_foreign_page(hub_process: HubFactory, browser_context: BrowserContext, channel: str) -> None:
    """Script elements know no origins: the page shows the credential itself, and the sign-in cookie is of no use to it. A demo, whose
    credentials everybody knows, answers those of allowed origins alone.
    """
    hub = hub_process("--demo", environment={"HUB_ALLOWED_ORIGINS": "http://localhost:1"})
    page = await browser_context.new_page()
    await page.goto(hub.url)
    foreign = await open_page(browser_context, "http://localhost:2", hub.url, "callback-polling")
    assert not (await foreign.evaluate("props => window.handshake(props)", AUTHENTICATION))["successful"]
    client = await open_page(browser_context, "http://localhost:1", hub.url, "callback-polling")
    assert (await client.evaluate("window.handshake()"))["error"] == "403::handshake_denied"
    await start_client(client, hub.url, "callback-polling")
    assert (await client.evaluate("props => window.handshake(props)", AUTHENTICATION))["successful"]
    await hears_itself(client, channel)


async def test_sign_in_cookie(demo_hub: HubProcess, browser_context: BrowserContext, cookie_transport: str) -> None:
    """The demo's page signs the browser in; a Bayeux client on the hub's own origin then needs no credential of its own."""
    page = await browser_context.new_page()
    await page.goto(demo_hub.url)
    client = await open_page(browser_context, demo_hub.url, demo_hub.url, cookie_transport)
    assert (await client.evaluate("window.handshake()"))["successful"]


async def test_sign_in_cookie_is_not_taken_from_a_foreign_page(
    demo_hub: HubProcess, browser_context: BrowserContext, cookie_transport: str
) -> None:
    page = await browser_context.new_page()
    await page.goto(demo_hub.url)
    # another port of the same host is the same site: the browser does send the cookie along
    client = await open_page(browser_context, "http://localhost:1", demo_hub.url, cookie_transport)
    reply = await client.evaluate("window.handshake()")
    assert not reply["successful"]
    # neither learns why: a demo opens no WebSocket of such a page, and over HTTP the browser keeps the answer from it
    assert "error" not in reply


async def test_allowed_origin(hub_process: HubFactory, browser_context: BrowserContext, cookie_transport: str, channel: str) -> None:
    """A page of another origin of the same site works when the settings name that origin."""
    hub = hub_process("--demo", environment={"HUB_ALLOWED_ORIGINS": "http://localhost:1"})
    page = await open_page(browser_context, "http://localhost:1", hub.url, cookie_transport)
    assert (await page.evaluate("props => window.handshake(props)", AUTHENTICATION))["successful"]
    await hears_itself(page, channel)


async def test_allowed_origin_of_another_site(
    hub_process: HubFactory, browser_context: BrowserContext, cookie_transport: str, channel: str
) -> None:
    """The browser keeps the hub's cookies from another site: over HTTP the session is led back to by its clientId and its origin."""
    hub = hub_process("--demo", environment={"HUB_ALLOWED_ORIGINS": "http://pages.example"})
    page = await open_page(browser_context, "http://pages.example", hub.url, cookie_transport)
    assert (await page.evaluate("props => window.handshake(props)", AUTHENTICATION))["successful"]
    await hears_itself(page, channel)


@pytest.mark.parametrize("websocket", [True, False], ids=["websocket", "http"])
async def test_faye_as_it_is(hub_process: HubFactory, browser: Browser, websocket: bool, channel: str) -> None:
    """Its WebSocket is open before a cookie is there, and pages of other sites get none: one handshake all the same, and no 402."""
    hub = hub_process("--demo", "--open", environment={"HUB_ALLOWED_ORIGINS": "http://pages.example,http://localhost:1"})
    for number, (origin, token) in enumerate(
        [("http://pages.example", HubProcess.token), ("http://pages.example", None), ("http://localhost:1", None), (hub.url, None)]
    ):
        context = await browser.new_context()
        page = await context.new_page()
        await page.route("**/cometd-test/**", serve_library)
        await page.goto(f"{origin}/cometd-test/faye.html")
        await page.wait_for_function("window.loaded")
        await page.evaluate("([url, websocket, token]) => window.start(url, websocket, token)", [f"{hub.url}/cometd", websocket, token])
        own = f"{channel}/{number}"
        assert await page.evaluate("channel => window.subscribe(channel)", own)
        for value in (1, 2):
            assert await page.evaluate("([channel, value]) => window.publish(channel, {value})", [own, value])
            await page.wait_for_function("value => window.received.length === value", arg=value)
        assert await page.evaluate("window.received") == [{"value": 1}, {"value": 2}]
        assert (len(await page.evaluate("window.handshakes")), await page.evaluate("window.refused")) == (1, [])
        # the hub names no connection type for XMLHttpRequest from another origin that this library knows
        over_http = "long-polling" if origin == hub.url else "callback-polling"
        assert await page.evaluate("window.transport()") == ("websocket" if websocket else over_http)
        await context.close()


async def hears_itself(page: Page, channel: str) -> None:
    """Subscribe, publish, and wait for the copy."""
    assert (await page.evaluate("channel => window.subscribe(channel)", channel))["successful"]
    await page.evaluate("channel => window.publish(channel, 1)", channel)
    await page.wait_for_function("window.received.length === 1")


async def test_wallboard_shows_the_demo(demo_hub: HubProcess, browser_context: BrowserContext) -> None:
    """The page at / is signed in, shows agents and queues, and complains of nothing."""
    page = await browser_context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    await page.goto(demo_hub.url)
    queues = demo_hub.get("/api/v1/objects/Queue").json()["data"]["objects"]
    assert queues
    await expect(page.get_by_text(queues[0]).first).to_be_visible(timeout=PATIENCE_MS)
    await expect(page.get_by_role("list", name="Agents by state").get_by_role("listitem").first).to_be_visible(timeout=PATIENCE_MS)
    await expect(page.locator("[aria-live]").first).to_contain_text("live", ignore_case=True, timeout=PATIENCE_MS)
    assert complaints == []


async def test_wallboard_comes_back_after_a_restart(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    hub = hub_process()
    page = await browser_context.new_page()
    await page.goto(hub.url)
    state = page.locator("[aria-live]").first
    await expect(state).to_contain_text("live", ignore_case=True, timeout=PATIENCE_MS)
    hub.stop()
    await expect(state).not_to_contain_text("live", ignore_case=True, timeout=PATIENCE_MS)
    hub.start()
    await expect(state).to_contain_text("live", ignore_case=True, timeout=PATIENCE_MS)
