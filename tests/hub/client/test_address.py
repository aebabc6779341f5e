import pytest
from yarl import URL

from hub.client.address import base_url, proxy_of


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("http://hub", "http://hub/"),
        ("http://hub:8080/", "http://hub:8080/"),
        ("http://hub/cometd", "http://hub/"),
        ("https://hub/below/cometd/", "https://hub/below"),
        ("https://hub/below/", "https://hub/below"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
    ],
)
def test_where_a_hub_is(text: str, base: str) -> None:
    assert str(base_url(text)) == base


@pytest.mark.parametrize("text", ["", "hub", "hub:8080", "ftp://hub", "http://", "http://hub:port", "http://hub/?a=1", "http://hub/#a"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"^url: expected"):
        base_url(text)


HUB = URL("http://hub.example.com:8080")


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, None),
        ({"HTTP_PROXY": "http://proxy:1"}, "http://proxy:1"),
        ({"HTTP_PROXY": "proxy:1"}, "http://proxy:1"),
        ({"HTTP_PROXY": "http://capital:1", "http_proxy": "http://small:1"}, "http://small:1"),
        ({"HTTP_PROXY": "http://cgi:1", "REQUEST_METHOD": "GET"}, None),
        ({"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ({"ALL_PROXY": "http://all:1", "HTTP_PROXY": "http://proxy:1"}, "http://proxy:1"),
        ({"HTTP_PROXY": "http://ann:s3cret@proxy:1"}, "http://ann:s3cret@proxy:1"),
    ],
)
def test_which_proxy(environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(HUB, environment) == (None if proxy is None else URL(proxy))


@pytest.mark.parametrize(
    ("no_proxy", "url", "excepted"),
    [
        ("*", "http://hub", True),
        ("hub", "http://hub", True),
        ("HUB", "http://hub", True),
        ("hub", "http://thehub", False),
        ("example.com", "http://hub.example.com", True),
        (".example.com", "http://hub.example.com", True),
        ("*.example.com", "http://hub.example.com", True),
        ("example.com", "http://badexample.com", False),
        ("other, hub:8080", "http://hub:8080", True),
        ("hub:8080", "http://hub:8081", False),
        ("127.0.0.1", "http://127.0.0.1:8080", True),
        ("127.0.0.0/8", "http://127.8.9.10", True),
        ("10.0.0.0/8", "http://127.0.0.1", False),
        ("10.0.0.0/8", "http://hub", False),
        ("::1", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8081", False),
        ("fd00::/8", "http://[fd12::1]", True),
        (",, .", "http://hub", False),
    ],
)
def test_which_hosts_are_excepted(no_proxy: str, url: str, excepted: bool) -> None:
    found = proxy_of(URL(url), {"HTTP_PROXY": "http://proxy:1", "NO_PROXY": no_proxy})
    assert (found is None) == excepted


@pytest.mark.parametrize("value", ["socks5://ann:s3cret@proxy:1", "http://", "http://proxy:port"])
def test_a_proxy_that_is_none_is_named_by_its_variable(value: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTP_PROXY: expected") as refused:
        proxy_of(HUB, {"HTTP_PROXY": value})
    assert "s3cret" not in str(refused.value)
