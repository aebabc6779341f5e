"""The pages of signing in are for everybody: axe-core in Chromium on each page, light and dark, small and enlarged, in each language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from channels.auth.languages import LANGUAGES, choose
from tests.channels.auth.test_browser import PASSWORD, SECONDS, Application, application, browser, hub, request_of
from tests.support.hub_process import HubProcess

__all__ = ["application", "browser", "hub"]

pytestmark = [pytest.mark.browser, pytest.mark.node]

AXE: Final = Path(__file__).parents[2] / "clients/node/node_modules/axe-core/axe.min.js"
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class View(NamedTuple):
    """How a page is looked at. 400 % of zoom on a screen of 1280 x 1024 leaves 320 x 256 points (WCAG 2.2, success criterion 1.4.10)."""

    width: int
    height: int
    scale: float
    dark: bool


VIEWS: Final = {
    "light": View(1280, 1024, 1, dark=False),
    "dark": View(1280, 1024, 1, dark=True),
    "narrow": View(320, 640, 2, dark=False),
    "enlarged": View(320, 256, 4, dark=True),
}


@contextmanager
def looked_at(browser: Browser, view: View, language: str = "en") -> Iterator[Page]:
    """A page of a fresh profile, whose user prefers a language."""
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height},
        device_scale_factor=view.scale,
        color_scheme="dark" if view.dark else "light",
        locale=language,
    )
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    yield page
    context.close()


def each_page(page: Page, hub: HubProcess, application: Application) -> Iterator[str]:
    """Open each page of signing in, one after the other, for somebody who has not signed in; gives its name. One profile serves for all,
    since a new one starts new processes of Chromium: without its cookies nothing is left of the page before.
    """
    for name, open_page in PAGES.items():
        page.context.clear_cookies()
        open_page(page, hub, application)
        yield name


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong. It runs beside the page, whose policy allows no script."""
    page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}})", TAGS)
    assert len(found["passes"]) >= 10  # it looked at something
    return [f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}" for each in found["violations"]]


def sign_in(page: Page, hub: HubProcess, application: Application) -> None:
    page.goto(request_of(hub, application))


def wrong_password(page: Page, hub: HubProcess, application: Application) -> None:
    page.goto(request_of(hub, application))
    fill(page, "wrong password")
    page.get_by_role("alert").wait_for()  # the next page is there


def own_form(page: Page, hub: HubProcess, application: Application) -> None:
    page.goto(f"{hub.url}/auth/v3/sign-in")


def consent(page: Page, hub: HubProcess, application: Application) -> None:
    page.goto(request_of(hub, application, "asks"))
    fill(page, PASSWORD)
    page.locator("button[value=deny]").wait_for()


def sign_out(page: Page, hub: HubProcess, application: Application) -> None:
    page.goto(application.callback.replace("127.0.0.1", "localhost").replace("/cb", "/"))
    page.evaluate(f"location.href = '{hub.url.replace('localhost', '127.0.0.1')}/auth/v3/sign-out'")
    page.locator("form[action='/auth/v3/sign-out']").wait_for()


def broken_link(page: Page, hub: HubProcess, application: Application) -> None:
    page.goto(f"{hub.url}/auth/v3/oauth/authorize?client_id=nobody")


def fill(page: Page, password: str) -> None:
    page.locator("#username").fill("ana")
    page.locator("#password").fill(password)
    page.locator("button").click()


PAGES: Final[dict[str, Callable[[Page, HubProcess, Application], None]]] = {
    each.__name__: each for each in (sign_in, wrong_password, own_form, consent, sign_out, broken_link)
}


@pytest.fixture(scope="module", autouse=True)
def axe_is_there() -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci --prefix tests/clients/node")


@pytest.mark.timeout(600)  # Chromium, on a machine with much else to do
@pytest.mark.parametrize("view", VIEWS)
def test_no_page_has_a_violation_and_none_is_wider_than_its_window(
    hub: HubProcess, browser: Browser, application: Application, view: str
) -> None:
    with looked_at(browser, VIEWS[view]) as page:
        for name in each_page(page, hub, application):
            assert violations(page) == [], name
            assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view].width, name
            assert page.locator("h1").count() == 1, name
            for control in page.locator("input:not([type=hidden]):not([type=checkbox]), button").all():
                box = control.bounding_box()
                assert box is not None
                assert box["height"] >= 44, name


def test_what_is_wrong_would_be_found(hub: HubProcess, browser: Browser, application: Application) -> None:
    with looked_at(browser, VIEWS["light"]) as page:
        sign_in(page, hub, application)
        page.evaluate("document.querySelector('label[for=password]').remove(); document.documentElement.removeAttribute('lang')")
        found = violations(page)
        assert any(each.startswith("label:") for each in found)
        assert any(each.startswith("html-has-lang:") for each in found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_fits_an_enlarged_window_and_says_which_it_is(
    hub: HubProcess, browser: Browser, application: Application, language: str
) -> None:
    with looked_at(browser, VIEWS["enlarged"], language) as page:
        for name in each_page(page, hub, application):
            assert page.evaluate("document.documentElement.lang") == language, name
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
            if name == wrong_password.__name__:
                assert violations(page) == []


def test_an_error_is_read_first_and_leads_to_the_field(hub: HubProcess, browser: Browser, application: Application) -> None:
    """What a screen reader is told, in its order: the title, then the summary, which has the focus."""
    texts = choose("en", None)
    with looked_at(browser, VIEWS["light"]) as page:
        wrong_password(page, hub, application)
        expect(page).to_have_title(texts.error.format(title="Sign in to The wall"))
        expect(page.get_by_role("alert")).to_be_focused()
        expect(page.get_by_role("alert").get_by_role("heading")).to_have_text(texts.problem)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=texts.wrong_without_tenant)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#username")).to_be_focused()
        for name in ("username", "password"):
            expect(page.locator(f"#{name}")).to_have_attribute("aria-invalid", "true")
            expect(page.locator(f"#{name}")).to_have_accessible_description(texts.wrong_without_tenant)
        expect(page.locator("#password")).to_have_value("")


def test_everything_is_reached_by_the_keyboard_in_the_order_of_the_page(
    hub: HubProcess, browser: Browser, application: Application
) -> None:
    with looked_at(browser, VIEWS["light"]) as page:
        own_form(page, hub, application)
        expect(page.locator("#username")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        for name in ("tenant", "username", "password", "remember"):
            expect(page.locator(f"#{name}")).to_be_focused()
            page.keyboard.press("Tab")
        expect(page.locator("button")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_what_a_client_writes_is_shown_as_it_stands(hub: HubProcess, browser: Browser, application: Application) -> None:
    hint = '"><img src=x onerror=alert(1)>&lt;'
    with looked_at(browser, VIEWS["light"]) as page:
        page.goto(f"{request_of(hub, application)}&login_hint={hint.replace('&', '%26').replace('<', '%3C').replace('>', '%3E')}")
        expect(page.locator("#username")).to_have_value(hint)
        assert page.locator("img").count() == 0
        expect(page.locator("#tenant")).to_have_count(0)  # hideTenant
