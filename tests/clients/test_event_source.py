"""A browser's own EventSource: it comes back by itself with Last-Event-ID, and nothing of a log channel is lost or comes twice."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.clients.raw import RawSession
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess
from tests.support.network import Network

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LOG = {"HUB_REPLAY__CHANNELS": "/log/**", "HUB_LIMITS__SSE_RETRY_MS": "100"}
WITHIN_S = 30.0
OPEN = """url => new Promise((resolve) => {
    window.heard = [];
    window.gaps = [];
    window.events = new EventSource(url);
    window.events.onopen = resolve;
    window.events.onmessage = (event) => window.heard.push({...JSON.parse(event.data), id: event.lastEventId});
    window.events.addEventListener("gap", (event) => window.gaps.push(JSON.parse(event.data)));
})"""


async def listening(context: BrowserContext, url: str, *channels: str) -> Page:
    """A page of the hub's own, signed in by its cookie, whose EventSource is open."""
    page = await context.new_page()
    await page.goto(url)
    query = "&".join(f"channel={channel}" for channel in channels)
    await page.evaluate(OPEN, f"/events?{query}")
    return page


async def heard(page: Page, count: int) -> list[Any]:
    """The data of all that came, once it is so many."""
    async with asyncio.timeout(WITHIN_S):  # polled from here: the page's own policy lets nobody evaluate text in it
        while True:
            found: list[Any] = await page.evaluate("window.heard.map(message => message.data)")
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def test_events(demo_hub: HubProcess, browser_context: BrowserContext, channel: str) -> None:
    page = await listening(browser_context, demo_hub.url, f"{channel}/*", "/statistics/v3/service")
    with RawSession(demo_hub) as publisher:
        publisher.publish_text(f"{channel}/a", json.dumps({"text": "世界\u2028\nx"}))
    state, message = await heard(page, 2)
    assert state["data"]["serviceState"] == "AVAILABLE"
    assert message == {"text": "世界\u2028\nx"}


@pytest.mark.parametrize("end", ["stop", "kill9"])
async def test_the_hub_restarts(hub_process: HubFactory, browser_context: BrowserContext, end: str) -> None:
    hub = hub_process("--demo", environment=LOG)
    page = await listening(browser_context, hub.url, "/log/**")
    with RawSession(hub) as publisher:
        publisher.publish_text("/log/a", "1")
    assert await heard(page, 1) == [1]
    getattr(hub, end)()
    hub.start()
    with RawSession(hub) as publisher:
        publisher.publish_text("/log/b", "2")
        publisher.publish_text("/log/a", "3")
        assert await heard(page, 3) == [1, 2, 3]
        publisher.publish_text("/log/a", "4")
    assert await heard(page, 4) == [1, 2, 3, 4]
    assert await page.evaluate("window.gaps") == []


