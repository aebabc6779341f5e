"""Redirect URIs: which may be registered, and which fit what is registered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.security.oauth.redirects import RedirectError, check_redirect_uri, is_registered, origin_of

GOOD = [
    "https://app.acme.example/cb",
    "https://app.acme.example:8443/cb?tenant=acme&x=%20",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:4711/cb",
    "http://[::1]/cb",
    "com.example.app:/cb",
    "com.example.app://signed-in",
]

BAD = [
    "",
    "/cb",
    "//app.acme.example/cb",
    "https:///cb",
    "https:cb",
    "http://app.acme.example/cb",
    "http://localhost/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://127.0.0.2/cb",
    "https://app.acme.example/cb#here",
    "https://app.acme.example/cb#",
    "https://app.acme.example@evil.example/cb",
    "https://app.acme.example\\@evil.example/cb",
    "https://app.acme.example./cb",
    "https://app.acme.example/a/../cb",
    "https://app.acme.example/a/%2e%2E/cb",
    "https://app.acme.example/./cb",
    "https://büro.example/cb",
    "https://app.acme.example/c b",
    "https://app.acme.example/cb\n",
    "https://app.acme.example:99999/cb",
    "https://app.acme.example:/cb",
    "https://app.acme.example;sandbox/cb",
    "https://app.acme.example,evil.example/cb",
    "https://*.acme.example/cb",
    "https://app.acme.example'/cb",
    "https://app%2eacme.example/cb",
    "https://.acme.example/cb",
    "https://[v1.x;y]/cb",
    "https://app.acme.example:0/cb",
    "https://[::1/cb",
    "HTTPS://app.acme.example/cb",
    "javascript:alert(1)",
    "javascript.x:alert(1)//%0a" + "a" * 2048,
    "data:text/html,x",
    "myapp:/cb",
    "https://app.acme.example/" + "a" * 2048,
]


@pytest.mark.parametrize("uri", GOOD)
def test_a_safe_uri_is_registered(uri: str) -> None:
    assert check_redirect_uri(uri) == uri
    assert is_registered(uri, (uri,))


@pytest.mark.parametrize("uri", BAD)
def test_an_unsafe_uri_is_not_registered(uri: str) -> None:
    with pytest.raises(RedirectError, match="redirect URI: expected"):
        check_redirect_uri(uri)


def test_localhost_is_for_the_demo_alone() -> None:
    assert check_redirect_uri("http://localhost:8080/cb", local=True)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.acme.example/cb/",
        "https://app.acme.example/CB",
        "https://app.acme.example/cb?",
        "https://app.acme.example/cb?x=1",
        "https://app.acme.example:443/cb",
        "https://APP.acme.example/cb",
        "https://app.acme.example./cb",
        "https://app.acme.example//cb",
        "https://app.acme.example/x/../cb",
        "https://app.acme.example/cb#",
        "https://app.acme.example/c%62",
        "https://u@app.acme.example/cb",
        "https://evil.example\\@app.acme.example/cb",
        "http://app.acme.example/cb",
        "https://app.acme.example/cb%00",
        "https://app.acme.example/cb\n",
        "",
    ],
)
def test_another_text_is_another_uri(uri: str) -> None:
    assert not is_registered(uri, ("https://app.acme.example/cb",))


@pytest.mark.parametrize(
    ("uri", "fits"),
    [
        ("http://127.0.0.1/cb", True),
        ("http://127.0.0.1:1/cb", True),
        ("http://127.0.0.1:65535/cb", True),
        ("http://127.0.0.1:65536/cb", False),
        ("http://127.0.0.1:0/cb", False),
        ("http://127.0.0.1:80x/cb", False),
        ("http://127.0.0.1:4711/", False),
        ("http://127.0.0.1:4711/cb?x", False),
        ("http://127.0.0.1:4711/cb#", False),
        ("http://127.0.0.1:4711@evil.example/cb", False),
        ("http://x@127.0.0.1:4711/cb", False),
        ("http://127.1:4711/cb", False),
        ("http://2130706433:4711/cb", False),
        ("http://[::1]:4711/cb", False),
        ("http://localhost:4711/cb", False),
        ("https://127.0.0.1:4711/cb", False),
    ],
)
def test_on_a_loopback_address_the_port_is_free(uri: str, fits: bool) -> None:
    """RFC 8252 section 7.3."""
    assert is_registered(uri, ("http://127.0.0.1:5000/cb",)) is fits


@given(st.text(max_size=60))
def test_no_text_but_the_registered_one_fits(text: str) -> None:
    uri = "https://app.acme.example/cb"
    assert is_registered(text, (uri,)) is (text == uri)
    assert is_registered(f"{uri}{text}", (uri,)) is (text == "")


def test_the_origin_of_a_uri() -> None:
    assert origin_of("https://app.acme.example:8443/cb?x") == "https://app.acme.example:8443"
    assert origin_of("com.example.app:/cb") is None
