"""The sign-in page in Debian's Chromium: with and without scripts, by keyboard alone, on a small screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.channels.auth.conftest import CHALLENGE, VERIFIER
from tests.support.browser import FLAGS, chromium
from tests.support.hub_process import HubProcess, free_port

pytestmark = pytest.mark.browser

SECONDS = 60
FRAMING_PORT = free_port()
"""Of the page that may show the form of the client ``framed`` in a frame."""
PASSWORD = "correct horse battery"


class Application(HTTPServer):
    """The page of an application, to which browsers come back."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.came: list[str] = []

    @property
    def callback(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/cb"


class _Answer(BaseHTTPRequestHandler):
    server: Application

    def do_GET(self) -> None:
        if self.path.startswith("/cb"):
            self.server.came.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Back</title><h1>Back</h1>")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder: Path = tmp_path_factory.mktemp("browser")
    made = HubProcess(folder, flags=())
    made.command("tenant", "add", "acme")
    made.command("user", "add", "ana", "--role", "supervisor", "--password", PASSWORD)
    made.command("client", "add", "wall", "--public", "--name", "The wall", "--redirect-uri", "http://127.0.0.1/cb")
    made.command(
        "client", "add", "framed", "--public", "--redirect-uri", "http://127.0.0.1/cb", "--frame-origin", f"http://127.0.0.1:{FRAMING_PORT}"
    )
    made.command("client", "add", "asks", "--public", "--consent", "--redirect-uri", "http://127.0.0.1/cb")
    made.command("client", "add", "tv", "--public", "--name", "The television", "--grant", "device_code", "--grant", "refresh_token")
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield made
        made.close()


@contextmanager
def served(server: Application) -> Iterator[Application]:
    """An application that answers."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # by default a shutdown takes half a second
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def application() -> Iterator[Application]:
    with served(Application()) as server:
        yield server


@contextmanager
def page_of(browser: Browser, *, scripts: bool = True, width: int = 1024) -> Iterator[Page]:
    """A page of a fresh profile."""
    context = browser.new_context(java_script_enabled=scripts, viewport={"width": width, "height": 640})
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    expect.set_options(timeout=SECONDS * 1000)
    yield page
    context.close()


def request_of(hub: HubProcess, application: Application, client: str = "wall") -> str:
    """The link with which an application sends a browser to the hub."""
    asked = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": application.callback,
        "scope": "openid *",
        "state": "s-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "hideTenant": "true",
    }
    return f"{hub.url}/auth/v3/oauth/authorize?{urlencode(asked)}"


def redeemed(hub: HubProcess, application: Application, client: str = "wall") -> dict[str, str]:
    """The tokens for the code that came back last."""
    (*_, path) = application.came
    query = dict(parse_qsl(urlsplit(path).query))
    assert query["state"] == "s-1"
    form = {"grant_type": "authorization_code", "client_id": client, "redirect_uri": application.callback, "code_verifier": VERIFIER}
    answer = httpx.post(f"{hub.url}/auth/v3/oauth/token", data={**form, "code": query["code"]}, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()
    return found


@pytest.mark.parametrize("scripts", [True, False])
def test_a_user_signs_in_by_keyboard_and_comes_back_to_the_application(
    hub: HubProcess, browser: Browser, application: Application, scripts: bool
) -> None:
    with page_of(browser, scripts=scripts) as page:
        page.goto(request_of(hub, application))
        expect(page.get_by_role("heading", name="Sign in to The wall")).to_be_visible()
        expect(page.get_by_label("Username")).to_be_focused()
        page.keyboard.type("ana")
        page.keyboard.press("Tab")
        page.keyboard.type("wrong password")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("wrong")
        assert page.title().startswith("Error: ")
        expect(page.get_by_label("Username")).to_have_value("ana")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Back")).to_be_visible()
        tokens = redeemed(hub, application)
        me = httpx.get(f"{hub.url}/api/v1/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}, timeout=SECONDS)
        assert me.json()["data"]["subject"] == "ana"
        page.goto(request_of(hub, application))  # single sign-on: no page between
        expect(page.get_by_role("heading", name="Back")).to_be_visible()
        assert len(application.came) == 2


def test_a_client_that_asks_gets_its_answer(hub: HubProcess, browser: Browser, application: Application) -> None:
    with page_of(browser) as page:
        page.goto(request_of(hub, application, "asks"))
        page.get_by_label("Username").fill("ana")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="asks asks for access")).to_be_visible()
        page.get_by_role("button", name="Deny").click()
        expect(page.get_by_role("heading", name="Back")).to_be_visible()
        assert "error=access_denied" in application.came[-1]
        page.goto(request_of(hub, application, "asks"))
        page.get_by_role("button", name="Allow").click()
        expect(page.get_by_role("heading", name="Back")).to_be_visible()
        redeemed(hub, application, "asks")


def test_the_page_fits_a_small_screen_and_can_be_touched(hub: HubProcess, browser: Browser, application: Application) -> None:
    with page_of(browser, width=320) as page:
        page.goto(request_of(hub, application))
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for name in ("username", "password"):
            box = page.locator(f"#{name}").bounding_box()
            assert box is not None
            assert box["height"] >= 44
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("h1").count() == 1


def test_a_browser_signs_out_by_a_button_of_its_own(hub: HubProcess, browser: Browser, application: Application) -> None:
    with page_of(browser) as page:
        page.goto(f"{hub.url}/auth/v3/sign-in?next=/auth/v3/ping")
        page.get_by_label("Tenant").fill("acme")
        page.get_by_label("Username").fill("ana")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/ping")
        expect(page.locator("body")).to_contain_text('"code":0')
        page.goto(application.callback.replace("/cb", "/"))
        # a link of another site
        page.evaluate(f"location.href = '{hub.url}/auth/v3/sign-out'")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
        page.goto(f"{hub.url}/auth/v3/ping")
        expect(page.locator("body")).to_contain_text("nobody is signed in")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_device_gets_its_tokens_after_its_user_has_typed_the_code(hub: HubProcess, browser: Browser, scripts: bool) -> None:
    codes = httpx.post(f"{hub.url}/auth/v3/oauth/device", data={"client_id": "tv"}, timeout=SECONDS).json()
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": "tv", "device_code": codes["device_code"]}
    with page_of(browser, scripts=scripts, width=320) as page:
        page.goto(codes["verification_uri"])
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        expect(page.get_by_label("Code")).to_be_focused()
        page.keyboard.type(codes["user_code"].lower())
        page.keyboard.press("Enter")
        page.get_by_label("Tenant").fill("acme")
        page.get_by_label("Username").fill("ana")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_contain_text("The television wants to:")
        expect(page.locator("main")).to_contain_text(codes["user_code"])
        page.get_by_role("button", name="Allow").click()
        expect(page.get_by_role("heading", name="Your device is connected")).to_be_visible()
    answer = httpx.post(f"{hub.url}/auth/v3/oauth/token", data=form, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    me = httpx.get(f"{hub.url}/api/v1/me", headers={"Authorization": f"Bearer {answer.json()['access_token']}"}, timeout=SECONDS)
    assert me.json()["data"]["subject"] == "ana"


LOADED_IN_FRAME = """(url) => new Promise((loaded) => {
    const frame = document.createElement("iframe");
    frame.onload = () => loaded();
    frame.src = url;
    document.body.append(frame);
})"""


def shown_in_frame(page: Page, url: str) -> bool:
    """Whether a page of another origin shows a URL in a frame: Chromium loads a page of its own in place of one that refuses."""
    page.evaluate(LOADED_IN_FRAME, url)
    (frame,) = page.main_frame.child_frames
    return frame.locator("h1").count() == 1


def test_no_page_shows_the_form_in_a_frame_but_those_that_the_client_lists(
    hub: HubProcess, browser: Browser, application: Application
) -> None:
    """Clickjacking (RFC 9700 section 4.16)."""
    with served(Application(FRAMING_PORT)) as listed:
        for framing, client, shown in (
            (application, "wall", False),
            (application, "framed", False),
            (listed, "wall", False),
            (listed, "framed", True),
        ):
            with page_of(browser) as page:
                page.goto(framing.callback.replace("/cb", "/"))
                url = request_of(hub, framing, client).replace("localhost", "127.0.0.1")
                assert shown_in_frame(page, url) is shown, (framing.callback, client)


def test_a_user_of_the_hub_signs_in_to_the_wallboard(hub: HubProcess, browser: Browser) -> None:
    with page_of(browser) as page:
        page.goto(f"{hub.url}/?group=Night")
        expect(page.get_by_label("Access token")).to_be_visible()  # tokens stay possible
        page.get_by_role("link", name="Sign in with a user name and password").click()
        page.get_by_label("Tenant").fill("acme")
        page.get_by_label("Username").fill("ana")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("body")).to_have_attribute("data-view", "board")
        assert page.url == f"{hub.url}/?group=Night"
        page.goto(f"{hub.url}/")  # a browser that is signed in sees the board at once
        expect(page.locator("body")).to_have_attribute("data-view", "board")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Access token")).to_be_visible()
