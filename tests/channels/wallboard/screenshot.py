"""Take a picture of a running wallboard: ``python -m tests.channels.wallboard.screenshot URL OUT [--size 1920x1080] [--light]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.browser import FLAGS, chromium


def screenshot(url: str, out: Path, *, size: tuple[int, int], light: bool, token: str | None, settle_s: float, whole: bool = False) -> None:
    """Open the page, sign in when it asks and a token is given, wait until it is live, and write a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        width, height = size
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light" if light else "dark")
        page.goto(url)
        page.wait_for_selector("body[data-view=board], body[data-view=sign-in]")
        if token and page.get_attribute("body", "data-view") == "sign-in":
            page.fill("#token", token)
            page.press("#token", "Enter")
            page.wait_for_selector("body[data-view=board]")
            page.wait_for_selector("#link[data-phase=live]")
        page.wait_for_timeout(settle_s * 1000)
        out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=out, full_page=whole)
        browser.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="1600x1000", help="WIDTHxHEIGHT in CSS pixels")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the whole page, not what fits the window")
    parser.add_argument("--token", help="to sign in with when the page asks")
    parser.add_argument("--settle", type=float, default=3, help="seconds between being live and the picture")
    chosen = parser.parse_args()
    width, height = (int(part) for part in chosen.size.split("x"))
    screenshot(
        chosen.url, chosen.out, size=(width, height), light=chosen.light, token=chosen.token, settle_s=chosen.settle, whole=chosen.whole
    )


if __name__ == "__main__":
    main()