async def test_the_network_breaks(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    """The connection is reset while events are under way."""
    hub = hub_process("--demo", environment=LOG)
    with Network(hub.port) as network, RawSession(hub) as publisher:
        page = await listening(browser_context, network.url, "/log/**")
        expected = []
        for number in range(30):
            if number % 10 == 5:
                network.stall()
            publisher.publish_text("/log/a", str(number))
            expected.append(number)
            if number % 10 == 9:
                network.reset()
                network.resume()
        assert await heard(page, 30) == expected
        assert await page.evaluate("window.gaps") == []


TAKE_A_TICKET = """async ([url, token]) => {
    const answer = await fetch(`${url}/api/v1/tickets`, {method: "POST", headers: {Authorization: `Bearer ${token}`}});
    return (await answer.json()).data.ticket;
}"""


async def page_with_a_ticket(context: BrowserContext, network: Network) -> tuple[Page, str]:
    """A page of another site than the hub's, and a ticket for one stream."""
    page = await context.new_page()
    await page.route("http://pages.example/**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    await page.goto("http://pages.example/")
    return page, await page.evaluate(TAKE_A_TICKET, [network.url, HubProcess.token])


async def test_a_page_of_another_site_comes_back_by_its_ticket(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    """Its EventSource cannot send a header, and repeats the URL with the ticket. The new stream takes the place of the half-dead one."""
    hub = hub_process("--demo", environment=LOG | {"HUB_ALLOWED_ORIGINS": "http://pages.example"})
    with Network(hub.port) as network, RawSession(hub) as publisher:
        page, ticket = await page_with_a_ticket(browser_context, network)
        await page.evaluate(OPEN, f"{network.url}/events?channel=/log/**&ticket={ticket}")
        publisher.publish_text("/log/a", "1")
        assert await heard(page, 1) == [1]
        for number in (2, 3):
            network.stall()
            publisher.publish_text("/log/a", str(number))
            network.reset()
            network.resume()
            assert await heard(page, number) == list(range(1, number + 1))
        assert await page.evaluate("window.gaps") == []
        assert len([s for s in hub.get("/api/v1/sessions").json()["data"]["sessions"] if s["door"] == "sse"]) == 1


async def test_a_quiet_stream_keeps_its_position(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    """What is told on other channels moves the position of a stream that hears nothing, and the browser keeps it."""
    hub = hub_process("--demo", environment=LOG | {"HUB_LIMITS__SSE_COMMENT_S": "1"})
    page = await listening(browser_context, hub.url, "/log/quiet")
    await page.evaluate(
        """window.positions = [];
        const keep = (event) => window.positions.push([JSON.parse(event.data).position, event.lastEventId]);
        window.events.addEventListener("position", keep);"""
    )
    with RawSession(hub) as publisher:
        publisher.publish_text("/log/other", "1")
    async with asyncio.timeout(WITHIN_S):
        while not (positions := await page.evaluate("window.positions")):
            await asyncio.sleep(0.05)
    assert all(str(position) == identifier for position, identifier in positions)


async def test_a_web_socket_comes_back_by_its_ticket(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    hub = hub_process("--demo", environment=LOG | {"HUB_ALLOWED_ORIGINS": "http://pages.example"})
    with Network(hub.port) as network, RawSession(hub) as publisher:
        page, ticket = await page_with_a_ticket(browser_context, network)
        await page.evaluate(
            """url => {
                window.heard = [];
                let position;
                const open = () => {
                    const socket = new WebSocket(url);
                    socket.onopen = () => socket.send(JSON.stringify({type: "subscribe", channels: ["/log/**"], since: position}));
                    socket.onmessage = ({data}) => JSON.parse(data).forEach((message) => {
                        position = message.position ?? message.channels?.[0].position ?? position;
                        message.type === "event" && window.heard.push(message);
                        message.type === "subscribed" && (window.subscribed = (window.subscribed ?? 0) + 1);
                    });
                    socket.onclose = () => setTimeout(open, 100);
                };
                open();
            }""",
            f"{network.url.replace('http', 'ws', 1)}/ws?ticket={ticket}",
        )
        await page.wait_for_function("window.subscribed === 1")
        publisher.publish_text("/log/a", "1")
        assert await heard(page, 1) == [1]
        network.stall()
        publisher.publish_text("/log/a", "2")
        network.reset()
        network.resume()
        assert await heard(page, 2) == [1, 2]


@pytest.mark.long
async def test_a_laptop_sleeps_a_minute(hub_process: HubFactory, browser_context: BrowserContext) -> None:
    hub = hub_process("--demo", environment=LOG)
    with Network(hub.port) as network:
        page = await listening(browser_context, network.url, "/log/**")
        with RawSession(hub) as publisher:
            publisher.publish_text("/log/a", "1")
            assert await heard(page, 1) == [1]
            with network.stalled():
                publisher.publish_text("/log/a", "2")
                time.sleep(60)
            network.reset()
            publisher.publish_text("/log/a", "3")
            assert await heard(page, 3) == [1, 2, 3]
