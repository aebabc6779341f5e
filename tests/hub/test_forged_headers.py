"""What a client says of itself by the headers of proxies is believed of trusted proxies alone: its address, the scheme, never the host."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from hub.core.limits import Limits
from tests.conftest import QUIET_CENTRE
from tests.support.hub_process import HubProcess

SECONDS = 60
NOBODYS_PROXY = "192.0.2.1"


def started(folder: pytest.TempPathFactory, name: str, environment: dict[str, str]) -> Iterator[HubProcess]:
    process = HubProcess(folder.mktemp(name), environment={**QUIET_CENTRE, **environment})
    process.start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def untrusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub whose one proxy is somewhere else: the tests come from an address that it does not trust."""
    yield from started(tmp_path_factory, "untrusting", {"HUB_TRUSTED_PROXIES": NOBODYS_PROXY})


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that trusts proxies on its own machine, from where the tests come."""
    yield from started(tmp_path_factory, "trusting", {})


def guess(hub: HubProcess, user: str, address: str) -> int:
    body = {"tenant": "demo", "username": user, "password": "not that one"}
    headers = {"X-Forwarded-For": address, "Forwarded": f"for={address}", "X-Real-IP": address}
    return httpx.post(f"{hub.url}/api/v1/sign-in", json=body, headers=headers, timeout=SECONDS).status_code


def test_an_address_that_a_client_makes_up_buys_it_no_further_tries(untrusting: HubProcess) -> None:
    tries = Limits().sign_in_failures
    answers = [guess(untrusting, "forger", f"198.51.100.{number}") for number in range(tries + 2)]
    assert answers == [401] * tries + [429] * 2


def test_addresses_of_a_trusted_proxy_are_told_apart(trusting: HubProcess) -> None:
    tries = Limits().sign_in_failures
    assert [guess(trusting, "ana", "198.51.100.1") for _ in range(tries + 1)] == [401] * tries + [429]
    assert guess(trusting, "ana", "198.51.100.2") == 401
    # the last address is the proxy's word; what stands before it came from the client
    assert guess(trusting, "ana", "203.0.113.9, 198.51.100.1") == 429


@pytest.mark.parametrize(("name", "secure"), [("untrusting", False), ("trusting", True)])
def test_a_cookie_is_secure_where_a_trusted_proxy_says_so(request: pytest.FixtureRequest, name: str, secure: bool) -> None:
    hub: HubProcess = request.getfixturevalue(name)
    headers = {"X-Forwarded-Proto": "https"}
    answer = httpx.post(f"{hub.url}/api/v1/sign-in", json={"token": hub.token}, headers=headers, timeout=SECONDS)
    assert answer.status_code == 200
    assert ("secure" in answer.headers["set-cookie"].lower()) is secure
    # the page of devices sends whoever is not signed in to the form, and marks the browser
    page = httpx.post(f"{hub.url}/auth/v3/device", data={"user_code": "BCDF-GHJK"}, headers=headers, timeout=SECONDS)
    assert page.status_code == 303, page.text
    assert ("secure" in page.headers["set-cookie"].lower()) is secure
    issuer = httpx.get(f"{hub.url}/auth/v3/.well-known/openid-configuration", headers=headers, timeout=SECONDS).json()["issuer"]
    assert issuer.startswith("https://" if secure else "http://")


@pytest.mark.parametrize("name", ["untrusting", "trusting"])
def test_no_proxy_names_another_host(request: pytest.FixtureRequest, name: str) -> None:
    hub: HubProcess = request.getfixturevalue(name)
    headers = {
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "X-Forwarded-Prefix": "//evil.example",
        "X-Host": "evil.example",
    }
    document = httpx.get(f"{hub.url}/auth/v3/.well-known/openid-configuration", headers=headers, timeout=SECONDS)
    assert "evil.example" not in document.text
    asked = {
        "response_type": "code",
        "client_id": "demo-app",
        "redirect_uri": "http://127.0.0.1/cb",
        "prompt": "none",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    sent_back = httpx.get(f"{hub.url}/auth/v3/oauth/authorize", params=asked, headers=headers, timeout=SECONDS)
    assert sent_back.status_code == 302
    assert sent_back.headers["location"].startswith("http://127.0.0.1/cb?")
    assert "evil.example" not in sent_back.headers["location"]
