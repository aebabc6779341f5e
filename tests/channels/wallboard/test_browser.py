"""The board in a real Chromium, against the stand-in hub of ``fake.py``."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from channels.wallboard.settings import WallboardSettings
from tests.channels.wallboard.fake import COOKIE, TOKEN, FakeHub
from tests.conftest import HubFactory
from tests.support.browser import FLAGS, chromium

pytestmark = pytest.mark.browser

Open = Callable[..., Page]

GROUP_STATE = "CurrentGroupState"
WATCH_POLICY = "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI))"

PATIENCE_MS = 15_000
"""How long a page may take on a machine that does much else."""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub(wallboard=WallboardSettings(title="Nord", page_seconds=3))
    hub.cookies.add("known")
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def open_page(browser: Browser, hub: FakeHub) -> Iterator[Open]:
    """Open the board, signed in unless told otherwise; at the end there must have been no error and no breach of the content policy."""
    contexts: list[Any] = []
    faults: list[str] = []

    def note(message: Any) -> None:
        # Chromium itself writes an error for each refused connection and each answer of 4xx.
        if message.type == "error" and "WebSocket connection to" not in message.text and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def open_page(
        path: str = "/", *, size: tuple[int, int] = (1440, 900), signed_in: bool = True, own_clock: bool = False, **options: Any
    ) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        if signed_in:
            context.add_cookies([{"name": COOKIE, "value": "known", "url": hub.url, "httpOnly": True}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        if own_clock:
            page.clock.install()
        page.add_init_script(WATCH_POLICY)
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(hub.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def live(page: Page) -> None:
    expect(page.locator("#link")).to_have_attribute("data-phase", "live", timeout=15_000)


def total(page: Page, name: str) -> Any:
    return page.locator(f'[data-total="{name}"] .figure')


def cell(page: Page, queue: str, field: str) -> Any:
    return page.locator("#queue-rows tr", has_text=queue).locator(f'[data-field="{field}"]')


def agent(name: str, status: str = "WaitForNextCall", ago: float = 0, **more: Any) -> dict[str, Any]:
    return {"agentId": name, "statusName": status, "status": 0, "time": int(time.time() - ago), **more}


def seconds(text: str) -> int:
    minutes, rest = text.split(":")
    return int(minutes) * 60 + int(rest)


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_figures_appear(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue(
        "Sales", CurrentInQueue=3, CurrMaxCallWaitingTime=0, ServiceLevel=71.6, CallsEntered=1200, TotalAnswered=1100, TotalAbandoned=97
    )
    hub.set_agents([agent("Ada"), agent("Bo", "CallInbound"), agent("Cy", "NotReadyForNextCall"), agent("Di", "LoggedOut")])
    page = open_page()
    expect(page.locator("h1")).to_have_text("Nord")
    for name, figure in {"waiting": "3", "serviceLevel": "72", "loggedIn": "3", "ready": "1", "inCall": "1", "notReady": "1"}.items():
        expect(total(page, name)).to_have_text(figure)
    for field, figure in {"waiting": "3", "answered": "1,100", "abandoned": "97", "entered": "1,200"}.items():
        expect(cell(page, "Sales", field)).to_have_text(figure)
    expect(page.locator('[aria-label="In call"] .agent .name')).to_have_text("Bo")
    expect(page.locator(".agent")).to_have_count(3)
    expect(page).to_have_title("(3) Nord")


def test_a_new_value_replaces_the_old(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page()
    expect(cell(page, "Sales", "waiting")).to_have_text("3")
    hub.set_queue("Sales", CurrentInQueue=0)
    expect(cell(page, "Sales", "waiting")).to_have_text("0")
    expect(total(page, "longestWait")).to_have_text("0:00")


def test_timers_run(hub: FakeHub, open_page: Open) -> None:
    hub.set_agents([agent("Ada", ago=65)])
    hub.set_queue("Sales", CurrentInQueue=1, CurrMaxCallWaitingTime=30)
    page = open_page()
    since, wait = page.locator(".agent .since"), total(page, "longestWait")
    expect(since).to_have_text("1:07")  # it was 1:05 when the page was opened: 1:07 comes, without anything from the hub
    before = seconds(wait.inner_text())
    expect(since).to_have_text("1:09")
    assert seconds(wait.inner_text()) > before


def test_time_is_the_servers(hub: FakeHub, open_page: Open) -> None:
    ahead = time.time() + 3600
    agents = [{"agentId": "Ada", "statusName": "WaitForNextCall", "time": int(ahead - 300)}]
    hub.set_value("GroupAgents", "All", GROUP_STATE, at_ms=int(ahead * 1000), stateValue={"groupId": "All", "agents": agents})
    page = open_page()
    expect(page.locator(".agent .since")).to_have_text("5:02")


def test_an_agent_keeps_its_place_in_the_page(hub: FakeHub, open_page: Open) -> None:
    hub.set_agents([agent("Ada"), agent("Bo")])
    page = open_page()
    page.locator(".agent", has_text="Ada").evaluate("(element) => { element.dataset.mark = 'same'; }")
    hub.set_agents([agent("Ada", "CallOutbound"), agent("Bo")])
    tile = page.locator('[aria-label="In call"] .agent')
    expect(tile).to_have_attribute("data-mark", "same")
    expect(tile.locator(".detail")).to_have_text("Outbound")
    assert tile.locator("use").get_attribute("href") == "wallboard/icons.svg#call"


def test_comes_back_after_the_hub_was_restarted(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page()
    expect(cell(page, "Sales", "waiting")).to_have_text("3")
    live(page)
    hub.stop()
    expect(page.locator("#link-text")).to_have_text("Reconnecting")
    expect(page.locator("#notice")).to_contain_text("Not connected to the hub. Figures are from")
    expect(page.locator("body")).to_have_class("stale")
    hub.set_queue("Sales", CurrentInQueue=8)
    hub.start()
    live(page)
    expect(cell(page, "Sales", "waiting")).to_have_text("8")
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("body")).not_to_have_class("stale")


def shown_time(page: Page) -> str:
    """The time of the last value, as the page shows it while it is live."""
    return str(page.locator("#link-detail").inner_text()).removeprefix("updated ")


def test_stale_figures_are_dated_by_when_the_last_one_came(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page(own_clock=True)
    expect(cell(page, "Sales", "waiting")).to_have_text("3")
    live(page)
    came = shown_time(page)
    page.clock.run_for(3_000)  # nothing comes, and nothing is missed
    hub.stop()
    expect(page.locator("#notice")).to_have_text(f"Not connected to the hub. Figures are from {came}.")
    hub.start()
    live(page)


def test_figures_of_an_unavailable_service_are_dated_so_too(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page(own_clock=True)
    expect(cell(page, "Sales", "waiting")).to_have_text("3")
    live(page)
    came = shown_time(page)
    page.clock.run_for(3_000)
    hub.set_service("UNAVAILABLE")
    expect(page.locator("#notice")).to_have_text(f"The statistics service is unavailable. Figures are from {came}.")


def test_a_hub_that_hangs_makes_the_figures_stale_within_10_seconds(hub_process: HubFactory, browser: Browser) -> None:
    hub = hub_process()
    page = browser.new_page()
    page.clock.install()
    page.goto(hub.url)
    live(page)
    expect(total(page, "loggedIn")).to_have_text(re.compile(r"[1-9]"))
    hub.process.send_signal(signal.SIGSTOP)
    try:
        page.clock.run_for(500)  # what was on its way is painted
        came = shown_time(page)
        page.clock.run_for(9_500)
        expect(page.locator("body")).to_have_class("stale")
        expect(page.locator("#link-text")).to_have_text("No answer")
        expect(page.locator("#notice")).to_have_text(f"The hub does not answer. Figures are from {came}.")
    finally:
        hub.process.send_signal(signal.SIGCONT)
    live(page)
    expect(page.locator("#notice")).to_be_hidden()
    page.close()


def test_says_that_the_service_is_unavailable(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page()
    expect(total(page, "waiting")).to_have_text("3")
    hub.set_service("UNAVAILABLE")
    expect(page.locator("#link-text")).to_have_text("Service unavailable")
    expect(page.locator("#notice")).to_contain_text("The statistics service is unavailable. Figures are from")
    hub.set_service("AVAILABLE")
    live(page)
    expect(page.locator("#notice")).to_be_hidden()


def test_opened_while_the_service_is_unavailable(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    hub.set_service("UNAVAILABLE")
    page = open_page()
    expect(page.locator("#notice")).to_have_text("The statistics service is unavailable.")
    hub.set_service("AVAILABLE")
    expect(cell(page, "Sales", "waiting")).to_have_text("3", timeout=10_000)


def test_signing_in_and_out(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page(signed_in=False)
    field = page.get_by_label("Access token")
    expect(field).to_be_focused()
    field.press("Enter")
    expect(page.locator("#door-error")).to_have_text("Enter an access token.")
    field.fill("wrong")
    field.press("Enter")
    expect(page.locator("#door-error")).to_contain_text("does not know this token")
    assert hub.connections == 0
    field.fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(total(page, "waiting")).to_have_text("3")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(field).to_be_visible()
    expect(page.locator("#board")).to_be_hidden()
    page.reload()
    expect(field).to_be_visible()


def test_a_sign_in_that_was_taken_back(hub: FakeHub, open_page: Open) -> None:
    page = open_page()
    live(page)
    hub.cookies.clear()
    hub.close_sockets(4401)
    expect(page.locator("#door-error")).to_have_text("You have been signed out.")
    expect(page.get_by_label("Access token")).to_be_visible()


def test_somebody_who_may_not_see_it(hub: FakeHub, open_page: Open) -> None:
    hub.forbidden = True
    page = open_page()
    expect(page.locator("#refused-text")).to_contain_text("not allowed to read statistics")
    page.get_by_role("button", name="Sign in as somebody else").click()
    expect(page.get_by_label("Access token")).to_be_visible()


def test_a_socket_that_is_forbidden(hub: FakeHub, open_page: Open) -> None:
    page = open_page()
    live(page)
    hub.close_sockets(4403)
    expect(page.locator("#refused-text")).to_contain_text("may not listen to statistics")


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=\"document.title='taken'\">", "'\"><script>document.title='taken'</script>", "a/b*c%d"]
)
def test_names_are_text(hub: FakeHub, open_page: Open, name: str) -> None:
    hub.set_queue(name, CurrentInQueue=4)
    hub.set_agents([agent(name, "NotReadyForNextCall", place={"dnStatuses": [{"actions": [_not_ready(name)]}]})])
    hub.set_agents([], group=name)
    page = open_page()
    expect(page.locator("#queue-rows .name")).to_have_text(name)
    expect(page.locator("#queue-rows [data-field=waiting]")).to_have_text("4")
    expect(page.locator(".agent .name")).to_have_text(name)
    expect(page.locator(".agent .detail")).to_have_text(name)
    expect(page.locator("#group option").nth(1)).to_have_text(name)
    assert page.locator("main img, main script").count() == 0
    expect(page).to_have_title("(4) Nord")


def _not_ready(reason: str) -> dict[str, Any]:
    return {"action": "NotReadyForNextCall", "reasons": {"reason": reason}}


def test_a_group_of_agents(hub: FakeHub, open_page: Open) -> None:
    hub.set_agents([agent("Ada"), agent("Bo")])
    hub.set_agents([agent("Bo")], group="Night shift")
    page = open_page()
    expect(page.locator(".agent")).to_have_count(2)
    page.get_by_label("Group of agents").select_option("Night shift")
    expect(page.locator(".agent .name")).to_have_text("Bo")
    expect(total(page, "loggedIn")).to_have_text("1")
    page.reload()
    expect(page.locator(".agent .name")).to_have_text("Bo")
    page.get_by_label("Group of agents").select_option("All")
    expect(page.locator(".agent")).to_have_count(2)
    expect(page).not_to_have_url(re.compile("group="))


def test_a_tab_in_the_background_is_kept_up_to_date(hub: FakeHub, open_page: Open) -> None:
    """A browser makes no frames for a tab that nobody sees; its title is seen all the same."""
    hub.set_queue("Sales", CurrentInQueue=3)
    page = open_page()
    expect(page).to_have_title("(3) Nord")
    page.evaluate("window.requestAnimationFrame = () => 0")
    hub.set_queue("Sales", CurrentInQueue=4)
    expect(page).to_have_title("(4) Nord")
    expect(cell(page, "Sales", "waiting")).to_have_text("4")


def test_orders_of_agents(hub: FakeHub, open_page: Open) -> None:
    hub.set_agents([agent("Cy", ago=5), agent("Ada", "CallInbound", ago=50), agent("Bo", "LoggedOut", ago=500)])
    page = open_page()
    names = page.locator(".agent .name")
    expect(names).to_have_text(["Cy", "Ada"])
    page.get_by_label("Order of agents").select_option("name")
    expect(names).to_have_text(["Ada", "Cy"])
    page.get_by_label("Logged out").check()
    expect(names).to_have_text(["Ada", "Bo", "Cy"])
    page.get_by_label("Order of agents").select_option("time")
    expect(names).to_have_text(["Bo", "Ada", "Cy"])


def test_orders_of_queues(hub: FakeHub, open_page: Open) -> None:
    for name, waiting in (("B", 1), ("A", 5), ("C", 3)):
        hub.set_queue(name, CurrentInQueue=waiting)
    page = open_page()
    names = page.locator("#queue-rows .name")
    expect(names).to_have_text(["A", "B", "C"])
    button = page.get_by_role("button", name="Waiting")
    button.click()
    expect(names).to_have_text(["A", "C", "B"])
    button.click()
    expect(names).to_have_text(["B", "C", "A"])
    expect(page.locator("thead th[aria-sort]")).to_have_attribute("aria-sort", "ascending")


def test_a_refused_channel_does_not_hide_the_others(hub: FakeHub, open_page: Open) -> None:
    hub.refused_channels.add("/statistics/v3/values/Queue/Sales/ServiceLevel")
    hub.set_queue("Sales", CurrentInQueue=3, ServiceLevel=90, CallsEntered=7)
    page = open_page()
    expect(cell(page, "Sales", "entered")).to_have_text("7")
    expect(cell(page, "Sales", "serviceLevel")).to_have_text("–")


def test_a_new_queue_is_found(hub: FakeHub, open_page: Open, browser: Browser) -> None:
    page = open_page("/wallboard/config.json")
    page.clock.install()
    page.goto(hub.url)
    live(page)
    hub.set_queue("Late", CurrentInQueue=2)
    page.clock.fast_forward(31_000)
    expect(cell(page, "Late", "waiting")).to_have_text("2")


def test_nothing_to_show(open_page: Open, hub: FakeHub) -> None:
    hub.set_agents([])
    page = open_page()
    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()
    expect(page.get_by_text("hub simulate")).to_be_visible()
    expect(page.get_by_role("heading", name="No queues yet")).to_be_visible()
    hub.set_agents([agent("Ada", "LoggedOut")])
    expect(page.get_by_role("heading", name="Nobody is logged in")).to_be_visible()
    hub.set_agents([agent("Ada")])
    expect(page.locator(".agent .name")).to_have_text("Ada")
    expect(page.locator("#agents-empty")).to_be_hidden()


def test_warnings_are_not_by_colour_alone(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("Slow", CurrentInQueue=1, CurrMaxCallWaitingTime=200, ServiceLevel=70, CallsEntered=10)
    page = open_page()
    expect(cell(page, "Slow", "longestWait").locator(".flag")).to_have_text("!!")
    expect(cell(page, "Slow", "serviceLevel").locator(".flag")).to_have_text("!")
    expect(page.locator('[data-total="serviceLevel"] .aside')).to_have_text("under 80 %")
    expect(page.locator('[data-total="longestWait"] .aside')).to_have_text("Slow")


def test_a_percentage_of_nothing_is_a_dash_and_no_alarm(hub: FakeHub, open_page: Open) -> None:
    hub.set_queue("First", CurrentInQueue=1, CallsEntered=1)
    for name in ("ServiceLevel", "AverageWaitingTime"):
        hub.set_value("Queue", "First", name, empty=True)
    page = open_page()
    expect(cell(page, "First", "entered")).to_have_text("1")
    for field in ("serviceLevel", "averageWait"):
        expect(cell(page, "First", field)).to_have_text("–")
    expect(cell(page, "First", "serviceLevel").locator(".flag")).to_be_hidden()
    expect(page.locator('[data-total="serviceLevel"] .figure')).to_have_text("–")


def test_theme_follows_the_system_until_it_is_chosen(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Light or dark").click()
    expect(root).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    expect(page.locator("[aria-live]").first).to_contain_text("live", ignore_case=True)  # the keys are there once the page is
    page.keyboard.press("t")
    expect(root).to_have_attribute("data-theme", "light")


def _busy(hub: FakeHub, agents: int, queues: int) -> None:
    hub.set_agents([agent(f"Agent with a rather long name {number}", ago=number) for number in range(agents)])
    for number in range(queues):
        hub.set_queue(
            f"A queue with a rather long name {number}", CurrentInQueue=3, CurrMaxCallWaitingTime=4000, CallsEntered=12345, ServiceLevel=50
        )


@pytest.mark.parametrize("width", [320, 360, 768, 1024, 1366])
def test_never_scrolls_sideways(hub: FakeHub, open_page: Open, width: int) -> None:
    _busy(hub, 30, 3)
    hub.set_agents([], group="A group with a name that is far too long for a small screen")
    page = open_page(size=(width, 780))
    expect(page.locator(".agent")).to_have_count(30)
    expect(total(page, "waiting")).to_have_text("9")
    assert no_sideways_scroll(page)


@pytest.mark.parametrize("size", [(1920, 1080), (3840, 2160), (1366, 768)])
def test_a_wall_shows_all_without_scrolling(hub: FakeHub, open_page: Open, size: tuple[int, int]) -> None:
    _busy(hub, 24, 5)
    page = open_page("/?wall=1", size=size)
    expect(page.locator(".agent")).to_have_count(24)
    expect(page.locator("#queue-rows tr")).to_have_count(5)
    assert no_sideways_scroll(page)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    inside = (
        "(list) => list.every((e) => { const b = e.getBoundingClientRect(); return b.bottom <= innerHeight && b.right <= innerWidth; })"
    )
    assert page.locator(".agent, #queue-rows tr, .figure").evaluate_all(inside)
    fits = "(list) => list.every((e) => e.scrollWidth <= e.clientWidth)"
    assert page.locator(".figure").evaluate_all(fits)


def test_pages_of_a_wall_take_turns(hub: FakeHub, open_page: Open) -> None:
    _busy(hub, 300, 20)
    page = open_page("/?wall=1", size=(1920, 1080))
    expect(page.locator("#agents-page")).to_have_text(re.compile(r"^1 / \d+$"))
    expect(page.locator("#queues-page")).to_have_text("1 / 2")
    first = page.locator(".agent .name").first.inner_text()
    expect(page.locator("#agents-page")).to_have_text(re.compile(r"^2 / \d+$"))
    expect(page.locator("#queues-page")).to_have_text("2 / 2")
    assert page.locator(".agent .name").first.inner_text() != first
    expect(page.locator("#queues-page")).to_have_text("1 / 2")


def test_a_large_screen_is_a_wall_unless_told_otherwise(open_page: Open) -> None:
    wall = open_page(size=(2560, 1440)).locator("html")
    expect(wall).to_have_class("wall")
    desk = open_page("/?wall=0", size=(2560, 1440)).locator("html")
    expect(desk).not_to_have_class("wall")


def test_wall_by_key(open_page: Open) -> None:
    page = open_page()
    live(page)
    page.keyboard.press("w")
    expect(page.locator("html")).to_have_class("wall")
    expect(page).to_have_url(re.compile(r"\?wall=1$"))
    page.keyboard.press("w")
    expect(page.locator("html")).not_to_have_class("wall")


def test_more_queues_than_subscriptions(browser: Browser) -> None:
    hub = FakeHub(max_subscriptions=60)
    hub.cookies.add("known")
    for number in range(40):
        hub.set_queue(f"Q{number:02}", CurrentInQueue=1)
    hub.set_value("GroupQueues", "All", "CurrentInQueue", intValue=40)
    hub.start()
    context = browser.new_context()
    context.add_cookies([{"name": COOKIE, "value": "known", "url": hub.url}])
    page = context.new_page()
    page.goto(hub.url)
    expect(page.locator("#queues-page")).to_have_text("first 26 shown")
    expect(total(page, "waiting")).to_have_text("40")
    expect(cell(page, "Q25", "waiting")).to_have_text("1")
    assert max(len(channels) for channels in hub.sessions.values()) <= 60
    context.close()
    hub.stop()
