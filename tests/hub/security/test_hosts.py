"""The names by which the hub is reached: links, and pages of other sites in front of a demo."""

from __future__ import annotations

import pytest
from starlette.types import Scope
from structlog.testing import capture_logs

from hub.http.errors import ApiError
from hub.ops.settings import SettingsError, load
from hub.security.gate import Gate
from hub.security.hosts import DemoGuard, Hosts
from tests.hub.security.conftest import Access

OWN_URLS = {
    "127.0.0.1": "http://localhost:8123",
    "::1": "http://localhost:8123",
    "0.0.0.0": "http://localhost:8123",
    "::": "http://localhost:8123",
    "localhost": "http://localhost:8123",
    "192.0.2.7": "http://192.0.2.7:8123",
    "2001:db8::7": "http://[2001:db8::7]:8123",
    "hub.internal": "http://hub.internal:8123",
}


@pytest.mark.parametrize(("host", "url"), OWN_URLS.items())
def test_the_hubs_own_url_is_that_of_its_address(host: str, url: str) -> None:
    hosts = Hosts(listens_on=(host, 0))
    hosts.port = 8123  # as the system chose it
    assert hosts.own_url() == url
    assert Hosts(public_url="https://hub.example.com", listens_on=(host, 1)).own_url() == "https://hub.example.com"


HOSTS = Hosts(["hub.example.com", "other.example.com:8443"], None)


def scope(**headers: str | None) -> Scope:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items() if value is not None]
    return {"type": "http", "method": "GET", "scheme": "http", "path": "/", "query_string": b"", "headers": named}


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("desk.localhost:1", True),
        ("127.0.0.1:8080", True),
        ("127.9.9.9", True),
        ("[::1]:8080", True),
        ("hub.example.com", True),
        ("Hub.Example.com:1234", True),
        ("other.example.com:8443", True),
        ("other.example.com", False),
        ("other.example.com:80", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("hub.example.com.evil.example", False),
        ("evil.example/hub.example.com", False),
        ("user@localhost", False),
        ("localhost:x", False),
        ("localhost@evil.example", False),
        ("evil.example#localhost", False),
        ("192.168.1.5:8080", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_which_hosts_are_known(host: str, *, known: bool) -> None:
    assert HOSTS.knows(host) is known


@pytest.mark.parametrize("host", ["localhost:8080", "hub.example.com", "[::1]:80"])
def test_a_link_is_made_from_a_known_host(host: str) -> None:
    assert HOSTS.base_url(scope(host=host)) == f"http://{host}"
    assert HOSTS.base_url({**scope(host=host), "scheme": "https"}) == f"https://{host}"


@pytest.mark.parametrize("host", ["evil.example", "evil.example/x", None])
def test_a_link_is_not_made_from_another(host: str | None) -> None:
    """Links of mails and media go to third parties: who chooses the host would have them send their credentials to it."""
    with pytest.raises(ApiError) as refused:
        HOSTS.base_url(scope(host=host))
    assert refused.value.http_status == 400
    assert "allowed_hosts" in refused.value.message


def test_public_url_comes_before_any_host() -> None:
    hosts = Hosts([], "https://hub.example.com/cx")
    assert hosts.base_url(scope(host="evil.example")) == "https://hub.example.com/cx"
    assert hosts.knows("hub.example.com")


@pytest.mark.parametrize("bad", ["https://hub.example.com", "hub.example.com/x", "a b", "hub.example.com:port", "user@host", "*"])
def test_a_bad_host_of_the_settings_is_named(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_ALLOWED_HOSTS", f"good.example,{bad}")
    with pytest.raises(SettingsError, match="allowed_hosts: expected a host such as"):
        load([], config=None, flags={})


# -- --demo -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(access: Access) -> Gate:
    return access.gate


@pytest.fixture
def guard(gate: Gate) -> DemoGuard:
    gate.allowed_origins = frozenset({"https://desk.example.com"})
    return DemoGuard(Hosts(["hub.example.com"]), gate)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8080"}, None),
        ({"host": None}, None),
        ({"host": "hub.example.com"}, None),
        ({"host": "rebound.evil.example:8080"}, 400),
        ({"host": "rebound.evil.example:8080", "origin": "http://rebound.evil.example:8080"}, 400),
        ({"host": "localhost:8080", "origin": "http://localhost:8080"}, None),
        ({"host": "localhost:8080", "origin": "https://desk.example.com"}, None),
        ({"host": "localhost:8080", "origin": "https://evil.example"}, 403),
        ({"host": "localhost:8080", "origin": "http://localhost:3000"}, 403),
        ({"host": "localhost:8080", "origin": "null"}, 403),
        # a script element sends no Origin
        ({"host": "localhost:8080", "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"host": "localhost:8080", "sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "referer": "http://localhost:3000/"}, 403),
        (
            {"host": "localhost", "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "referer": "https://desk.example.com/a"},
            None,
        ),
        ({"host": "localhost:8080", "sec_fetch_site": "same-origin", "sec_fetch_mode": "no-cors"}, None),
        # a link that somebody follows
        ({"host": "localhost:8080", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, None),
    ],
)
def test_whom_a_demo_lets_in(guard: DemoGuard, headers: dict[str, str | None], status: int | None) -> None:
    refusal = guard.refusal(scope(**headers))
    assert (refusal.http_status if refusal else None) == status
    if refusal is not None:
        assert ("allowed_hosts" if status == 400 else "allowed_origins") in refusal.message


# -- origins that are refused -------------------------------------------------------------------------------------------


def test_a_refused_origin_is_logged_once_with_the_name_of_the_setting(gate: Gate) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            assert not gate.from_own_page(scope(host="localhost", origin="https://evil.example"))
        assert not gate.from_own_page(scope(host="localhost", origin="https://other.example"))
        assert gate.from_own_page(scope(host="localhost", origin="http://localhost"))
        assert gate.from_own_page(scope(host="localhost"))
    assert [(line["event"], line["origin"], line["setting"]) for line in logs] == [
        ("origin_refused", "https://evil.example", "allowed_origins"),
        ("origin_refused", "https://other.example", "allowed_origins"),
    ]


def test_not_every_origin_that_a_client_makes_up_is_logged(gate: Gate) -> None:
    with capture_logs() as logs:
        for number in range(1_000):
            gate.from_own_page(scope(host="localhost", origin=f"https://{number}.example"))
    assert len(logs) == 100
