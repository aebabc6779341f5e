import pytest

from hub.security.origin import from_own_page, is_secure
from tests.hub.security.conftest import scope


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://hub.test:8080", "hub.test:8080", True),
        ("HTTP://Hub.Test:8080", "hub.test:8080", True),
        ("https://hub.test", "hub.test", True),  # a proxy ended TLS
        ("https://hub.test", "hub.test:443", True),
        ("http://hub.test", "hub.test:80", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://desk.test", "hub.test", True),  # allowed
        ("https://desk.test:444", "hub.test", False),
        ("http://hub.test:8081", "hub.test:8080", False),
        ("http://hub.test", "hub.test:8080", False),
        ("http://evil.test", "hub.test", False),
        ("http://hub.test.evil.test", "hub.test", False),
        ("http://hub.test@evil.test", "hub.test", False),
        ("null", "hub.test", False),
        ("", "hub.test", False),
        ("file://", "hub.test", False),
        ("http://hub.test:x", "hub.test", False),
        ("http://[::1", "hub.test", False),
        ("http://hub.test", "hub.test:x", False),
        ("ftp://hub.test", "hub.test", False),
    ],
)
def test_an_origin_is_compared_with_the_host(origin: str, host: str, expected: bool) -> None:
    request = scope("/x")
    request["headers"] = [(b"host", host.encode()), (b"origin", origin.encode())]
    assert from_own_page(request, {"https://desk.test"}) is expected


def test_an_origin_without_a_host_is_foreign() -> None:
    request = scope("/x")
    request["headers"] = [(b"origin", b"http://hub.test")]
    assert not from_own_page(request)


@pytest.mark.parametrize(
    ("method", "site", "expected"),
    [
        ("POST", None, True),
        ("POST", "same-origin", True),
        ("POST", "none", True),
        ("POST", "same-site", False),
        ("POST", "cross-site", False),
        ("GET", "cross-site", True),
    ],
)
def test_without_an_origin_the_fetch_metadata_decide(method: str, site: str | None, expected: bool) -> None:
    headers = [("Sec-Fetch-Site", site)] if site is not None else []
    assert from_own_page(scope("/x", *headers, method=method)) is expected


@pytest.mark.parametrize(("scheme", "expected"), [("http", False), ("https", True), ("ws", False), ("wss", True)])
def test_tls_is_known_by_the_scheme(scheme: str, expected: bool) -> None:
    assert is_secure(scope("/x", scheme=scheme)) is expected
