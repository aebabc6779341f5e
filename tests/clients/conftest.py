"""A real Chromium for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import BrowserContext, async_playwright

from tests.conftest import chromium

CHROMIUM_FLAGS = [
    "--no-sandbox",  # Chromium refuses to run its sandbox as root, as CI does
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # a page that the test fulfils itself comes from no address, which these checks take for a foreign network
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
]


@pytest.fixture
async def browser_context() -> AsyncIterator[BrowserContext]:
    """A fresh profile of Debian's Chromium: no cookies, nothing cached."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        context = await browser.new_context()
        yield context
        await context.close()
        await browser.close()
